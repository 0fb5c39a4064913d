/**
 * Looks inside the errors that only say which loop ended (`together` in loop.ts), and inside those that hold several.
 *
 * The failure this prevents: a stack trace for a person, although only a password was wrong.
 */

/** Returns the innermost errors. An error that is known is not looked into: its message is for a person. */
export function causesOf(error: unknown, isKnown: (it: unknown) => boolean): readonly unknown[] {
  if (isKnown(error)) return [error];
  if (error instanceof AggregateError) return error.errors.flatMap((it) => causesOf(it, isKnown));
  return error instanceof Error && error.cause !== undefined ? causesOf(error.cause, isKnown) : [error];
}

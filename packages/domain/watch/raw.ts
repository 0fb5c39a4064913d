/**
 * Reads JSON that somebody else wrote, field by field.
 *
 * The bugs this prevents: a watcher that dies of one odd object and reports nothing about ten thousand good ones; memory that
 * grows with a foreign message; and a NUL or half a surrogate pair in a text, which Postgres refuses to store for ever after.
 */

/** The value of an own field; `undefined` for everything that has none. */
export const field = (from: unknown, name: string): unknown =>
  typeof from === "object" && from !== null && Object.hasOwn(from, name) ? Reflect.get(from, name) : undefined;

/** The value along a path of own fields. */
export const at = (from: unknown, ...path: readonly string[]): unknown => path.reduce(field, from);

/** A text that can be stored, at most so many characters of it; `undefined` for what is none or is empty. */
export function text(value: unknown, most = 1024): string | undefined {
  if (typeof value !== "string" || value === "") return undefined;
  return value.slice(0, most).toWellFormed().replaceAll("\0", "\uFFFD");
}

/** At most so many elements; none for what is no list. */
export const list = (value: unknown, most = 100): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]).slice(0, most) : [];

/** Whole and safe, or `undefined`. */
export const integer = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;

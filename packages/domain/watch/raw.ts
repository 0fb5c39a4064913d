/**
 * Reads JSON that another program wrote, field by field.
 *
 * The bugs this prevents: a watcher that dies of one odd object and reports nothing about ten thousand good ones; memory that
 * grows with a foreign message; and a NUL or half a surrogate pair in a text, which Postgres refuses to store for ever after.
 */

/** The value of an own field; `undefined` for values without fields. */
export const field = (from: unknown, name: string): unknown =>
  typeof from === "object" && from !== null && Object.hasOwn(from, name) ? Reflect.get(from, name) : undefined;

/** The value along a path of own fields. */
export const at = (from: unknown, ...path: readonly string[]): unknown => path.reduce(field, from);

/** A text that can be stored, cut at `most` characters; `undefined` for an empty text or another type. */
export function text(value: unknown, most = 1024): string | undefined {
  if (typeof value !== "string" || value === "") return undefined;
  return value.slice(0, most).toWellFormed().replaceAll("\0", "\uFFFD");
}

/** The first `most` elements of a list; none if the value is no list. */
export const list = (value: unknown, most = 100): readonly unknown[] =>
  Array.isArray(value) ? (value as readonly unknown[]).slice(0, most) : [];

/** A whole and safe number, or `undefined`. */
export const integer = (value: unknown): number | undefined =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : undefined;

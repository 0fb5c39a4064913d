/**
 * Makes one text of one JSON value: keys sorted, no spaces (as RFC 8785). Two requests with the same meaning have the same
 * digest, whatever order and spacing their publishers' libraries chose.
 */

/**
 * Members that are `undefined` are left out, as JSON does. Throws for a value that JSON lacks: such a value is a bug, not an
 * input.
 */
export function canonical(value: unknown): string {
  if (value === null || typeof value === "string" || typeof value === "boolean") return JSON.stringify(value);
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new TypeError("canonical: a number that is not finite has no JSON");
    return JSON.stringify(value);
  }
  if (Array.isArray(value)) return `[${value.map((entry) => canonical(entry ?? null)).join(",")}]`;
  if (typeof value !== "object") throw new TypeError(`canonical: a ${typeof value} has no JSON`);
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  // Sorted by UTF-16 units, never by locale: two machines must agree.
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`).join(",")}}`;
}

/**
 * Reads the sender and the run of a message that cannot be taken, as far as they can be read.
 *
 * The failure this prevents: a sender who left out one field, or sent too much, sees that the broker has the message, and never
 * hears of it again.
 */

/** Texts as the message has them, not judged; one that is given twice is left out. */
export interface Named {
  readonly id: string | undefined;
  readonly source: string | undefined;
  readonly run: string | undefined;
}

/** Only this much of a message is looked at, since it may be too large. Senders write these fields first. */
const LOOKED_AT_BYTES = 64 * 1024;

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+/gs;
/** The fields by their place in the message. A request without an envelope has its run at the top. */
const PLACES: Readonly<Record<string, keyof Named>> = { id: "id", source: "source", run: "run", "data/run": "run" };

/** Reads token by token and builds no value: the text may be cut off, too large or nested too deep. */
export function namedIn(bytes: Uint8Array): Named {
  const text = new TextDecoder().decode(bytes.subarray(0, LOOKED_AT_BYTES));
  const named = new Map<keyof Named, string | undefined>();
  const path: string[] = [];
  let before = "";
  for (const [token] of text.matchAll(TOKEN)) {
    if (path.length === 0 && token !== "{") break;
    if (token === "{" || token === "[") path.push("");
    else if (token === "}" || token === "]") path.pop();
    else if (token === ":") path[path.length - 1] = textOf(before) ?? "";
    else if (before === ":") note(PLACES[path.join("/")], textOf(token));
    if (path.length === 0) break;
    before = token;
  }
  return { id: named.get("id"), source: named.get("source"), run: named.get("run") };

  function note(field: keyof Named | undefined, value: string | undefined): void {
    if (field !== undefined) named.set(field, named.has(field) ? undefined : value);
  }
}

function textOf(token: string): string | undefined {
  if (!token.startsWith('"')) return undefined;
  try {
    return String(JSON.parse(token));
  } catch {
    return undefined; // an escape that JSON does not know, or a control character
  }
}

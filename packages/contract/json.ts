/**
 * Turns bytes into a JSON value, within limits that are checked before anything is built.
 *
 * The failures this prevents: a nesting of ten thousand brackets that overruns somebody's stack later; a key given twice, of
 * which different readers take different values; a number that was silently rounded; and a character that the ledger cannot
 * store, found only after the message was accepted. No content is quoted, since it may be secret.
 */
import type { CommandProblem } from "./problems/problem-codes.ts";
import { bounded, pointer, problem, PROBLEMS_MAX } from "./problems/schema-problems.ts";

export interface Bounds {
  readonly bytesMax: number;
  readonly depthMax: number;
  /** Refuse numbers beyond 2^53, which parsing would change. */
  readonly exactNumbers: boolean;
}

export const MESSAGE: Bounds = { bytesMax: 1024 * 1024, depthMax: 64, exactNumbers: true };

/** "parsed" with problems: the text is JSON and can be looked at, but must not be accepted. */
export type Parsed =
  | { readonly kind: "parsed"; readonly value: unknown; readonly problems: readonly CommandProblem[] }
  | { readonly kind: "unparsed"; readonly problems: readonly CommandProblem[] };

export function parseJson(bytes: Uint8Array, bounds: Bounds = MESSAGE): Parsed {
  if (bytes.length === 0) return unparsed(problem("", "Empty", "The message is empty; a JSON object is needed."));
  if (bytes.length > bounds.bytesMax)
    return unparsed(
      problem(
        "",
        "TooLarge",
        `The message has ${bytes.length} bytes; at most ${bounds.bytesMax} are read. Put large content elsewhere, and its address into the message.`,
      ),
    );
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf)
    return unparsed(
      problem("", "ByteOrderMark", "The message starts with a byte order mark; save or encode it as UTF-8 without one."),
    );
  const text = decode(bytes);
  if (text === undefined) return unparsed(problem("", "NotUtf8", "The message is not UTF-8 text; encode the JSON as UTF-8."));
  const { broken, problems } = survey(text, bounds);
  if (broken !== undefined) return unparsed(broken, ...problems);
  return { kind: "parsed", value: JSON.parse(text), problems: bounded(problems) };
}

const unparsed = (...problems: readonly CommandProblem[]): Parsed => ({ kind: "unparsed", problems: bounded(problems) });

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

/** Checks the text in one pass. The recursion is never deeper than `depthMax`. */
function survey(
  text: string,
  bounds: Bounds,
): { readonly broken: CommandProblem | undefined; readonly problems: readonly CommandProblem[] } {
  let at = 0;
  let depth = 0;
  let broken: CommandProblem | undefined;
  const path: (string | number)[] = [];
  const problems: CommandProblem[] = [];

  value();
  space();
  if (broken === undefined && at < text.length)
    broken = problem(
      "",
      "TrailingBytes",
      `After the JSON value more text follows, ${place(text, at)}; send one value in each message.`,
    );
  return { broken, problems };

  function value(): boolean {
    space();
    const first = text[at];
    if (first === '"') return string();
    if (first === "{") return nested(object);
    if (first === "[") return nested(array);
    if (first === "t") return literal("true");
    if (first === "f") return literal("false");
    if (first === "n") return literal("null");
    return number();
  }

  function nested(inside: () => boolean): boolean {
    if (depth === bounds.depthMax) {
      broken ??= problem(pointer(path.slice(0, 3)), "TooDeep", `The JSON is nested more than ${bounds.depthMax} deep here.`);
      return false;
    }
    depth++;
    at++;
    const whole = inside();
    depth--;
    return whole;
  }

  function object(): boolean {
    const names = new Set<string>();
    for (let first = true; ; first = false) {
      space();
      if (first && take(0x7d)) return true;
      if (text.charCodeAt(at) !== QUOTE) return fail('a field\'s name in double quotes or "}"');
      const start = at;
      path.push("");
      if (!string()) return false;
      const name = nameOf(text.slice(start, at));
      path[path.length - 1] = name;
      if (names.has(name)) note("DuplicateKey", "This field is there twice; keep one.");
      if (name === "__proto__") note("UnsafeKey", "No field may be named __proto__.");
      names.add(name);
      space();
      if (!take(COLON)) return fail('":"');
      if (!value()) return false;
      path.pop();
      space();
      if (take(COMMA)) continue;
      return take(0x7d) || fail('"," or "}"');
    }
  }

  function array(): boolean {
    space();
    if (take(0x5d)) return true;
    for (let index = 0; ; index++) {
      path.push(index);
      if (!value()) return false;
      path.pop();
      space();
      if (take(COMMA)) continue;
      return take(0x5d) || fail('"," or "]"');
    }
  }

  function string(): boolean {
    for (at++; at < text.length; ) {
      const unit = text.charCodeAt(at);
      if (unit === QUOTE) return (at++, true);
      if (unit < 0x20) return fail("a control character written as an escape, such as \\n");
      if (unit !== BACKSLASH) at++;
      else if (!escape()) return false;
    }
    return fail("the text's closing quote");
  }

  function escape(): boolean {
    const found = match(ESCAPE);
    if (found === undefined) return fail("an escape that JSON knows");
    at += found.length;
    if (!found.startsWith("\\u")) return true;
    const unit = Number.parseInt(found.slice(2), 16);
    if (unit === 0) note("UnusableCharacter", "This holds the character U+0000, which no program's argument can hold.");
    if (unit < 0xd800 || unit > 0xdfff) return true;
    const next = unit < 0xdc00 ? match(ESCAPE) : undefined;
    if (next !== undefined && /^\\u[dD][c-fC-F]/.test(next)) at += next.length;
    else note("UnusableCharacter", "This holds half of a character (an unpaired surrogate).");
    return true;
  }

  function number(): boolean {
    const found = match(NUMBER);
    if (found === undefined) return fail("a value");
    at += found.length;
    const size = Math.abs(Number(found));
    if (size === Number.POSITIVE_INFINITY || (bounds.exactNumbers && size > Number.MAX_SAFE_INTEGER))
      note("NumberOutOfRange", "Numbers beyond 2^53 are not exact in JSON; write it as a text.");
    return true;
  }

  function literal(word: string): boolean {
    if (!text.startsWith(word, at)) return fail("a value");
    at += word.length;
    return true;
  }

  function space(): void {
    for (; at < text.length; at++) {
      const unit = text.charCodeAt(at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
    }
  }

  function take(unit: number): boolean {
    if (text.charCodeAt(at) !== unit) return false;
    at++;
    return true;
  }

  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  }

  function note(code: "DuplicateKey" | "UnsafeKey" | "NumberOutOfRange" | "UnusableCharacter", message: string): void {
    if (problems.length <= PROBLEMS_MAX) problems.push(problem(pointer(path), code, message));
  }

  function fail(expected: string): false {
    broken ??= problem(
      "",
      "NotJson",
      at < text.length
        ? `The message is not JSON: ${expected} is expected ${place(text, at)}.`
        : `The message is not JSON: it ends where ${expected} is expected, after ${text.length} characters. Was it cut off?`,
    );
    return false;
  }
}

/** Two spellings of one name ("a" and "\u0061") are one name. */
const nameOf = (quoted: string): string => (quoted.includes("\\") ? String(JSON.parse(quoted)) : quoted.slice(1, -1));

function place(text: string, at: number): string {
  const before = text.slice(0, at).split("\n");
  return `at line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

/**
 * Writes a JSON value as its one canonical text: keys sorted, no spaces (as RFC 8785). Two requests with the same meaning have
 * the same digest, whatever order and spacing their publishers' libraries chose. Members that are `undefined` are left out, as
 * JSON does. Throws for a value that JSON lacks: such a value is a bug, not an input.
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

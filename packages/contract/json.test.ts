/** The bounded parser: it refuses these texts, each for its reason, and agrees with JSON.parse on all others. */
import fc from "fast-check";
import t from "tap";
import { MESSAGE, parseJson } from "./json.ts";

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const deep = (levels: number): string => "[".repeat(levels) + "]".repeat(levels);

interface Case {
  readonly name: string;
  readonly given: string | Uint8Array;
  readonly want: "parsed" | "unparsed";
  readonly problems: readonly (readonly [path: string, code: string])[];
}

// biome-ignore format: a table is read down its columns
const cases: readonly Case[] = [
  { name: "nothing", given: "", want: "unparsed", problems: [["", "Empty"]] },
  { name: "spaces only", given: " \n", want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a byte order mark", given: "\ufeff{}", want: "unparsed", problems: [["", "ByteOrderMark"]] },
  { name: "UTF-16", given: new Uint8Array(Buffer.from("\ufeff{}", "utf16le")), want: "unparsed", problems: [["", "NotUtf8"]] },
  { name: "Latin-1", given: new Uint8Array(Buffer.from('{"a":"\u00fc"}', "latin1")), want: "unparsed", problems: [["", "NotUtf8"]] },
  { name: "half of a character at the end", given: bytes('"\u00fc"').slice(0, 2), want: "unparsed", problems: [["", "NotUtf8"]] },
  { name: "random bytes", given: new Uint8Array([0x80, 0x02, 0x7d]), want: "unparsed", problems: [["", "NotUtf8"]] },
  { name: "text that is no JSON", given: "run=orders", want: "unparsed", problems: [["", "NotJson"]] },
  { name: "XML", given: "<run/>", want: "unparsed", problems: [["", "NotJson"]] },
  { name: "single quotes", given: "{'a':1}", want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a trailing comma", given: '{"a":1,}', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a comment", given: '{/* a */"a":1}', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "NaN", given: '{"a":NaN}', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a leading zero", given: '{"a":01}', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a raw line break in a text", given: '{"a":"\n"}', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "an unknown escape", given: '{"a":"\\x41"}', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a message cut off in a text", given: '{"a":"b', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a message cut off in an escape", given: '{"a":"\\u00', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "a message cut off after a field", given: '{"a":1', want: "unparsed", problems: [["", "NotJson"]] },
  { name: "two messages in one", given: '{"a":1}{"a":2}', want: "unparsed", problems: [["", "TrailingBytes"]] },
  { name: "trailing zero bytes", given: "{}\0\0", want: "unparsed", problems: [["", "TrailingBytes"]] },
  { name: "a trailing line break", given: "{}\r\n", want: "parsed", problems: [] },
  { name: "exactly as deep as is read", given: deep(64), want: "parsed", problems: [] },
  { name: "one deeper", given: deep(65), want: "unparsed", problems: [["/0/0/0", "TooDeep"]] },
  { name: "10,000 deep", given: deep(10_000), want: "unparsed", problems: [["/0/0/0", "TooDeep"]] },
  { name: "10,000 objects deep, never closed", given: '{"a":'.repeat(10_000), want: "unparsed", problems: [["/a/a/a", "TooDeep"]] },
  { name: "exactly as large as is read", given: `"${"x".repeat(MESSAGE.bytesMax - 2)}"`, want: "parsed", problems: [] },
  { name: "one byte larger", given: `"${"x".repeat(MESSAGE.bytesMax - 1)}"`, want: "unparsed", problems: [["", "TooLarge"]] },
  { name: "a key twice", given: '{"a":{"b":1,"c":2,"b":1}}', want: "parsed", problems: [["/a/b", "DuplicateKey"]] },
  { name: "a key twice in two spellings", given: '{"run":1,"\\u0072un":2}', want: "parsed", problems: [["/run", "DuplicateKey"]] },
  { name: "a key in two objects", given: '[{"a":1},{"a":1}]', want: "parsed", problems: [] },
  { name: "__proto__", given: '{"a":[{"__proto__":{"admin":true}}]}', want: "parsed", problems: [["/a/0/__proto__", "UnsafeKey"]] },
  { name: "__proto__ in another spelling", given: '{"__pr\\u006fto__":1}', want: "parsed", problems: [["/__proto__", "UnsafeKey"]] },
  { name: "constructor.prototype", given: '{"constructor":{"prototype":{"admin":true}}}', want: "parsed", problems: [] },
  { name: "2^53 - 1", given: "[9007199254740991,-9007199254740991]", want: "parsed", problems: [] },
  { name: "2^53", given: '{"n":[0,9007199254740992]}', want: "parsed", problems: [["/n/1", "NumberOutOfRange"]] },
  { name: "-2^53 - 1", given: "-9007199254740993", want: "parsed", problems: [["", "NumberOutOfRange"]] },
  { name: "1e999", given: '{"n":1e999}', want: "parsed", problems: [["/n", "NumberOutOfRange"]] },
  { name: "an escaped NUL", given: '{"a":"b\\u0000"}', want: "parsed", problems: [["/a", "UnusableCharacter"]] },
  { name: "half of a pair", given: '{"a":"\\ud83d!"}', want: "parsed", problems: [["/a", "UnusableCharacter"]] },
  { name: "the other half of a pair", given: '{"a":"\\ude00"}', want: "parsed", problems: [["/a", "UnusableCharacter"]] },
  { name: "a whole pair", given: '{"a":"\\ud83d\\ude00"}', want: "parsed", problems: [] },
  { name: "an escaped backslash before u0000", given: '{"a":"\\\\u0000"}', want: "parsed", problems: [] },
];

for (const { name, given, want, problems } of cases)
  t.test(`judges ${name}`, async (t) => {
    const parsed = parseJson(typeof given === "string" ? bytes(given) : given);
    t.equal(parsed.kind, want);
    t.same(
      parsed.problems.map(({ path, code }) => [path, code]),
      problems,
    );
  });

t.test("says where the text stops being JSON, and repeats nothing of it", async (t) => {
  const { problems } = parseJson(bytes('{\n  "password": "hunter2" oops\n}'));
  t.same(
    problems.map(({ message }) => message),
    ['The message is not JSON: "," or "}" is expected at line 2, column 25.'],
  );
});

t.test("a key named __proto__ reaches no prototype", async (t) => {
  const parsed = parseJson(bytes('{"__proto__":{"admin":true},"constructor":{"prototype":{"admin":true}}}'));
  t.equal(parsed.kind, "parsed");
  t.notOk("admin" in {});
});

t.test("a message full of faults gives a bounded list", async (t) => {
  const { problems } = parseJson(bytes(`[${"1e999,".repeat(100_000)}0]`));
  t.equal(problems.length, 51);
});

t.test("accepts what JSON.parse accepts, refuses what it refuses, and gives the same value", async (t) => {
  const scraps = fc.array(
    fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', '"\\n"', "1", "-0.5e3", "true", "null", " ", "x", '"'),
    { maxLength: 12 },
  );
  const texts = fc.oneof(
    fc.json({ maxDepth: 5 }),
    scraps.map((parts) => parts.join("")),
  );
  fc.assert(
    fc.property(texts, (text) => {
      const parsed = parseJson(bytes(text), { ...MESSAGE, exactNumbers: false });
      const theirs = parseOrUndefined(text);
      if (theirs === undefined) return parsed.kind === "unparsed";
      return parsed.kind === "parsed" && JSON.stringify(parsed.value) === theirs;
    }),
    { numRuns: 3000 },
  );
  t.pass("3,000 texts");
});

function parseOrUndefined(text: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(text.toWellFormed()));
  } catch {
    return undefined;
  }
}

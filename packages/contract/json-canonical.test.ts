/** The text that the digest is taken of is equal for requests with the same meaning, and different for all others. */
import fc from "fast-check";
import t from "tap";
import { canonical } from "./json.ts";

t.test("sorts keys by their UTF-16 units, at every depth, and leaves lists as they are", async (t) => {
  const value = { b: [{ z: 1, a: 2 }, null], "\u20ac": 1, a: "ü", "\ud83d\ude00": 2, B: true, 10: 0, 9: -0 };
  t.equal(canonical(value), '{"10":0,"9":0,"B":true,"a":"ü","b":[{"a":2,"z":1},null],"€":1,"😀":2}');
});

t.test("leaves out undefined values, as JSON does", async (t) => {
  t.equal(canonical({ a: undefined, b: 1 }), '{"b":1}');
});

t.test("two spellings of one value have one text", async (t) => {
  t.equal(canonical(JSON.parse('{"b": 1.0, "a": "\\u0041"}')), canonical(JSON.parse('{"a":"A","b":1}')));
});

for (const [name, value] of [
  ["a function", () => 1],
  ["undefined", undefined],
  ["NaN", Number.NaN],
  ["a bigint", 1n],
] as const)
  t.test(`throws for ${name}, which has no JSON`, async (t) => {
    t.throws(() => canonical(value), TypeError);
  });

t.test("is the same for any order of keys, and for its own value read back", async (t) => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const text = canonical(value);
      return text === canonical(reversed(value)) && canonical(JSON.parse(text)) === text;
    }),
  );
  t.pass("100 values");
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, reversed(member)]),
  );
}

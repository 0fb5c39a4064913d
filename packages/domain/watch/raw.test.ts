/** Foreign JSON, field by field: which values are taken, and which are ignored. */
import t from "tap";
import { at, field, integer, list, text } from "./raw.ts";

t.test("an object's fields are its own properties only", async (t) => {
  t.equal(field({}, "constructor"), undefined);
  t.equal(at({ a: { b: 1 } }, "a", "b"), 1);
  t.equal(at({ a: null }, "a", "b"), undefined);
  t.equal(field("text", "length"), undefined);
});

t.test("a text is one that can be stored, and short", async (t) => {
  t.equal(text("a\0b"), "a\uFFFDb");
  t.equal(text("ab\u{1F600}", 3), "ab\uFFFD", "what is cut in half is no half");
  t.equal(text(""), undefined);
  t.equal(text(7), undefined);
});

t.test("a list is bounded, and a number whole and safe", async (t) => {
  t.equal(list(Array.from({ length: 200 })).length, 100);
  t.same(list({ length: 3 }), []);
  t.equal(integer(3), 3);
  for (const not of [1.5, 2 ** 60, Number.NaN, "3", null]) t.equal(integer(not), undefined);
});

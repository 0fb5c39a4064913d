/**
 * Each rule of tidy objects to its bad trees and lets its good trees pass, and a rule that does not work is noticed. The
 * checkout is tidy.
 */
import { resolve } from "node:path";
import t from "tap";
import { faults, RULES, unsound } from "./tidy/rules.ts";
import { blank, readTree, treeOf } from "./tidy/source.ts";

for (const rule of RULES) {
  t.test(`rule "${rule.name}"`, async (t) => {
    for (const tree of rule.bad) t.not(rule.check(treeOf(tree)).length, 0, `objects to ${JSON.stringify(tree).slice(0, 120)}`);
    for (const tree of rule.good) t.same(rule.check(treeOf(tree)), [], `lets pass ${JSON.stringify(tree).slice(0, 120)}`);
  });
}

t.test("a rule without its body, or one that objects to everything, does not go unnoticed", async (t) => {
  t.same(unsound(RULES), []);
  const everything = () => [{ path: "a", line: 1, message: "no" }];
  for (const rule of RULES) {
    for (const check of [() => [], everything]) {
      const damaged = RULES.map((it) => (it === rule ? { ...it, check } : it));
      t.same(unsound(damaged), [rule.name]);
    }
  }
  t.equal(new Set(RULES.map((it) => it.name)).size, RULES.length, "no rule hides another by its name");
});

t.test("comments, texts and regular expressions are blanked, and nothing else", async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ["a // b", "a     "],
    ["a /* b\nc */ d", "a     \n     d"],
    ['"a\\"b" + c', '"    " + c'],
    ["`a ${b + `c ${d}`} e` + f", "`  ${b + `  ${d}`}  ` + f"],
    ["`a ${ { b: 1 } } c`", "`  ${ { b: 1 } }  `"],
    ["x = /a\\/[/]b/g; y", "x = /       /g; y"],
    ["a / b / c", "a / b / c"],
    ["return /'/.test(a)", "return / /.test(a)"],
  ];
  for (const [text, want] of cases) t.equal(blank(text), want, text);
});

t.test("imports are found however they are written", async (t) => {
  const text =
    'import a from "x1";\nimport type {\n  B,\n} from "x2";\nimport "x3";\nexport { c } from "x4";\nconst d = await import("x5");\nexport const e = 1;\nconst f = "import";';
  const [source] = treeOf({ "packages/a/a.ts": text }).sources;
  t.same(
    source?.imports.map((it) => [it.specifier, it.line]),
    [
      ["x1", 1],
      ["x2", 2],
      ["x3", 5],
      ["x4", 6],
      ["x5", 7],
    ],
  );
});

t.test("the checkout is tidy", async (t) => {
  const found = faults(readTree(resolve(import.meta.dirname, "..")));
  t.same(
    found.map((it) => `${it.path}:${it.line} ${it.rule.name}: ${it.message}`),
    [],
  );
});

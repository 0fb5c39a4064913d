/** Expressions: which are read, what is put in for them, and that a value stays a value. */
import t from "tap";
import { parse, render, valueAt, wholePath } from "./template.ts";

const values = {
  parameters: {
    n: 3, yes: true, none: null, text: "two words", list: ["a", "b"], object: { deep: [{ x: 1 }] }, sneaky: "${{ parameters.secret }}",
    secret: "s3cret", dollars: "$(DB_PASSWORD) $$(P) $", "odd name": "odd",
  },
  steps: { load: { outputs: { rows: 7, "example.org/id": "p-1" } }, skipped: { outputs: null } },
}; // biome-ignore format: a value read as one

interface Rendered {
  readonly value: unknown;
  readonly problems: readonly string[];
}

function put(template: unknown, dollars: "doubled" | "kept" = "kept", bytes = 1000): Rendered {
  const problems: string[] = [];
  const rendering = {
    lookUp: (path: readonly string[]) => valueAt(values, path),
    problem: (at: string, message: string) => void problems.push(`${at}: ${message}`),
    room: { bytes },
  };
  return { value: render(template, "", { dollars }, rendering), problems };
}

interface Case {
  readonly name: string;
  readonly template: unknown;
  readonly want: unknown;
}

// biome-ignore format: a table is read down its columns
const CASES: readonly Case[] = [
  { name: "a whole expression keeps a number", template: "${{ parameters.n }}", want: 3 },
  { name: "a whole expression keeps true", template: "${{parameters.yes}}", want: true },
  { name: "a whole expression keeps null", template: "${{ parameters.none }}", want: null },
  { name: "a whole expression keeps a list", template: "${{ parameters.list }}", want: ["a", "b"] },
  { name: "an entry of a list", template: "${{ parameters.list[1] }}", want: "b" },
  { name: "a value deep inside", template: "${{ parameters.object.deep[0].x }}", want: 1 },
  { name: "names that need quotes", template: '${{ steps.load.outputs["example.org/id"] }} ${{ parameters["odd name"] }}', want: "p-1 odd" },
  { name: "scalars become text inside a text", template: "n=${{ parameters.n }}, ${{ parameters.yes }}", want: "n=3, true" },
  { name: "null is an empty text inside a text", template: "[${{ parameters.none }}]", want: "[]" },
  { name: "two expressions side by side", template: "${{ parameters.n }}${{ parameters.text }}", want: "3two words" },
  { name: "nothing below a skipped step's outputs is there", template: "${{ steps.skipped.outputs.rows }}", want: null },
  { name: "a value is never read again", template: "${{ parameters.sneaky }}", want: "${{ parameters.secret }}" },
  { name: "a value is never read again inside a text", template: "x ${{ parameters.sneaky }}", want: "x ${{ parameters.secret }}" },
  { name: "the escape", template: "$${{ parameters.n }}", want: "${{ parameters.n }}" },
  { name: "a dollar before the escape", template: "$$${{ parameters.n }}", want: "$${{ parameters.n }}" },
  { name: "the escape and an expression", template: "$${{ a }} ${{ parameters.n }}", want: "${{ a }} 3" },
  { name: "a text without an expression", template: "$(NAME) ${HOME} {{ x }}", want: "$(NAME) ${HOME} {{ x }}" },
  { name: "every text of a value", template: { a: ["${{ parameters.n }}"], b: 1 }, want: { a: [3], b: 1 } },
];

for (const { name, template, want } of CASES) t.test(name, async (t) => t.same(put(template), { value: want, problems: [] }));

// biome-ignore format: a table is read down its columns
const BAD: readonly { readonly name: string; readonly template: unknown; readonly says: string }[] = [
  { name: "an operator", template: "${{ parameters.n + 1 }}", says: "no operators" },
  { name: "a function", template: "${{ length(parameters.list) }}", says: "no functions" },
  { name: "nothing", template: "${{ }}", says: "one path" },
  { name: "no end", template: "${{ parameters.n", says: "one path" },
  { name: "a name that is not there", template: ["${{ parameters.m }}"], says: '/0: There is no value at "parameters.m".' },
  { name: "a list's length, which is none of its values", template: "${{ parameters.list.length }}", says: "There is no value" },
  { name: "a prototype's field", template: "${{ parameters.constructor }}", says: "There is no value" },
  { name: "a list inside a text", template: "x ${{ parameters.list }}", says: "not a list" },
  { name: "a part of a variable's name", template: "$(DB_${{ parameters.text }})", says: "which variable is read" },
  { name: "a part of a variable's name after a written dollar", template: "$$$(${{ parameters.text }})", says: "which variable is read" },
];

for (const { name, template, says } of BAD)
  t.test(`tells that an expression has ${name}`, async (t) => t.match(put(template).problems.join(), says));

t.test("a shell's own $( … ) is no variable's name", async (t) =>
  t.equal(put("$(date -d ${{ parameters.n }})").value, "$(date -d 3)"),
);

t.test("values stop at their bound, and that is told once", async (t) => {
  const { problems } = put(
    Array.from({ length: 50 }, () => "${{ parameters.text }}"),
    "kept",
    100,
  );
  t.equal(problems.length, 1);
  t.match(problems[0], "bytes");
});

t.test("a whole expression is known by its text alone", async (t) => {
  t.same(wholePath("${{ steps.a.outputs.b }}"), ["steps", "a", "outputs", "b"]);
  for (const text of ["", " ${{ a.b }}", "${{ a }}${{ b }}", "$${{ a }}", "${{ a"]) t.equal(wholePath(text), undefined, text);
});

t.test("whatever is written between texts is read back", async (t) => {
  const pieces = ["$", "$$", "{{", "}}", "${{ a }}", "$${{", " ", "x", '["b"]', "${{"];
  let seed = 7;
  const next = (): number => (seed = (seed * 1103515245 + 12345) % 2147483648);
  for (let n = 0; n < 3000; n++) {
    const text = Array.from({ length: next() % 6 }, () => pieces[next() % pieces.length] ?? "").join("");
    const parsed = parse(text);
    if (parsed.kind === "unparsed") continue;
    const plain = parsed.parts.filter((it) => typeof it === "string").join("");
    const paths = parsed.parts.filter((it) => typeof it !== "string").length;
    t.ok(plain.length + paths * "${{ a }}".length <= text.length, text);
  }
});

/** The rule by which the kubelet expands a text, as its source has it. */
function kubeletExpands(text: string, variables: Readonly<Record<string, string>>): string {
  let out = "";
  for (let at = 0; at < text.length; at++) {
    if (text[at] !== "$" || at + 1 >= text.length) {
      out += text[at];
      continue;
    }
    if (text[at + 1] === "$") out += "$";
    else if (text[at + 1] === "(") {
      const end = text.indexOf(")", at + 2);
      if (end < 0) out += "$(";
      else {
        const name = text.slice(at + 2, end);
        out += variables[name] ?? `$(${name})`;
        at = end - 1;
      }
    } else {
      out += `$${text[at + 1] ?? ""}`;
    }
    at++;
  }
  return out;
}

t.test("the kubelet expands nothing of a value, and the program gets it as it was", async (t) => {
  const variables = { DB_PASSWORD: "leaked", P: "leaked" };
  const dangerous = ["$(P)", "$$(P)", "$$$(P)", "$", "$$", "a$", "$(DB_PASSWORD", "(P)", "P)", "$(P)$(DB_PASSWORD)"];
  const around = [["", ""], ["x", "(P)"], ["x ", "$$(P)"], ["", "(DB_PASSWORD)"], ["y", "P)"]]; // biome-ignore format: pairs
  for (const value of dangerous)
    for (const [before = "", after = ""] of around) {
      const doubled = render(
        `${before}\${{ v }}${after}`,
        "",
        { dollars: "doubled" },
        { lookUp: () => value, problem: (at) => t.fail(at), room: { bytes: 99 } },
      );
      const meant = `${before}${value}${after.replaceAll("$$", "$")}`;
      t.equal(kubeletExpands(String(doubled), variables), meant, `${before} + ${value} + ${after}`);
    }
});

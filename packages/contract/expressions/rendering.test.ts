/** Steps with the values of their expressions, as their Jobs run them. */
import t from "tap";
import { REQUESTED } from "../messages/command.ts";
import { readCommand } from "../messages/envelope.ts";
import { expressionProblems, knownImages, rendered, renderedIf, renderedOutputs, type Values } from "./rendering.ts";
import { type StepRequest, stepsOf } from "../request/request.ts";

const values: Values = {
  run: { id: "orders/1" },
  parameters: { n: 2, tag: "1.4", list: ["a", 3, null, "$HOME"], none: null, env: { A: "x", B: 1 }, password: "$(P) $$(P)" },
  steps: { load: { outputs: { rows: 7, ok: true, image: "app:2" } }, skipped: { outputs: null } },
};

const step = (fields: object): StepRequest => {
  const [made] = stepsOf(REQUESTED.pipeline.parse({ run: "r", steps: [{ name: "s", image: "app", ...fields }] }));
  if (made === undefined) throw new TypeError("no step");
  return made;
};

function made(fields: object, marks: object = {}): unknown {
  const result = rendered(step(fields), marks, values);
  return result.kind === "rendered" ? result.step : result.problems;
}

// biome-ignore format: a table is read down its columns
const CASES: readonly { readonly name: string; readonly fields: object; readonly want: object }[] = [
  { name: "an image", fields: { image: "registry/app:${{ parameters.tag }}" }, want: { image: "registry/app:1.4" } },
  { name: "an image from an output", fields: { image: "${{ steps.load.outputs.image }}" }, want: { image: "app:2" } },
  { name: "a list as it is, its numbers as texts, without its null", fields: { args: "${{ parameters.list }}" }, want: { args: ["a", "3", "$$HOME"] } },
  { name: "a number as an argument", fields: { args: ["--rows", "${{ steps.load.outputs.rows }}"] }, want: { args: ["--rows", "7"] } },
  { name: "null, which leaves out its entry", fields: { args: ["a", "${{ parameters.none }}", "b"] }, want: { args: ["a", "b"] } },
  { name: "null, which leaves out its variable", fields: { env: { A: "${{ parameters.none }}", B: "b" } }, want: { env: { B: "b" } } },
  { name: "null, which leaves out its field", fields: { command: "${{ parameters.none }}" }, want: {} },
  { name: "an output of a skipped step", fields: { env: { A: "${{ steps.skipped.outputs.x }}" } }, want: { env: {} } },
  { name: "a whole env", fields: { env: "${{ parameters.env }}" }, want: { env: { A: "x", B: "1" } } },
  { name: "an amount", fields: { resources: { limits: { cpu: "${{ parameters.n }}", memory: "${{ parameters.n }}Gi" } } }, want: { resources: { limits: { cpu: "2", memory: "2Gi" } } } },
  { name: "a label of the step, with no dollar doubled", fields: { labels: { l: "${{ parameters.tag }}" }, annotations: { a: "${{ parameters.password }}" } }, want: { labels: { l: "1.4" }, annotations: { a: "$(P) $$(P)" } } },
  { name: "doubled dollars in args, command and env, the author's own as written", fields: { command: ["sh", "$(X)", "${{ parameters.password }}"], args: ["$(X) ${{ parameters.password }}"], env: { E: "$(X)${{ parameters.password }}" } },
    want: { command: ["sh", "$(X)", "$$(P) $$$$(P)"], args: ["$(X) $$(P) $$$$(P)"], env: { E: "$(X)$$(P) $$$$(P)" } } },
  { name: "init containers and scratch space", fields: { init: [{ name: "i", image: "i:${{ parameters.tag }}", args: ["${{ parameters.password }}"] }], scratch: [{ path: "/w/${{ parameters.n }}", size: "${{ parameters.n }}Gi" }] },
    want: { init: [{ name: "i", image: "i:1.4", args: ["$$(P) $$$$(P)"] }], scratch: [{ path: "/w/2", size: "2Gi" }] } },
  { name: "the run's id", fields: { args: ["${{ run.id }}"] }, want: { args: ["orders/1"] } },
  { name: "fields without expressions as they are", fields: { args: ["${{ run.id }}"], deadline: "5m", outputs: ["a"] }, want: { args: ["orders/1"], deadline: "5m", outputs: ["a"] } },
];

for (const { name, fields, want } of CASES)
  t.test(`puts in ${name}`, async (t) => t.same(made(fields), { name: "s", image: "app", ...want }));

t.test("a step without expressions is not touched", async (t) => {
  const plain = step({ args: ["$(A)"], env: { A: "$" } });
  const result = rendered(plain, { labels: { a: "b" } }, values);
  t.equal(result.kind === "rendered" && result.step, plain);
});

t.test("the run's labels get their values, too", async (t) => {
  const result = rendered(step({}), { labels: { n: "${{ parameters.n }}" }, annotations: { r: "run ${{ run.id }}" } }, values);
  t.match(result, { kind: "rendered", labels: { n: "2" }, annotations: { r: "run orders/1" } });
});

t.test("values that make no image are told with their place", async (t) =>
  t.match(made({ image: "${{ parameters.none }}" }), [{ path: "/image", code: "Missing" }]),
);

t.test("`if` is a boolean; null is false; all else is told", async (t) => {
  t.equal(renderedIf(false, values), false);
  t.equal(renderedIf("${{ steps.load.outputs.ok }}", values), true);
  t.equal(renderedIf("${{ steps.skipped.outputs.ok }}", values), false);
  t.match(renderedIf("${{ steps.load.outputs.rows }}", values), { problem: "neither true nor false" });
});

t.test("the run's outputs keep their types, and have a bound", async (t) => {
  t.same(
    renderedOutputs({ rows: "${{ steps.load.outputs.rows }}", text: "${{ run.id }}: ${{ steps.load.outputs.ok }}" }, values),
    {
      outputs: { rows: 7, text: "orders/1: true" },
    },
  );
  const large: Values = { ...values, steps: { load: { outputs: { rows: "x".repeat(4000) } } } };
  const many = Object.fromEntries(Array.from({ length: 20 }, (_, at) => [`o${at}`, "${{ steps.load.outputs.rows }}"]));
  t.match(renderedOutputs(many, large), { problem: "at most 65536" });
});

t.test("a sound request with every kind of expression is taken", async (t) => {
  const data = {
    run: "r", parameters: values.parameters, labels: { n: "${{ parameters.n }}" }, outputs: { rows: "${{ steps.load.outputs.rows }}" },
    steps: [
      { name: "load", image: "load:${{ parameters.tag }}", outputs: { message: ["rows", "ok"], annotations: ["example.org/id"] } },
      { name: "use", needs: ["load"], image: "${{ steps.load.outputs.rows }}", if: "${{ steps.load.outputs.ok }}", resources: { requests: { cpu: "${{ steps.load.outputs.rows }}m" } } },
      { name: "last", needs: ["use"], image: "x", args: ["${{ run.id }}", '${{ steps.load.outputs["example.org/id"] }}', "${{ parameters.n }}"], command: "${{ parameters.list }}" },
    ],
  }; // biome-ignore format: a request read as one
  const body = JSON.stringify({ specversion: "1.0", id: "m", source: "/s", type: "dev.longshore.run.requested", data });
  t.match(readCommand(new TextEncoder().encode(body)), { kind: "command" });
});

t.test("a problem of a value is told at its place, also behind an output that is not known yet", async (t) => {
  const request = REQUESTED.pipeline.parse({
    run: "r",
    parameters: { bad: ["x"] },
    steps: [
      { name: "load", image: "x", outputs: ["a"] },
      { name: "use", needs: ["load"], image: "x", args: ["${{ steps.load.outputs.a }}", "${{ parameters.bad }}"] },
    ],
  });
  t.match(expressionProblems(request, "r"), [{ path: "/steps/1/args/1", code: "WrongType" }]);
});

t.test("images are known beforehand, unless they depend on an output", async (t) => {
  const init = [{ name: "a", image: "i:${{ parameters.tag }}" }, { name: "b", image: "${{ steps.load.outputs.image }}" }]; // biome-ignore format: two
  t.same(knownImages(step({ image: "app:${{ parameters.tag }}", init }), values), {
    image: "app:1.4",
    init: ["i:1.4", undefined],
  });
  t.same(knownImages(step({ image: "${{ steps.load.outputs.image }}" }), values), { image: undefined, init: [] });
});

t.test("only a step that can make pods has the labels of its children, and only where any JSON may stand", async (t) => {
  const problemsOf = (fields: object, of: object = {}) =>
    expressionProblems(REQUESTED.simple.parse({ run: "r", image: "x", ...fields, ...of }), "r").map(({ message }) => message);
  const asked = { env: { LABELS: "${{ run.childLabels }}" } };
  t.match(problemsOf(asked), [/Only a step with a token .* has run\.childLabels/]);
  t.match(problemsOf(asked, { serviceAccount: { name: "worker", token: true } }), [/a text, a number, true or false/]);
  t.match(problemsOf({ args: ["${{ run.other }}"] }), [/only run\.id and run\.childLabels/]);
  t.match(problemsOf({ args: ["${{ run.childLabels.x }}"] }), [/only run\.id and run\.childLabels/]);
});

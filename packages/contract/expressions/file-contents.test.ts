/** Files with the values of their expressions, and where each fits. */
import t from "tap";
import { readCommand } from "../messages/envelope.ts";
import { FILE_BYTES_MAX } from "../request/files.ts";
import { type RunRequest, stepsOf } from "../request/request.ts";
import { REQUESTED } from "../messages/command.ts";
import { annotatedBytes } from "./file-contents.ts";
import { largeFilesOf, rendered, type Values } from "./rendering.ts";

const values: Values = {
  run: { id: "orders/1" },
  parameters: { n: 2, list: ["a", 3, null], none: null, dollar: "$(P) $$(P)", big: "x".repeat(FILE_BYTES_MAX.ofStep), empty: {} },
  steps: { load: { outputs: { rows: 7, much: "y".repeat(FILE_BYTES_MAX.ofStep + 1) } }, skipped: { outputs: null } },
};

const requested = (...files: readonly object[]): RunRequest =>
  REQUESTED.pipeline.parse({
    run: "r",
    parameters: values.parameters,
    steps: [{ name: "s", image: "app", files }],
  }) as RunRequest;

function made(...files: readonly object[]) {
  const [step] = stepsOf(requested(...files));
  if (step === undefined) throw new TypeError("no step");
  const result = rendered(step, {}, values, "/steps/0");
  return result.kind === "rendered" ? { files: result.step.files } : { problems: result.problems };
}

// biome-ignore format: a table is read down its columns
const CONTENTS: readonly { readonly name: string; readonly file: object; readonly content: string }[] = [
  { name: "a text as it is", file: { text: "a\nb $HOME" }, content: "a\nb $HOME" },
  { name: "an empty text", file: { text: "" }, content: "" },
  { name: "JSON as it is", file: { json: { a: [1, null, true] } }, content: '{"a":[1,null,true]}' },
  { name: "JSON that is null", file: { json: null }, content: "null" },
  { name: "a whole expression in JSON, which keeps its type", file: { json: "${{ parameters.list }}" }, content: '["a",3,null]' },
  { name: "expressions inside of JSON", file: { json: { n: "${{ parameters.n }}", t: "n=${{ parameters.n }}" } }, content: '{"n":2,"t":"n=2"}' },
  { name: "a number in a text", file: { text: "${{ parameters.n }}" }, content: "2" },
  { name: "null in a text, which is nothing", file: { text: "${{ parameters.none }}" }, content: "" },
  { name: "dollars as they are: no kubelet expands a file", file: { text: "${{ parameters.dollar }}" }, content: "$(P) $$(P)" },
  { name: "an output", file: { json: { rows: "${{ steps.load.outputs.rows }}" } }, content: '{"rows":7}' },
  { name: "an output of a skipped step", file: { json: "${{ steps.skipped.outputs.x }}" }, content: "null" },
  { name: "the run's id", file: { text: "${{ run.id }}" }, content: "orders/1" },
];

for (const { name, file, content } of CONTENTS)
  t.test(`a file holds ${name}`, async (t) =>
    t.match(made({ path: "/f", ...file }), { files: [{ path: "/f", content, isLarge: false }] }),
  );

t.test("a step's files stand in annotations as long as these have room, the smallest first", async (t) => {
  const text = (bytes: number) => "z".repeat(bytes);
  const { files = [] } = made(
    { path: "/a", text: text(20_000) },
    { path: "/b", text: text(13_000) },
    { path: "/c", text: text(5) },
  );
  t.same(files.map(({ isLarge }) => isLarge), [true, false, false]); // biome-ignore format: one line
  t.equal(annotatedBytes(files), 13_005);
  t.same(made({ path: "/a", text: text(FILE_BYTES_MAX.ofStep) }).files?.map(({ isLarge }) => isLarge), [false]); // biome-ignore format: one line
});

t.test("bytes count, not characters", async (t) => {
  t.match(made({ path: "/a", text: "ü".repeat(FILE_BYTES_MAX.ofStep / 2 + 1) }), { files: [{ isLarge: true }] });
});

t.test("a large file is known before any step has run, each content once", async (t) => {
  const big = { json: "${{ parameters.big }}" };
  const request = requested(
    { path: "/a", ...big },
    { path: "/b", ...big },
    { path: "/c", text: "${{ steps.load.outputs.much }}" },
  );
  t.equal(largeFilesOf(request, "r").length, 1);
});

t.test("a file whose value comes from outputs cannot be large, and its place is told", async (t) => {
  const { problems } = made(
    { path: "/a", text: "${{ steps.load.outputs.rows }}" },
    { path: "/b", text: "${{ steps.load.outputs.much }}" },
  );
  t.match(problems, [{ path: "/steps/0/files/1", message: /32769 bytes|32770 bytes/ }]);
});

const refusal = (data: object) => {
  const message = {
    specversion: "1.0",
    id: "m1",
    source: "/shop",
    type: "dev.longshore.run.requested",
    data: { run: "r", ...data },
  };
  const read = readCommand(new TextEncoder().encode(JSON.stringify(message)));
  return read.kind === "refused" ? read.problems : [];
};

t.test("a request may have 900 KiB of large files, and no more", async (t) => {
  const files = (bytes: number) => [{ path: "/a", text: "x".repeat(bytes) }];
  t.same(refusal({ image: "a", files: files(FILE_BYTES_MAX.ofRun) }), []);
  const half = FILE_BYTES_MAX.ofRun / 2 + 1;
  const two = (which: string) => ({ name: which, image: "a", files: [{ path: "/a", text: which.repeat(half) }] });
  t.match(refusal({ steps: [{ name: "first", image: "a" }, two("b"), two("c")] }), [
    { path: "/data/steps/1/files", code: "TooLarge", message: /921602 bytes/ },
  ]);
});

t.test("a parameter may be as large, if it goes into a file alone", async (t) => {
  const parameters = { stage: { items: "x".repeat(800_000) } };
  t.same(refusal({ image: "a", parameters, files: [{ path: "/a", json: "${{ parameters.stage }}" }] }), []);
  t.match(refusal({ image: "a", parameters, env: { A: "${{ parameters.stage.items }}" } }), [{ path: "/data/env/A" }]);
});

t.test("the annotations of a step and its small files share the room of its pods", async (t) => {
  const annotations = Object.fromEntries(Array.from({ length: 45 }, (_, at) => [`a${at}`, "x".repeat(4000)]));
  const files = [{ path: "/a", text: "x".repeat(30_000) }];
  t.same(refusal({ image: "a", annotations }), []);
  t.match(refusal({ image: "a", annotations, files }), [
    { path: "/data/annotations", message: /with those of the run and its small files/ },
  ]);
});

/** Every way in which a step can leave outputs behind, or fail to do so. */
import fc from "fast-check";
import type { Evidence } from "@longshore/contract/messages/fact.ts";
import t from "tap";
import { ANNOTATION_BYTES_MAX, outcomeOfOutputs, outputsOfStep } from "./outputs.ts";

interface Case {
  readonly name: string;
  readonly message: string | undefined;
  readonly declared?: readonly string[];
  readonly want: object | string;
}

const deep = `{"a":${"[".repeat(100)}${"]".repeat(100)}}`;
const cases: readonly Case[] = [
  {
    name: "takes the object that was written",
    message: '{"rows":12,"url":"s3://x"}',
    declared: ["rows"],
    want: { rows: 12, url: "s3://x" },
  },
  { name: "takes an object also from a step that declares nothing", message: '{"rows":12}', want: { rows: 12 } },
  { name: "takes nothing from a step that declares and writes nothing", message: undefined, want: {} },
  { name: "ignores other text from a step that declares nothing", message: "done.", want: {} },
  { name: "ignores a list from a step that declares nothing", message: "[1]", want: {} },
  { name: "fails if no declared output was written", message: "", declared: ["rows"], want: "OutputsLost" },
  { name: "fails if only one of two was written", message: '{"rows":1}', declared: ["rows", "url"], want: "OutputsLost" },
  { name: "counts a null as written", message: '{"rows":null}', declared: ["rows"], want: { rows: null } },
  { name: "is not fooled by names that every object inherits", message: "{}", declared: ["constructor"], want: "OutputsLost" },
  { name: "fails if text was written instead", message: "rows=12", declared: ["rows"], want: "OutputsInvalid" },
  { name: "fails if a list was written instead", message: "[12]", declared: ["rows"], want: "OutputsInvalid" },
  {
    name: "says that it was cut off, not that it is no JSON",
    message: `{"rows":"${"x".repeat(4096)}`.slice(0, 4096),
    declared: ["rows"],
    want: "OutputsTooLarge",
  },
  { name: "counts bytes, not characters", message: `{"rows":"${"ä".repeat(2044)}`, declared: ["rows"], want: "OutputsTooLarge" },
  { name: "refuses a NUL, which the ledger cannot store", message: '{"rows":"a\\u0000b"}', want: "OutputsInvalid" },
  { name: "refuses a NUL in a name", message: '{"a\\u0000b":1}', want: "OutputsInvalid" },
  { name: "refuses half a surrogate pair", message: '{"rows":["\\ud800"]}', want: "OutputsInvalid" },
  { name: "refuses a whole number that would change", message: '{"order":12345678901234567890}', want: "OutputsInvalid" },
  { name: "refuses a number beyond all numbers", message: '{"order":1e999}', want: "OutputsInvalid" },
  { name: "refuses a value that is nested without end", message: deep, want: "OutputsInvalid" },
];

for (const { name, message, declared = [], want } of cases) {
  t.test(name, async (t) => {
    const read = outcomeOfOutputs(message, declared);
    t.same(read.kind === "outputs" ? read.outputs : read.diagnosis.code, want);
  });
}

const annotated = (annotations: Record<string, string>, message?: string) => ({
  started: "yes" as const,
  annotations,
  ...(message && { message }),
});
const BOTH = { outputs: ["rows"], annotations: ["project_id", "readme"] };

// biome-ignore format: a table is read down its columns
const ANNOTATED: readonly { readonly name: string; readonly args: Parameters<typeof outputsOfStep>; readonly want: object | string }[] = [
  { name: "message and annotations together", args: [annotated({ project_id: "p", readme: "" }, '{"rows":1}'), BOTH, 0], want: { rows: 1, project_id: "p", readme: "" } },
  { name: "annotations without a message", args: [annotated({ a: "1" }), { outputs: [], annotations: ["a"] }, 0], want: { a: "1" } },
  { name: "no annotation that is not declared", args: [annotated({ a: "1", other: "2" }), { outputs: [], annotations: ["a"] }, 0], want: { a: "1" } },
  { name: "a loss if an annotation is missing", args: [annotated({ project_id: "p" }, '{"rows":1}'), BOTH, 0], want: "OutputsLost" },
  { name: "a loss if the pod was not seen", args: [{ started: "unknown" }, { outputs: [], annotations: ["a"] }, 0], want: "OutputsLost" },
  { name: "an annotation of 4 KiB", args: [annotated({ a: "x".repeat(ANNOTATION_BYTES_MAX) }), { outputs: [], annotations: ["a"] }, 0], want: { a: "x".repeat(ANNOTATION_BYTES_MAX) } },
  { name: "too much in an annotation above it, by bytes", args: [annotated({ a: `ä${"x".repeat(ANNOTATION_BYTES_MAX - 1)}` }), { outputs: [], annotations: ["a"] }, 0], want: "OutputsTooLarge" },
  { name: "too much for an event with the other steps' outputs", args: [annotated({ a: "xx" }), { outputs: [], annotations: ["a"] }, 65_530], want: "OutputsTooLarge" },
];

for (const { name, args, want } of ANNOTATED)
  t.test(`finds ${name}`, async (t) => {
    const read = outputsOfStep(...args);
    t.same(read.kind === "outputs" ? read.outputs : read.diagnosis.code, want);
  });

const slices = (count: number, failed: string, messages: Readonly<Record<string, string>>, cut?: true): Evidence => ({
  started: "yes",
  slices: { count, succeeded: 0, failed, messages, ...(cut && { cut }) },
});
const ROWS = { outputs: ["rows"] };

// biome-ignore format: a table is read down its columns
const SLICED: readonly { readonly name: string; readonly args: Parameters<typeof outputsOfStep>; readonly want: object | string }[] = [
  { name: "a list by index, with null for a slice that failed", args: [slices(3, "1", { 0: '{"rows":1}', 2: '{"rows":3,"more":true}' }), ROWS, 0], want: { rows: [1, null, 3], more: [null, null, true] } },
  { name: "a loss if a slice that succeeded wrote none", args: [slices(2, "", { 0: '{"rows":1}' }), ROWS, 0], want: "OutputsLost" },
  { name: "an empty list for no slices", args: [slices(0, "", {}), ROWS, 0], want: { rows: [] } },
  { name: "too much if the messages did not fit", args: [slices(2, "", { 0: '{"rows":1}' }, true), ROWS, 0], want: "OutputsTooLarge" },
  { name: "no outputs if the messages of a step that declares none did not fit", args: [slices(2, "", { 0: '{"rows":1}' }, true), { outputs: [] }, 0], want: {} },
  { name: "nothing in messages that are no objects", args: [slices(2, "", { 0: "done." }), { outputs: [] }, 0], want: {} },
];

for (const { name, args, want } of SLICED)
  t.test(`finds of slices ${name}`, async (t) => {
    const read = outputsOfStep(...args);
    t.same(read.kind === "outputs" ? read.outputs : read.diagnosis.code, want);
  });

t.test("says which slice lost its output, or wrote what is none", async (t) => {
  t.match(outputsOfStep(slices(2, "", { 0: '{"rows":1}' }), ROWS, 0), {
    diagnosis: { sentence: /^Slice 1: It declared the output/ },
  });
  t.match(outputsOfStep(slices(2, "", { 1: "done." }), { outputs: [] }, 0), { ignored: /^Slice 1: The termination message/ });
});

t.test("says why a text is no output, if the step declares none", async (t) => {
  const ignored = (message: string) => ({ ignored: "", ...outcomeOfOutputs(message, []) }).ignored;
  t.equal(ignored("done."), "The termination message is not one JSON object.");
  t.match(ignored(`{"rows":"${"x".repeat(4096)}`.slice(0, 4096)), /were cut off there/);
  for (const nothing of ["", " \n", "{}"]) t.equal(ignored(nothing), "");
});

t.test("names what is missing", async (t) => {
  const read = outcomeOfOutputs('{"rows":1}', ["rows", "url"]);
  t.match(read, { diagnosis: { sentence: 'It declared the output "url" and did not write it.' } });
});

t.test("a __proto__ stays an ordinary name", async (t) => {
  const read = outcomeOfOutputs('{"__proto__":{"polluted":true}}', []);
  t.equal(Reflect.get({}, "polluted"), undefined);
  t.equal(read.kind, "outputs");
});

t.test("whatever was written: an answer, and outputs that can be stored", async (t) => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: "binary" }), fc.json()),
      fc.array(fc.string(), { maxLength: 3 }),
      (message, declared) => {
        return stringsIn(outcomeOfOutputs(message, declared)).every((it) => it.isWellFormed() && !it.includes("\0"));
      },
    ),
  );
  t.pass();
});

const stringsIn = (value: unknown): readonly string[] =>
  typeof value === "string"
    ? [value]
    : typeof value === "object" && value !== null
      ? Object.entries(value).flat().flatMap(stringsIn)
      : [];

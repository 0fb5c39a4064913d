/**
 * The outputs of a step that succeeded: the JSON object in its container's termination message, and the annotations that it
 * wrote on its pod.
 *
 * The bugs this prevents: a declared output that is missing without an error, so that a later step works on nothing; and values
 * that the ledger cannot store (NUL, half a surrogate pair) or that change on the way (integers beyond 2^53), noticed too late.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { bytesOf, utf8Length } from "@longshore/contract/expressions/template.ts";
import { RUN_OUTPUT_BYTES_MAX } from "@longshore/contract/request/request.ts";
import { indexesIn } from "@longshore/contract/request/slices.ts";
import { type Evidence, SLICE_MESSAGES_BYTES_MAX } from "@longshore/contract/messages/fact.ts";
import { text } from "../watch/raw.ts";

export type ReadOutputs =
  /** `ignored`: why the text that the container wrote is no output, if it wrote some. */
  | { readonly kind: "outputs"; readonly outputs: Readonly<Record<string, unknown>>; readonly ignored?: string }
  | { readonly kind: "failed"; readonly diagnosis: Diagnosis };

/** Kubernetes keeps this many bytes of a termination message and cuts the rest off without a word. */
export const OUTPUT_BYTES_MAX = 4096;
const CUT_OFF = `The outputs fill the ${OUTPUT_BYTES_MAX} bytes of the termination message and were cut off there.`;
const DEPTH_MAX = 32;
const ALL_CUT = `The termination messages of its slices have more than ${SLICE_MESSAGES_BYTES_MAX} bytes together.`;

/** Annotations are larger than labels, and a fact carries up to 16 of them. */
export const ANNOTATION_BYTES_MAX = 4096;

export interface Declared {
  readonly outputs: readonly string[];
  readonly annotations?: readonly string[];
}

/**
 * Returns all outputs of a step, which together with those of the run's other steps fit into an event. `others`: the bytes of
 * the other steps' outputs.
 */
export function outputsOfStep(
  evidence: Evidence | undefined,
  { outputs: declared, annotations = [] }: Declared,
  others: number,
): ReadOutputs {
  const written = evidence?.slices ? outputsOfSlices(evidence.slices, declared) : outcomeOfOutputs(evidence?.message, declared);
  if (written.kind === "failed") return written;
  const found = Object.entries(evidence?.annotations ?? {}).filter(([name]) => annotations.includes(name));
  const missing = annotations.filter((name) => !found.some(([it]) => it === name));
  if (missing.length > 0) return lost(missing);
  const large = found.find(([, value]) => utf8Length(value) > ANNOTATION_BYTES_MAX);
  if (large !== undefined)
    return fail("OutputsTooLarge", `The annotation "${large[0]}" has more than ${ANNOTATION_BYTES_MAX} bytes.`, "");
  const outputs = { ...written.outputs, ...Object.fromEntries(found) };
  return others + bytesOf(outputs) <= RUN_OUTPUT_BYTES_MAX
    ? { ...written, outputs }
    : fail("OutputsTooLarge", `The outputs of the run's steps have more than ${RUN_OUTPUT_BYTES_MAX} bytes together.`, "");
}

/** Each output of a step with slices is a list, with null for a slice that failed or did not write it. */
function outputsOfSlices(slices: NonNullable<Evidence["slices"]>, declared: readonly string[]): ReadOutputs {
  const { count, failed, messages = {}, cut } = slices;
  const outputs: Record<string, unknown[]> = {};
  const listOf = (name: string): unknown[] => (outputs[name] ??= Array.from({ length: count }, () => null));
  for (const name of declared) listOf(name);
  if (cut === true && declared.length > 0) return fail("OutputsTooLarge", ALL_CUT, "");
  const without = new Set(indexesIn(failed));
  let ignored = cut === true ? ALL_CUT : undefined;
  for (let index = 0; index < count; index++) {
    if (without.has(index)) continue;
    const read = outcomeOfOutputs(messages[index], cut === true ? [] : declared);
    if (read.kind === "failed")
      return { ...read, diagnosis: { ...read.diagnosis, sentence: `Slice ${index}: ${read.diagnosis.sentence}` } };
    for (const [name, value] of Object.entries(read.outputs)) listOf(name)[index] = value;
    if (read.ignored !== undefined) ignored ??= `Slice ${index}: ${read.ignored}`;
  }
  return { kind: "outputs", outputs: cut === true ? {} : outputs, ...(ignored !== undefined && { ignored }) };
}

/**
 * If a step declares no outputs, its container may write any text: an object is taken as outputs, other text is ignored, and
 * the step's end says so. If a step declares some, its container must write an object with all of them.
 */
export function outcomeOfOutputs(message: string | undefined, declared: readonly string[]): ReadOutputs {
  const written = message ?? "";
  const value = parse(written);
  if (isPlainObject(value)) return judged(value, declared);
  if (written.trim() === "") return declared.length === 0 ? { kind: "outputs", outputs: {} } : lost(declared);
  const [code, why] =
    utf8Length(written) >= OUTPUT_BYTES_MAX
      ? (["OutputsTooLarge", CUT_OFF] as const)
      : (["OutputsInvalid", "The termination message is not one JSON object."] as const);
  return declared.length === 0 ? { kind: "outputs", outputs: {}, ignored: why } : fail(code, why, written);
}

function judged(outputs: Readonly<Record<string, unknown>>, declared: readonly string[]): ReadOutputs {
  const problem = unstorable(outputs, "", 0);
  if (problem !== undefined) return fail("OutputsInvalid", problem, "");
  const missing = declared.filter((name) => !Object.hasOwn(outputs, name));
  return missing.length > 0 ? lost(missing) : { kind: "outputs", outputs };
}

const lost = (missing: readonly string[]): ReadOutputs =>
  fail(
    "OutputsLost",
    `It declared the ${missing.length === 1 ? "output" : "outputs"} ${missing.map((it) => `"${it}"`).join(", ")} and did not write ${missing.length === 1 ? "it" : "them"}.`,
    "",
  );

function fail(code: "OutputsLost" | "OutputsTooLarge" | "OutputsInvalid", sentence: string, written: string): ReadOutputs {
  const begins = text(written, 200);
  return {
    kind: "failed",
    diagnosis: diagnose(code, sentence, begins === undefined ? [] : [`the termination message begins: ${begins}`]),
  };
}

/** Describes the first value that could not be stored as it was written. */
function unstorable(value: unknown, where: string, depth: number): string | undefined {
  if (depth > DEPTH_MAX) return `The outputs are nested deeper than ${DEPTH_MAX} levels.`;
  if (typeof value === "string")
    return value.includes("\0") || !value.isWellFormed()
      ? `The output at "${where}" holds a character that cannot be stored.`
      : undefined;
  if (typeof value === "number" && (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))))
    return `The number at "${where}" is too large to be kept exactly; write it as text.`;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, part] of Object.entries(value)) {
    const problem = unstorable(name, `${where}/`, depth) ?? unstorable(part, `${where}/${name}`, depth + 1);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function parse(written: string): unknown {
  try {
    return JSON.parse(written);
  } catch {
    // Text that is no JSON becomes `undefined`: the check against the declared outputs judges it.
    return undefined;
  }
}

const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

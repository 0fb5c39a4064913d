/**
 * Puts values into the expressions of a request, and judges the results like fields that were written so.
 *
 * The bug this prevents: an image, a label or an amount that no message could have asked for, brought in by a value.
 */
import type { CommandProblem } from "../problems/problem-codes.ts";
import {
  CONCURRENCY_KEY_MAX, Rendered, type RenderedStep, RenderedVolumes, RUN_OUTPUT_BYTES_MAX, type RunRequest, type StepRequest, stepsOf,
} from "../request/request.ts"; // biome-ignore format: a list of names
import { exceeding, overAnnotated } from "../request/request-problems.ts";
import { bounded, judge, problem } from "../problems/schema-problems.ts";
import { CONTAINER, type ContainerFields, nameProblems, placeIn } from "./names.ts";
import { annotatedBytes, largeFiles, renderedFiles } from "./file-contents.ts";
import {
  bytesOf, dependsOnOutputs, hasExpression, type Path, render, RESULT_BYTES_MAX, utf8Length, valueAt, wholePath,
} from "./template.ts"; // biome-ignore format: a list of names
import { FILE_BYTES_MAX, type RenderedFile, type RequestedFile } from "../request/files.ts";
import { countOf, type Slices } from "../request/slices.ts";
import { isMade, type RequestedVolume, sizeText, type Volume } from "../request/volumes.ts";

type Words = Readonly<Record<string, string>>;
type Outputs = Readonly<Record<string, unknown>>;

/** The values that expressions can name. */
export interface Values {
  readonly run: { readonly id: string; readonly childLabels?: Words };
  readonly parameters?: Outputs | undefined;
  /** The outputs of each step that has ended; null if it has none. */
  readonly steps: Readonly<Record<string, { readonly outputs: Outputs | null }>>;
}

export type RenderedResult =
  | { readonly kind: "rendered"; readonly step: RenderedStep; readonly labels: Words; readonly annotations: Words }
  | { readonly kind: "invalid"; readonly problems: readonly CommandProblem[] };

type Marks = Pick<RunRequest, "labels" | "annotations">;

/** The kubelet expands `$(NAME)` in these. */
const EXPANDED: readonly string[] = ["command", "args", "env"];

/** Returns the step with its values in place, and the run's own labels and annotations. `at`: where the step stands. */
export function rendered(step: StepRequest, { labels = {}, annotations = {} }: Marks, values: Values, at = ""): RenderedResult {
  const { files: asked, ...rest } = step;
  if (asked === undefined && !hasExpression(JSON.stringify([rest, labels, annotations])))
    return { kind: "rendered", step: step as typeof rest as RenderedStep, labels, annotations };
  const { field, plain, whole, files: filesOf, problems } = openRendering(values);
  const container = (fields: ContainerFields, place: string): object =>
    Object.fromEntries(CONTAINER.map((name) => [name, field(fields[name], name, `${place}/${name}`)]));
  const made = {
    ...container(step, at),
    init: step.init?.map((it, which) => ({ name: it.name, ...container(it, `${at}/init/${which}`) })),
    scratch: plain(step.scratch, `${at}/scratch`),
    slices: whole(step.slices, `${at}/slices`),
    labels: plain(step.labels, `${at}/labels`),
    annotations: plain(step.annotations, `${at}/annotations`),
  };
  const marks = { labels: plain(labels, "/labels"), annotations: plain(annotations, "/annotations") };
  const files = asked && filesOf(asked, `${at}/files`);
  if (problems.length > 0) return { kind: "invalid", problems: bounded(problems) };
  const judged = judge(Rendered, made, at);
  const judgedMarks = judge(Rendered.pick({ labels: true, annotations: true }), marks);
  if (judged.kind === "invalid") return judged;
  if (judgedMarks.kind === "invalid") return judgedMarks;
  const { value } = judged;
  const unfit = [
    ...exceeding(value, at),
    ...overAnnotated({ ...value, outputs: step.outputs }, judgedMarks.value.annotations, at, annotatedBytes(files)),
  ];
  const wrong = unfit.map(([path, message]) => problem(path, "Inconsistent", message));
  if (bytesOf(judged.value) > RESULT_BYTES_MAX)
    wrong.push(problem(at, "TooLarge", `With its values, the step has more than ${RESULT_BYTES_MAX} bytes.`));
  if (wrong.length > 0) return { kind: "invalid", problems: wrong };
  const others = Object.entries(rest).filter(([name]) => !Object.hasOwn(Rendered.shape, name));
  return {
    kind: "rendered",
    step: { ...Object.fromEntries(others), ...judged.value, ...(files && { files }) } as RenderedStep,
    ...marksOf(judgedMarks.value),
  };
}

const marksOf = ({ labels = {}, annotations = {} }: Marks): { readonly labels: Words; readonly annotations: Words } => ({
  labels,
  annotations,
});

function openRendering(values: Values) {
  const problems: CommandProblem[] = [];
  const tell = (place: string, message: string): void => void problems.push(problem(place, "Inconsistent", message));
  const rendering = { lookUp: (path: Path) => valueAt(values, path), problem: tell, room: { bytes: RESULT_BYTES_MAX } };
  const plain = (given: unknown, place: string): unknown => settled(render(given, place, { dollars: "kept" }, rendering));
  const files = (given: readonly RequestedFile[], place: string): readonly RenderedFile[] =>
    renderedFiles(given, place, rendering);

  function field(given: unknown, name: string, place: string): unknown {
    const value = settled(render(given, place, { dollars: EXPANDED.includes(name) ? "doubled" : "kept" }, rendering));
    if (name === "env" && typeof value === "object" && value !== null)
      for (const [variable, it] of Object.entries(value)) noObject(valueOf(given, variable), it, `${place}/${variable}`);
    return value;
  }

  /** Which field of the pod a variable shows is the request's own word: no value may choose it. */
  function noObject(given: unknown, value: unknown, place: string): void {
    if (typeof given !== "object" && typeof value === "object")
      tell(place, "The value of a variable is a text, a number, true or false.");
  }

  const whole = (given: unknown, place = ""): unknown => render(given, place, { dollars: "kept" }, rendering);

  return { field, plain, files, whole, tell, problems };
}

const valueOf = (given: unknown, name: string): unknown =>
  typeof given === "object" && given !== null ? Reflect.get(given, name) : undefined;

/** Makes values what a request could have said: numbers become texts, and null leaves out its field or entry. */
function settled(value: unknown): unknown {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (Array.isArray(value)) return value.filter((it) => it !== null).map(settled);
  if (typeof value !== "object" || value === null) return value ?? undefined;
  const left = Object.entries(value).filter(([, it]) => it !== null && it !== undefined);
  return Object.fromEntries(left.map(([name, it]) => [name, settled(it)]));
}

export type RenderedVolumesResult =
  | { readonly kind: "rendered"; readonly volumes: readonly Volume[] }
  | { readonly kind: "invalid"; readonly problems: readonly CommandProblem[] };

/** Returns a run's volumes with their values in place. */
export function renderedVolumes(volumes: readonly RequestedVolume[], values: Values): RenderedVolumesResult {
  const { plain, whole, tell, problems } = openRendering(values);
  const made = volumes.map((volume, which): unknown => {
    if (!isMade(volume)) return volume;
    const at = `/volumes/${which}`;
    const { size, ...others } = volume;
    const rest = plain(others, at) as object;
    if (typeof size === "string") return { ...rest, size: plain(size, `${at}/size`) };
    const before = problems.length;
    const written = sizeText(size, whole(size.gib, `${at}/size/gib`));
    if (typeof written === "string") return { ...rest, size: written };
    if (problems.length === before) tell(`${at}/size/gib`, written.problem);
    return rest;
  });
  if (problems.length > 0) return { kind: "invalid", problems: bounded(problems) };
  const judged = judge(RenderedVolumes, made, "/volumes");
  return judged.kind === "invalid" ? judged : { kind: "rendered", volumes: judged.value as readonly Volume[] };
}

/** A step's `if` with its values: true, false, or what is wrong with it. Null is false: the step that has the output was skipped. */
export function renderedIf(given: NonNullable<StepRequest["if"]>, values: Values): boolean | { readonly problem: string } {
  if (typeof given === "boolean") return given;
  const value = valueAt(values, wholePath(given) ?? []);
  if (typeof value === "boolean") return value;
  return value === null ? false : { problem: `The value of \`if\` is neither true nor false: ${given}` };
}

/** The run's own outputs, or what is wrong with them. */
export function renderedOutputs(given: Words, values: Values): { readonly outputs: Outputs } | { readonly problem: string } {
  const { whole, problems } = openRendering(values);
  const outputs = whole(given) as Outputs;
  if (problems[0] !== undefined) return { problem: problems[0].message };
  const bytes = bytesOf(outputs);
  return bytes <= RUN_OUTPUT_BYTES_MAX
    ? { outputs }
    : { problem: `The outputs of the run have ${bytes} bytes; at most ${RUN_OUTPUT_BYTES_MAX} are kept.` };
}

/** A concurrency key with its values, or what is wrong with it. */
export function renderedKey(key: string, values: Values): string | { readonly problem: string } {
  const { plain, problems } = openRendering(values);
  const text = plain(key, "");
  if (problems[0] !== undefined) return { problem: problems[0].message };
  const isKey = typeof text === "string" && text !== "" && text.length <= CONCURRENCY_KEY_MAX;
  return isKey ? text : { problem: `With its values, a key is a text of 1 to ${CONCURRENCY_KEY_MAX} characters.` };
}

// ── At admission ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Finds names that expressions cannot have, and values that the fields cannot have, as far as both are known beforehand. */
export function expressionProblems(request: RunRequest, run: string): readonly CommandProblem[] {
  const steps = stepsOf(request);
  if (!steps.some(({ files }) => files !== undefined) && !hasExpression(JSON.stringify(request))) return [];
  const { parameters = {} } = request;
  const values: Values = { run: { id: run, childLabels: SOME_CHILD_LABELS }, parameters, steps: {} };
  const names = nameProblems(request, { names: Object.keys(parameters), has: (path) => valueAt(parameters, path) !== undefined });
  if (names.length > 0) return names;
  const place = placeIn(request);
  const key = request.concurrency === undefined ? "" : renderedKey(request.concurrency.key, values);
  const volumes = renderedVolumes(request.volumes ?? [], values);
  return bounded([
    ...(volumes.kind === "invalid" ? volumes.problems : []),
    ...(typeof key === "string" ? [] : [problem("/concurrency/key", "Inconsistent", key.problem)]),
    ...steps.flatMap((step, at) => {
      const result = rendered(asKnown(step), request, values, place(at));
      return [...(result.kind === "invalid" ? result.problems : []), ...ifProblems(step, values, place(at))];
    }),
    ...fileProblems(request, run),
  ]);
}

/** The step as far as no output is needed for it. A file that needs one is empty, so that the others keep their places. */
function asKnown({ files, ...step }: StepRequest): StepRequest {
  const known = { ...withoutOutputs(step), image: withoutOutputs(step.image) ?? SOME_IMAGE };
  return {
    ...known,
    init: known.init?.map((it) => ({ ...it, image: it.image ?? SOME_IMAGE })),
    ...(files && { files: knownFiles(files) }),
  } as StepRequest;
}

const knownFiles = (files: readonly RequestedFile[]): readonly RequestedFile[] =>
  files.map((it) => (dependsOnOutputs(it) ? { path: it.path, text: "" } : it));

/** The contents of a run's large files, as far as they can be known: before any step has run. */
export function largeFilesOf(request: RunRequest, run: string): readonly string[] {
  const { files: filesOf } = openRendering({ run: { id: run }, parameters: request.parameters, steps: {} });
  return largeFiles(stepsOf(request).map(({ files = [] }) => ({ files: filesOf(knownFiles(files), "") })));
}

function fileProblems(request: RunRequest, run: string): readonly CommandProblem[] {
  const bytes = largeFilesOf(request, run).reduce((sum, it) => sum + utf8Length(it), 0);
  if (bytes <= FILE_BYTES_MAX.ofRun) return [];
  const at = stepsOf(request).findIndex((step) => largeFilesOf({ ...request, steps: [step] } as RunRequest, run).length > 0);
  const message = `The large files of a run have ${bytes} bytes; at most ${FILE_BYTES_MAX.ofRun} fit into the cluster. Put large content into a volume.`;
  return [problem(`${placeIn(request)(at)}/files`, "TooLarge", message)];
}

/** Only the launcher knows the value: labels of this form. No field takes them but one that takes any JSON. */
const SOME_CHILD_LABELS: Words = { "longshore.dev/parent": "not-known-yet" };

/** The schema wants an image, also while it is not known. */
const SOME_IMAGE = "not-known-yet";

function ifProblems(step: StepRequest, values: Values, at: string): readonly CommandProblem[] {
  const known = withoutOutputs(step.if);
  const result = known === undefined ? true : renderedIf(known, values);
  return typeof result === "boolean"
    ? []
    : [problem(`${at}/if`, "WrongType", "The value of this expression must be true or false.")];
}

/** Leaves out each text that depends on an output. In a list an empty text takes its place, so that the others keep theirs. */
function withoutOutputs<T>(value: T): T | undefined;
function withoutOutputs(value: unknown): unknown {
  if (typeof value === "string") return dependsOnOutputs(value) ? undefined : value;
  if (Array.isArray(value)) return value.map((it: unknown) => withoutOutputs(it) ?? "");
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, it]: [string, unknown]) => {
      const left = withoutOutputs(it);
      return left === undefined ? [] : [[name, left] as const];
    }),
  );
}

/** Returns the number of a step's slices; `undefined` if it depends on an output. */
export function knownCount(slices: Slices, values: Values): number | undefined {
  const known = withoutOutputs(slices);
  return countOf({ ...known, ...(openRendering(values).whole({ count: known?.count, over: known?.over }) as Slices) });
}

/** The images of a step as far as they are known before any step has run, for the policies of groups. */
export function knownImages(
  { image, init = [] }: StepRequest,
  values: Values,
): { readonly image: string | undefined; readonly init: readonly (string | undefined)[] } {
  const { whole } = openRendering(values);
  const known = (text: string): string | undefined => {
    const value = dependsOnOutputs(text) ? undefined : whole(text);
    return typeof value === "string" ? value : undefined;
  };
  return { image: known(image), init: init.map((it) => known(it.image)) };
}

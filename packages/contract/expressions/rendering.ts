/**
 * Puts values into the expressions of a request, and judges the results like fields that were written so.
 *
 * The bugs this prevents: a step that fails an hour after its run began because of a name that nobody declared; and an image, a
 * label or an amount that no message could have asked for, brought in by a value.
 */
import type { CommandProblem } from "../problems/problem-codes.ts";
import {
  CONCURRENCY_KEY_MAX, declaredOf, Rendered, type RenderedStep, RenderedVolumes, RUN_OUTPUT_BYTES_MAX, type RunRequest, type StepRequest, stepsOf,
} from "../request/request.ts"; // biome-ignore format: a list of names
import { exceeding, overAnnotated } from "../request/request-problems.ts";
import { bounded, judge, pointer, problem } from "../problems/schema-problems.ts";
import { annotatedBytes, largeFiles, renderedFiles } from "./file-contents.ts";
import {
  bytesOf, dependsOnOutputs, hasExpression, parse, type Path, render, RESULT_BYTES_MAX, utf8Length, valueAt, wholePath,
} from "./template.ts"; // biome-ignore format: a list of names
import { FILE_BYTES_MAX, type RenderedFile, type RequestedFile } from "../request/files.ts";
import { isMade, type RequestedVolume, sizeText, type Volume } from "../request/volumes.ts";

type Words = Readonly<Record<string, string>>;
type Outputs = Readonly<Record<string, unknown>>;

/** The values that expressions can name. */
export interface Values {
  readonly run: { readonly id: string };
  readonly parameters?: Outputs | undefined;
  /** The outputs of each step that has ended; null if it has none. */
  readonly steps: Readonly<Record<string, { readonly outputs: Outputs | null }>>;
}

export type RenderedResult =
  | { readonly kind: "rendered"; readonly step: RenderedStep; readonly labels: Words; readonly annotations: Words }
  | { readonly kind: "invalid"; readonly problems: readonly CommandProblem[] };

type Marks = Pick<RunRequest, "labels" | "annotations">;

const CONTAINER = ["image", "command", "args", "env", "resources", "workingDir"] as const;
type ContainerFields = Pick<StepRequest, (typeof CONTAINER)[number]>;
/** The kubelet expands `$(NAME)` in these. */
const EXPANDED: readonly string[] = ["command", "args", "env"];

/** Returns the step with its values in place, and the run's own labels and annotations. `at`: where the step stands. */
export function rendered(step: StepRequest, { labels = {}, annotations = {} }: Marks, values: Values, at = ""): RenderedResult {
  const { files: asked, ...rest } = step;
  if (asked === undefined && !hasExpression(JSON.stringify([rest, labels, annotations])))
    return { kind: "rendered", step: step as typeof rest as RenderedStep, labels, annotations };
  const { field, plain, files: filesOf, problems } = openRendering(values);
  const container = (fields: ContainerFields, place: string): object =>
    Object.fromEntries(CONTAINER.map((name) => [name, field(fields[name], name, `${place}/${name}`)]));
  const made = {
    ...container(step, at),
    init: step.init?.map((it, which) => ({ name: it.name, ...container(it, `${at}/init/${which}`) })),
    scratch: plain(step.scratch, `${at}/scratch`),
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
  const values: Values = { run: { id: run }, parameters, steps: {} };
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

const placeIn =
  (request: RunRequest) =>
  (at: number): string =>
    "steps" in request ? `/steps/${at}` : "";

/** The parameters that expressions may name: those that a request has, or that a definition declares. */
export interface Declared {
  readonly names: readonly string[];
  readonly has: (path: Path) => boolean;
}

/** Finds names in the expressions of a request that cannot have a value, whatever the values are. */
export function nameProblems(request: RunRequest, declared: Declared): readonly CommandProblem[] {
  const steps = stepsOf(request);
  const place = placeIn(request);
  const of = (ancestors: readonly string[]) => (it: Text) => namesIn(it, request, declared, ancestors);
  return bounded([
    ...texts(
      [request.labels, "/labels"],
      [request.annotations, "/annotations"],
      [request.concurrency?.key, "/concurrency/key"],
      [request.volumes, "/volumes"],
    ).flatMap(of([])),
    ...steps.flatMap((step, at) => stepTexts(step, place(at)).flatMap(of(ancestorsOf(step, steps)))),
    ...("steps" in request ? texts([request.outputs, "/outputs"]).flatMap((it) => outputProblems(it, request)) : []),
  ]);
}

/** The schema wants an image, also while it is not known. */
const SOME_IMAGE = "not-known-yet";

function ifProblems(step: StepRequest, values: Values, at: string): readonly CommandProblem[] {
  const known = withoutOutputs(step.if);
  const result = known === undefined ? true : renderedIf(known, values);
  return typeof result === "boolean"
    ? []
    : [problem(`${at}/if`, "WrongType", "The value of this expression must be true or false.")];
}

interface Text {
  readonly text: string;
  readonly at: string;
  readonly takesOutputs: boolean;
}

const TAKES_OUTPUTS: readonly string[] = ["image", "command", "args", "env", "resources"];

/** Each text of a step in which expressions may stand. */
function stepTexts(step: StepRequest, at: string): readonly Text[] {
  const container = (fields: ContainerFields, place: string): readonly Text[] =>
    CONTAINER.flatMap((name) =>
      texts([fields[name], `${place}/${name}`]).map((it) => ({ ...it, takesOutputs: TAKES_OUTPUTS.includes(name) })),
    );
  return [
    ...container(step, at),
    ...(step.init ?? []).flatMap((it, which) => container(it, `${at}/init/${which}`)),
    ...texts([step.if, `${at}/if`]).map((it) => ({ ...it, takesOutputs: true })),
    ...(step.files ?? []).flatMap((file, which) =>
      texts([{ ...file, path: "" }, `${at}/files/${which}`]).map((it) => ({ ...it, takesOutputs: true })),
    ),
    ...texts([step.scratch, `${at}/scratch`], [step.labels, `${at}/labels`], [step.annotations, `${at}/annotations`]),
  ];
}

function texts(...all: readonly (readonly [value: unknown, at: string])[]): readonly Text[] {
  return all.flatMap(([value, at]): readonly Text[] => {
    if (typeof value === "string") return hasExpression(value) ? [{ text: value, at, takesOutputs: false }] : [];
    if (typeof value !== "object" || value === null) return [];
    return texts(...Object.entries(value).map(([name, it]: [string, unknown]) => [it, at + pointer([name])] as const));
  });
}

function namesIn(
  { text, at, takesOutputs }: Text,
  request: RunRequest,
  declared: Declared,
  ancestors: readonly string[],
): readonly CommandProblem[] {
  const told = (message: string): CommandProblem => problem(at, "Inconsistent", message);
  return pathsIn(text, told).flatMap((path): readonly CommandProblem[] => {
    if ("code" in path) return [path];
    const [root = "", name = "", ...rest] = path;
    switch (root) {
      case "parameters":
        if (path.length > 1 && declared.has(path.slice(1))) return [];
        return [told(`There is no parameter "${path.slice(1).join(".")}"; ${thereAre(declared.names)}.`)];
      case "run":
        return name === "id" && rest.length === 0 ? [] : [told("Of the run, only run.id can be named.")];
      case "steps":
        if (!takesOutputs)
          return [told("Outputs may stand in image, command, args, env, files, resources and if, and in no other field.")];
        if (ancestors.includes(name)) return outputsOf(path, request).map(told);
        return [told(`This step does not come after a step "${name}": name the step in \`needs\`.`)];
      default:
        return [told("An expression begins with parameters, steps or run.")];
    }
  });
}

/** The run's outputs name outputs of any step: all have ended then. */
function outputProblems({ text, at }: Text, request: RunRequest): readonly CommandProblem[] {
  const told = (message: string): CommandProblem => problem(at, "Inconsistent", message);
  return pathsIn(text, told).flatMap((path): readonly CommandProblem[] => {
    if ("code" in path) return [path];
    if (path[0] !== "steps")
      return path.join(".") === "run.id" ? [] : [told("The run's outputs name outputs of steps, or run.id.")];
    return outputsOf(path, request).map(told);
  });
}

function pathsIn(text: string, told: (message: string) => CommandProblem): readonly (Path | CommandProblem)[] {
  const parsed = parse(text);
  return parsed.kind === "unparsed" ? [told(parsed.message)] : parsed.parts.filter((it) => typeof it !== "string");
}

function outputsOf([, name, field, key]: Path, request: RunRequest): readonly string[] {
  const step = stepsOf(request).find((it) => it.name === name);
  if (step === undefined) return [`No step is named "${name ?? ""}".`];
  const { message, annotations } = declaredOf(step);
  if (field !== "outputs" || key === undefined) return [`Of a step, its outputs can be named: steps.${step.name}.outputs.NAME.`];
  return [...message, ...annotations].includes(key)
    ? []
    : [`The step "${step.name}" declares no output "${key}"; ${thereAre([...message, ...annotations])}.`];
}

const thereAre = (names: readonly string[]): string =>
  names.length === 0 ? "there is none" : `there are ${names.slice(0, 10).join(", ")}${names.length > 10 ? " and more" : ""}`;

/** The steps that have ended when this one opens. */
function ancestorsOf({ needs = [] }: StepRequest, steps: readonly StepRequest[]): readonly string[] {
  const found = new Set<string>(needs);
  for (const name of found) for (const need of steps.find((it) => it.name === name)?.needs ?? []) found.add(need);
  return [...found];
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

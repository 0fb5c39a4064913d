/**
 * Finds names in the expressions of a request that cannot have a value, before any value is known.
 *
 * The bug this prevents: a step that fails an hour after its run began because of a name that nobody declared.
 */
import type { CommandProblem } from "../problems/problem-codes.ts";
import { bounded, pointer, problem } from "../problems/schema-problems.ts";
import { declaredOf, type RunRequest, type StepRequest, stepsOf } from "../request/request.ts";
import { hasExpression, parse, type Path } from "./template.ts";

/** The fields of a container that take expressions. */
export const CONTAINER = ["image", "command", "args", "env", "resources", "workingDir"] as const;
export type ContainerFields = Pick<StepRequest, (typeof CONTAINER)[number]>;

/** The parameters that expressions may name: those that a request has, or that a definition declares. */
export interface Declared {
  readonly names: readonly string[];
  readonly has: (path: Path) => boolean;
}

/** Finds names in the expressions of a request that cannot have a value, whatever the values are. */
export function nameProblems(request: RunRequest, declared: Declared): readonly CommandProblem[] {
  const steps = stepsOf(request);
  const place = placeIn(request);
  const of =
    (ancestors: readonly string[], step?: StepRequest) =>
    (it: Text): readonly CommandProblem[] =>
      namesIn(it, request, declared, { ancestors, makesPods: step?.serviceAccount?.token === true });
  return bounded([
    ...texts(
      [request.labels, "/labels"],
      [request.annotations, "/annotations"],
      [request.concurrency?.key, "/concurrency/key"],
      [request.volumes, "/volumes"],
    ).flatMap(of([])),
    ...steps.flatMap((step, at) => stepTexts(step, place(at)).flatMap(of(ancestorsOf(step, steps), step))),
    ...("steps" in request ? texts([request.outputs, "/outputs"]).flatMap((it) => outputProblems(it, request)) : []),
  ]);
}

/** Where a step of this request stands in it. */
export const placeIn =
  (request: RunRequest) =>
  (at: number): string =>
    "steps" in request ? `/steps/${at}` : "";

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
    ...texts([step.if, `${at}/if`], [step.slices, `${at}/slices`]).map((it) => ({ ...it, takesOutputs: true })),
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
  { ancestors, makesPods }: { readonly ancestors: readonly string[]; readonly makesPods: boolean },
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
        if (rest.length > 0 || (name !== "id" && name !== "childLabels"))
          return [told("Of the run, only run.id and run.childLabels can be named.")];
        if (name === "id" || makesPods) return [];
        return [told("Only a step with a token (`serviceAccount: {name, token: true}`) has run.childLabels: it can make pods.")];
      case "steps":
        if (!takesOutputs)
          return [
            told("Outputs may stand in image, command, args, env, files, resources, slices and if, and in no other field."),
          ];
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
  names.length === 0
    ? "there is none"
    : `there ${names.length === 1 ? "is" : "are"} ${names.slice(0, 10).join(", ")}${names.length > 10 ? " and more" : ""}`;

/** The steps that have ended when this one opens. */
function ancestorsOf({ needs = [] }: StepRequest, steps: readonly StepRequest[]): readonly string[] {
  const found = new Set<string>(needs);
  for (const name of found) for (const need of steps.find((it) => it.name === name)?.needs ?? []) found.add(need);
  return [...found];
}

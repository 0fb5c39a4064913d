/**
 * Problems of a request that no schema can express: between two fields, or two steps.
 *
 * The failure this prevents: a run that is accepted and cannot end, such as steps that wait for each other, or one that the cluster
 * refuses after it has waited for room.
 */
import { declaredOf, type RunRequest, type StepRequest, stepsOf } from "./request.ts";
import { secretProblems } from "./secret-values.ts";
import { ITEM_BYTES_MAX, ITEMS_PATH, type Slices, slicesProblems } from "./slices.ts";
import { bytesOf } from "../expressions/template.ts";
import { quantity } from "../units.ts";
import { onePodProblems, volumeProblems } from "./volumes.ts";

/** A request gives exactly the secret values that its steps name. */
export const secretValueProblems = (request: RunRequest): readonly (readonly [path: string, message: string])[] =>
  secretProblems(
    request.secretValues,
    stepsOf(request).map((step, at) => ({ ...step, at: "steps" in request ? `/steps/${at}` : "" })),
  );

/** Finds names used twice, needs that name nothing, circles, requests above limits, mounts that cannot be. */
export function requestProblems(request: RunRequest): readonly (readonly [path: string, message: string])[] {
  const steps = stepsOf(request).flatMap((step, at) => {
    const place = "steps" in request ? `/steps/${at}` : "";
    return [
      ...exceeding(step, place),
      ...namedTwice(step, place),
      ...slicesProblems(step, place),
      ...unplaceable(step, place),
      ...overAnnotated(step, request.annotations, place),
    ];
  });
  const inPlan = pipelineProblems(request);
  return [...inPlan, ...steps, ...mountProblems(request, inPlan.length === 0)];
}

/** A node makes the place of a file before it mounts it, which it cannot do beneath what nobody may write. */
function unplaceable(step: StepRequest, at: string): readonly (readonly [string, string])[] {
  const { files = [], secrets = [], mounts = [] } = step;
  const readOnly = [
    ...secrets.map(({ mount }) => mount),
    ...mounts.filter((it) => it.readOnly === true).map(({ path }) => path.replace(/\/+$/, "")),
    ...files.map(({ path }) => path),
  ];
  const placed = [...files.map(({ path }, which) => ({ path, place: `/files/${which}/path` })), ...itemsIn(step)];
  return placed.flatMap(({ path, place }) => {
    const above = readOnly.find((it) => path.startsWith(`${it}/`));
    if (above === undefined) return [];
    return [[`${at}${place}`, `Nothing can be placed in ${above}, which is read-only: choose another folder.`] as const];
  });
}

function namedTwice(step: StepRequest, at: string): readonly (readonly [string, string])[] {
  const names = step.init?.map(({ name }) => name) ?? [];
  const mounted = [
    ...itemsIn(step),
    ...(step.secrets ?? []).map(({ mount }, which) => ({ path: mount, place: `/secrets/${which}/mount` })),
    ...(step.scratch ?? []).map(({ path }, which) => ({ path, place: `/scratch/${which}/path` })),
    ...(step.mounts ?? []).map(({ path }, which) => ({ path: path.replace(/\/+$/, ""), place: `/mounts/${which}/path` })),
    ...(step.files ?? []).map(({ path }, which) => ({ path, place: `/files/${which}/path` })),
  ];
  const { message, annotations } = declaredOf(step);
  const twice = (all: readonly string[], place: (at: number) => string, what: string) =>
    all.flatMap((it, which) => (all.indexOf(it) < which ? [[`${at}${place(which)}`, what] as const] : []));
  return [
    ...twice(names, (which) => `/init/${which}/name`, "Another container of this step has this name."),
    ...twice(
      mounted.map(({ path }) => path),
      (which) => mounted[which]?.place ?? "",
      "Something else is mounted there already.",
    ),
    ...annotations.flatMap((it, which) =>
      message.includes(it)
        ? [[`${at}/outputs/annotations/${which}`, "An output has one source: the message, or an annotation."] as const]
        : [],
    ),
  ];
}

/** Kubernetes takes 256 KiB of annotations. Ours need some, and those that a program writes on its pod as outputs need more. */
const ANNOTATION_BYTES_MAX = { beside: 200 * 1024, withOutputs: 176 * 1024 } as const;

export function overAnnotated(
  step: Pick<StepRequest, "annotations" | "outputs" | "slices">,
  ofRun: RunRequest["annotations"],
  at: string,
  fileBytes = 0,
): readonly (readonly [string, string])[] {
  const most = ANNOTATION_BYTES_MAX[declaredOf(step).annotations.length > 0 ? "withOutputs" : "beside"];
  const ofItems = itemBytes(step.slices);
  if (ofItems > ITEM_BYTES_MAX)
    return [[`${at}/slices/over`, `The items have ${ofItems} bytes as JSON; at most ${ITEM_BYTES_MAX} reach a step's pods.`]];
  const bytes = bytesOf({ ...ofRun, ...step.annotations }) + ofItems + fileBytes;
  if (bytes <= most) return [];
  const place = step.annotations === undefined ? "/annotations" : `${at}/annotations`;
  const of = fileBytes > 0 ? "those of the run and its small files" : "those of the run";
  return [[place, `The annotations of a step have ${bytes} bytes, with ${of}; at most ${most} fit on its pod.`]];
}

/** The file with the list over which a step has slices. */
const itemsIn = ({ slices }: StepRequest) => (slices?.over === undefined ? [] : [{ path: ITEMS_PATH, place: "/slices/over" }]);

const itemBytes = ({ over }: Slices = {}): number => (Array.isArray(over) ? bytesOf(over) : 0);

function mountProblems(request: RunRequest, isSound: boolean): ReturnType<typeof volumeProblems> {
  const { volumes = [] } = request;
  const steps = stepsOf(request).map((step, at) => ({ ...step, at: "steps" in request ? `/steps/${at}` : "" }));
  return [...volumeProblems(volumes, steps), ...(isSound ? onePodProblems(volumes, steps) : [])];
}

/** The cluster would refuse such a request too, but only after the run has waited to be placed. */
export function exceeding({ resources }: Pick<StepRequest, "resources">, at: string): readonly (readonly [string, string])[] {
  return (["cpu", "memory", "ephemeral-storage"] as const).flatMap((name) => {
    const requested = quantity(resources?.requests?.[name] ?? "");
    const limit = quantity(resources?.limits?.[name] ?? "");
    if (requested === undefined || limit === undefined || requested <= limit) return [];
    return [[`${at}/resources/requests/${name}`, "A request is not above its limit."] as const];
  });
}

function pipelineProblems(request: RunRequest): readonly (readonly [path: string, message: string])[] {
  if (!("steps" in request)) return [];
  const names = request.steps.map(({ name }) => name);
  const twice = request.steps.flatMap(({ name }, at) =>
    names.indexOf(name) < at ? [[`/steps/${at}/name`, `The step "${name}" is there twice.`] as const] : [],
  );
  const unknown = request.steps.flatMap(({ needs = [] }, at) =>
    needs.flatMap((need, which) =>
      names.includes(need) ? [] : [[`/steps/${at}/needs/${which}`, `No step is named "${need}".`] as const],
    ),
  );
  const problems = [...twice, ...unknown];
  return problems.length > 0 ? problems : circle(request.steps);
}

function circle(steps: readonly StepRequest[]): readonly (readonly [string, string])[] {
  const free = new Set<string>();
  let left = steps;
  for (;;) {
    const blocked = left.filter(({ needs = [] }) => needs.some((need) => !free.has(need)));
    if (blocked.length === 0) return [];
    if (blocked.length === left.length)
      return [["/steps", `These steps wait for each other in a circle: ${blocked.map(({ name }) => name).join(", ")}.`]];
    for (const { name } of left) if (!blocked.some((step) => step.name === name)) free.add(name);
    left = blocked;
  }
}

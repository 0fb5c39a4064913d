/**
 * The storage of a run: whether it has an anchor, and the sizes and classes of its volumes, once expressions have their values.
 *
 * The failure this prevents: a restart with another size, which would go on with the volumes as they are and find no room, or
 * be counted with room that nobody has.
 */
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import {
  largeFilesOf,
  renderedVolumes,
  type RenderedVolumesResult,
  type Values,
} from "@longshore/contract/expressions/rendering.ts";
import { type RunRequest, stepsOf } from "@longshore/contract/request/request.ts";
import { secretNames } from "@longshore/contract/request/secret-values.ts";
import { parametersIn } from "@longshore/contract/expressions/template.ts";
import { durationMs, quantity } from "@longshore/contract/units.ts";
import { isMade, isOfRun, type Volume } from "@longshore/contract/request/volumes.ts";
import type { Plan, PlannedAnchor, PlannedStorage, Run } from "../run/record.ts";

const KEEP_MS = { succeeded: 0, failed: 24 * 3_600_000 } as const;

type Keep = Pick<PlannedAnchor, "keepSucceededMs" | "keepFailedMs">;

/**
 * The request was judged with these values before. `jobs`: how long the run keeps its Jobs. An anchor that owns neither volumes nor
 * secret values stays as long, since they go with it.
 */
export function storageOf(request: RunRequest, jobs: Keep, run: string): Pick<Plan, "storage"> {
  const { volumes = [], keepVolumesFor = {}, parameters = {} } = request;
  const names = secretNames(stepsOf(request));
  const files = parametersIn(stepsOf(request).map((step) => step.files ?? []));
  const isLarge = largeFilesOf(request, run).length > 0;
  if (volumes.length === 0 && names.length === 0 && files.length === 0 && !isLarge) return {};
  const made = renderedVolumes(volumes, { run: { id: run }, parameters, steps: {} });
  if (made.kind === "invalid") throw new TypeError(`the volumes of the run ${run} were not judged`);
  const keepMs = (how: "succeeded" | "failed"): number => durationMs(keepVolumesFor[how] ?? "") ?? KEEP_MS[how];
  const hasOwn = names.length > 0 || made.volumes.some(isOfRun);
  const keep = hasOwn ? { keepSucceededMs: keepMs("succeeded"), keepFailedMs: keepMs("failed") } : keepOf(jobs);
  const secrets = names.length > 0 && { secrets: { names, since: 1 } };
  const used = parametersIn(volumes);
  const asked = { volumes, parameters: Object.fromEntries(used.map((name) => [name, parameters[name]])) };
  return {
    storage: {
      ...neededBy(made.volumes, hasOwn || isLarge ? { ...keep, ...secrets } : undefined),
      ...(files.length > 0 && { files }),
      ...(used.length > 0 && { asked }),
    },
  };
}

const keepOf = ({ keepSucceededMs, keepFailedMs }: Keep): Keep => ({ keepSucceededMs, keepFailedMs });

function neededBy(
  volumes: readonly Volume[],
  anchor: Omit<PlannedAnchor, "bytes"> | undefined,
): Pick<PlannedStorage, "claims" | "classes" | "anchor"> {
  const bytes = volumes.filter(isOfRun).reduce((sum, { size }) => sum + Math.ceil(quantity(size) ?? 0), 0);
  return {
    claims: [...new Set(volumes.flatMap((it) => (isMade(it) ? [] : [it.claim])))],
    classes: [...new Set(volumes.filter(isMade).map((it) => it.class ?? ""))],
    ...(anchor && { anchor: { ...anchor, bytes } }),
  };
}

type Found = Pick<Plan, "storage"> | { readonly problems: readonly CommandProblem[] };

/**
 * The storage of a run that is restarted with these parameters in place of the request's. `sameVolumes`: it goes on with the
 * volumes that it has, which cannot become others.
 */
export function storageWith(
  { id, plan }: Pick<Run, "id" | "plan">,
  parameters: Values["parameters"],
  sameVolumes: boolean,
): Found {
  if (plan.storage === undefined) return {};
  const storage = withRoomForFiles(plan, plan.storage, parameters);
  if (storage.asked === undefined) return storage === plan.storage ? {} : { storage };
  const { asked } = storage;
  const madeWith = (corrected: Values["parameters"]): RenderedVolumesResult =>
    renderedVolumes(asked.volumes, { run: { id }, parameters: { ...asked.parameters, ...corrected }, steps: {} });
  const after = madeWith(parameters);
  if (after.kind === "invalid")
    return {
      problems: after.problems.map((it) => problem(`The volumes cannot take these values, at ${it.path}: ${it.message}`)),
    };
  const before = madeWith(plan.withParameters);
  const problems = sameVolumes && before.kind === "rendered" ? changes(before.volumes, after.volumes) : [];
  if (problems.length > 0) return { problems };
  return { storage: { ...storage, ...neededBy(after.volumes, storage.anchor) } };
}

/** With other values a file may be large. An anchor that turns out not to be needed does no harm, and once booked it stays. */
function withRoomForFiles({ limits }: Pick<Plan, "limits">, storage: PlannedStorage, parameters: Values["parameters"] = {}) {
  const mayGrow = Object.keys(parameters).some((name) => storage.files?.includes(name));
  return storage.anchor === undefined && mayGrow ? { ...storage, anchor: { bytes: 0, ...keepOf(limits) } } : storage;
}

function changes(before: readonly Volume[], after: readonly Volume[]): readonly CommandProblem[] {
  return after.filter(isOfRun).flatMap((volume) => {
    const was = before.filter(isOfRun).find(({ name }) => name === volume.name);
    const [now, then] = [describe(volume), was && describe(was)];
    if (then === undefined || now === then) return [];
    const message = `The volume "${volume.name}" has ${then}, and would have ${now} with these parameters: give those of the last time, or say \`from: "start"\`, which makes new volumes.`;
    return [problem(message)];
  });
}

const describe = ({ size, class: storageClass }: { readonly size: string; readonly class?: string | undefined }): string =>
  storageClass === undefined ? size : `${size} of the class ${storageClass}`;

const problem = (message: string): CommandProblem => ({ path: "/data/with/parameters", code: "RequestInvalid", message });

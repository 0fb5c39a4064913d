/**
 * What a run's volumes need of a group: their sizes and classes, as the values of expressions make them.
 *
 * The failure this prevents: a restart with another size, which would go on with the volumes as they are and find no room, or
 * be counted with room that nobody has.
 */
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import { renderedVolumes, type RenderedVolumesResult, type Values } from "@longshore/contract/expressions/rendering.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { parametersIn } from "@longshore/contract/expressions/template.ts";
import { durationMs, quantity } from "@longshore/contract/units.ts";
import { isMade, isOfRun, type Volume } from "@longshore/contract/request/volumes.ts";
import type { Plan, PlannedStorage, Run } from "../run/record.ts";

const KEEP_MS = { succeeded: 0, failed: 24 * 3_600_000 } as const;

/** The request was judged with these values before. */
export function storageOf(
  { volumes = [], keepVolumesFor = {}, parameters = {} }: RunRequest,
  run: string,
): Pick<Plan, "storage"> {
  if (volumes.length === 0) return {};
  const made = renderedVolumes(volumes, { run: { id: run }, parameters, steps: {} });
  if (made.kind === "invalid") throw new TypeError(`the volumes of the run ${run} were not judged`);
  const keepMs = (how: "succeeded" | "failed"): number => durationMs(keepVolumesFor[how] ?? "") ?? KEEP_MS[how];
  const keep = { keepSucceededMs: keepMs("succeeded"), keepFailedMs: keepMs("failed") };
  const used = parametersIn(volumes);
  const asked = { volumes, parameters: Object.fromEntries(used.map((name) => [name, parameters[name]])) };
  return { storage: { ...neededBy(made.volumes, keep), ...(used.length > 0 && { asked }) } };
}

function neededBy(
  volumes: readonly Volume[],
  keep: Omit<NonNullable<PlannedStorage["anchor"]>, "bytes">,
): Omit<PlannedStorage, "asked"> {
  const ofRun = volumes.filter(isOfRun);
  const bytes = ofRun.reduce((sum, { size }) => sum + Math.ceil(quantity(size) ?? 0), 0);
  return {
    claims: [...new Set(volumes.flatMap((it) => (isMade(it) ? [] : [it.claim])))],
    classes: [...new Set(volumes.filter(isMade).map((it) => it.class ?? ""))],
    ...(ofRun.length > 0 && { anchor: { bytes, ...keep } }),
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
  const { storage } = plan;
  if (storage?.asked === undefined) return {};
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
  const { keepSucceededMs = 0, keepFailedMs = 0 } = storage.anchor ?? {};
  return { storage: { ...neededBy(after.volumes, { keepSucceededMs, keepFailedMs }), asked } };
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

/**
 * A step as its Job runs it: with the values of its expressions, and then with the corrections of a restart.
 *
 * The bug this prevents: an image that a group forbids, brought in by a parameter or an output. What was known at placement was
 * judged there, and the whole result is judged here, before anything is sent.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupSettings } from "@longshore/contract/group-settings.ts";
import type { GroupName, StepName } from "@longshore/contract/ids.ts";
import { rendered, renderedVolumes, type RenderedResult, type Values } from "@longshore/contract/expressions/rendering.ts";
import { type RunRequest, stepsOf } from "@longshore/contract/request/request.ts";
import type { Volume } from "@longshore/contract/request/volumes.ts";
import { notAllowed, storageUses, usesOf } from "../group/policy.ts";
import { corrected } from "./plan.ts";
import type { Run } from "./record.ts";
import { valuesOf } from "./story.ts";

const HINT = "Restart it with other values, `with: {parameters: …}`, or correct the request and publish it with a new id.";

type Rendered = Extract<RenderedResult, { kind: "rendered" }>;

export type StepToRun =
  /** With the run's volumes, which its first step makes. */
  (Rendered & { readonly volumes: readonly Volume[] }) | { readonly kind: "refused"; readonly diagnosis: Diagnosis };

type RunSoFar = Pick<Run, "id" | "plan" | "steps">;
type Words = Readonly<Record<string, string>>;
type ChildLabels = Words | undefined;

/**
 * Returns the step with the values of its expressions and the corrections of the newest restart. Who only shows the step needs no
 * labels of its children.
 */
export function stepValues(run: RunSoFar, request: RunRequest, name: StepName, childLabels: ChildLabels = {}): RenderedResult {
  const step = stepsOf(request).find((it) => it.name === name);
  if (step === undefined)
    return { kind: "invalid", problems: [{ path: "", code: "RequestInvalid", message: `There is no step "${name}".` }] };
  const result = rendered(step, request, valuesFor(run, request, childLabels));
  return result.kind === "invalid" ? result : { ...result, step: corrected(result.step, run.plan.with?.[name]) };
}

function valuesFor(run: RunSoFar, request: RunRequest, childLabels: ChildLabels = {}): Values {
  const values = valuesOf(run);
  return { ...values, run: { ...values.run, childLabels }, parameters: { ...request.parameters, ...values.parameters } };
}

export function stepToRun(
  run: RunSoFar,
  request: RunRequest,
  name: StepName,
  group: { readonly name: GroupName; readonly settings: GroupSettings },
  childLabels: Words,
): StepToRun {
  const result = stepValues(run, request, name, childLabels);
  const made = renderedVolumes(request.volumes ?? [], valuesFor(run, request));
  if (result.kind === "invalid" || made.kind === "invalid") {
    const problems = [result, made].flatMap((it) => (it.kind === "invalid" ? it.problems : []));
    const said = problems.map(({ path, message }) => `${path}: ${message}`);
    return {
      kind: "refused",
      diagnosis: diagnose("RequestInvalid", "The values of its expressions make no step that can run.", said, HINT),
    };
  }
  const refused = notAllowed(group.settings.policy, { ...usesOf(result.step), ...storageUses(run.plan.storage) });
  if (refused === undefined) return { ...result, volumes: made.volumes };
  const sentence = `The group ${group.name} does not allow ${refused}.`;
  return { kind: "refused", diagnosis: diagnose("PolicyRefused", sentence) };
}

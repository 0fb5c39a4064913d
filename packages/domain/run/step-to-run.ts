/**
 * A step as its Job runs it: with the values of its expressions, and then with the corrections of a restart.
 *
 * The bug this prevents: an image that a group forbids, brought in by a parameter or an output. What was known at placement was
 * judged there, and the whole result is judged here, before anything is sent.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupSettings } from "@longshore/contract/group-settings.ts";
import type { GroupName, StepName } from "@longshore/contract/ids.ts";
import { rendered, type RenderedResult } from "@longshore/contract/rendering.ts";
import { type RunRequest, stepsOf } from "@longshore/contract/request.ts";
import { notAllowed, usesOf } from "../group/policy.ts";
import { corrected } from "./plan.ts";
import type { Run } from "./record.ts";
import { valuesOf } from "./story.ts";

export type StepToRun =
  | Extract<RenderedResult, { kind: "rendered" }>
  | { readonly kind: "refused"; readonly diagnosis: Diagnosis };

export function stepToRun(
  run: Pick<Run, "id" | "plan" | "steps">,
  request: RunRequest,
  name: StepName,
  group: { readonly name: GroupName; readonly settings: GroupSettings },
): StepToRun | undefined {
  const step = stepsOf(request).find((it) => it.name === name);
  if (step === undefined) return undefined;
  const values = valuesOf(run);
  const result = rendered(step, request, { ...values, parameters: { ...request.parameters, ...values.parameters } });
  if (result.kind === "invalid") {
    const said = result.problems.map(({ path, message }) => `${path}: ${message}`);
    return {
      kind: "refused",
      diagnosis: diagnose("RequestInvalid", "The values of its expressions make no step that can run.", said),
    };
  }
  const whole = corrected(result.step, run.plan.with?.[name]);
  const refused = notAllowed(group.settings.policy, usesOf(whole));
  if (refused === undefined) return { ...result, step: whole };
  const sentence = `The group ${group.name} does not allow ${refused}.`;
  return { kind: "refused", diagnosis: diagnose("PolicyRefused", sentence) };
}

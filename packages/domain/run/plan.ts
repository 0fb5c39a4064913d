/**
 * The part of a request that the tables need, fixed when the request is accepted: later defaults do not change runs that exist.
 */
import type { Correction } from "@longshore/contract/command.ts";
import { type RunRequest, type StepRequest, stepsOf } from "@longshore/contract/request.ts";
import { limitsOf } from "./defaults.ts";
import type { Limits, Plan } from "./record.ts";

export function planOf(request: RunRequest, defaults: Limits): Plan {
  return {
    simple: !("steps" in request),
    steps: stepsOf(request).map(({ name, needs = [], when = "success", outputs = [], image }) => ({
      name,
      needs,
      when,
      outputs,
      image,
    })),
    groups: request.groups,
    priority: request.priority ?? 0,
    notBeforeMs: request.notBefore === undefined ? undefined : Date.parse(request.notBefore),
    limits: limitsOf(request, defaults),
    with: undefined,
  };
}

/** Returns a step with a restart's correction. Variables and amounts are corrected one by one, all else as a whole. */
export function corrected(step: StepRequest, correction: Correction = {}): StepRequest {
  const { deadline: _, image = step.image, env, resources, ...others } = correction;
  return {
    ...step,
    ...others,
    image,
    ...(env && { env: { ...step.env, ...env } }),
    ...(resources && {
      resources: {
        limits: { ...step.resources?.limits, ...resources.limits },
        requests: { ...step.resources?.requests, ...resources.requests },
      },
    }),
  };
}

/** A tombstone has an empty plan: no request came yet. */
export const NO_PLAN: Plan = {
  simple: true,
  steps: [],
  groups: undefined,
  priority: 0,
  notBeforeMs: undefined,
  limits: {
    waitForMs: 0, startWithinMs: 0, deadlineMs: 0, retriesMax: 0, retriesOn: [], backoffFirstMs: 0, backoffMostMs: 0,
    keepSucceededMs: 0, keepFailedMs: 0, giveUpAfterMs: {},
  }, // biome-ignore format: a value read as one
  with: undefined,
};

/**
 * The part of a request that the tables need, with the limits of its run, fixed when the request is accepted: later defaults do
 * not change runs that exist. All times are in milliseconds.
 */
import type { Correction } from "@longshore/contract/command.ts";
import { DIAGNOSES } from "@longshore/contract/diagnosis.ts";
import { type RunRequest, type StepRequest, stepsOf } from "@longshore/contract/request.ts";
import { durationMs } from "@longshore/contract/units.ts";
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
    ...((request.retries?.max ?? 0) > 0 && { retriesAsked: true }),
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

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

export const DEFAULTS: Limits = Object.freeze({
  waitForMs: 24 * HOUR,
  startWithinMs: 15 * MINUTE,
  deadlineMs: 6 * HOUR,
  retriesMax: 2,
  retriesOn: Object.freeze(["never-started"] as const),
  backoffFirstMs: 10 * SECOND,
  backoffMostMs: 5 * MINUTE,
  keepSucceededMs: HOUR,
  keepFailedMs: 24 * HOUR,
  giveUpAfterMs: Object.freeze(
    Object.fromEntries(
      Object.entries(DIAGNOSES).flatMap(([code, { giveUpAfterMs }]) =>
        giveUpAfterMs === undefined ? [] : [[code, giveUpAfterMs] as const],
      ),
    ),
  ),
});

/**
 * Takes the request's own limits if it names any. They were validated with the request; a value that is no duration changes
 * nothing here.
 */
export function limitsOf(request: RunRequest, defaults: Limits = DEFAULTS): Limits {
  const { waitFor, startWithin, deadline, retries, keepFor } = request;
  const backoffFirstMs = ms(retries?.backoff?.first, defaults.backoffFirstMs);
  return {
    ...defaults,
    waitForMs: ms(waitFor, defaults.waitForMs),
    startWithinMs: ms(startWithin, defaults.startWithinMs),
    deadlineMs: ms(deadline, defaults.deadlineMs),
    retriesMax: retries?.max ?? defaults.retriesMax,
    retriesOn: retries?.on ?? defaults.retriesOn,
    backoffFirstMs,
    backoffMostMs: Math.max(backoffFirstMs, ms(retries?.backoff?.most, defaults.backoffMostMs)),
    keepSucceededMs: ms(keepFor?.succeeded, defaults.keepSucceededMs),
    keepFailedMs: ms(keepFor?.failed, defaults.keepFailedMs),
  };
}

const ms = (duration: string | undefined, otherwise: number): number =>
  (duration === undefined ? undefined : durationMs(duration)) ?? otherwise;

/**
 * The part of a request that the tables need, with the limits of its run, fixed when the request is accepted: later defaults do
 * not change runs that exist. All times are in milliseconds.
 */
import type { Correction } from "@longshore/contract/messages/command.ts";
import { DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import { PARALLELISM_DEFAULT, type Slices } from "@longshore/contract/request/slices.ts";
import { knownCount, knownImages, renderedIf, renderedKey } from "@longshore/contract/expressions/rendering.ts";
import {
  declaredOf,
  type RenderedStep,
  type RunRequest,
  type StepRequest,
  stepsOf,
} from "@longshore/contract/request/request.ts";
import { parametersIn } from "@longshore/contract/expressions/template.ts";
import { durationMs } from "@longshore/contract/units.ts";
import { storageOf } from "../anchor/storage.ts";
import { type Uses, usesOf } from "../group/policy.ts";
import type { StepName } from "@longshore/contract/ids.ts";
import type { Concurrency, Limits, Plan, PlannedStep } from "./record.ts";

export function planOf(request: RunRequest, defaults: Limits, run = ""): Plan {
  // Values may hold what looks like an expression, and is none.
  const parameters = parametersIn({ ...request, parameters: undefined });
  const limits = limitsOf(request, defaults);
  return {
    simple: !("steps" in request),
    steps: stepsOf(request).map((step) => plannedStep(step, request, run)),
    ...(parameters.length > 0 && { parameters }),
    ...("steps" in request && request.outputs && { outputs: request.outputs }),
    groups: request.groups,
    priority: request.priority ?? 0,
    notBeforeMs: request.notBefore === undefined ? undefined : Date.parse(request.notBefore),
    limits,
    with: undefined,
    ...(request.concurrency && { concurrency: concurrencyOf(request.concurrency, request, run) }),
    ...storageOf(request, limits, run),
  };
}

function concurrencyOf(
  { key, limit = 1, then = "queue" }: NonNullable<RunRequest["concurrency"]>,
  { parameters }: RunRequest,
  run: string,
): Concurrency {
  const rendered = renderedKey(key, { run: { id: run }, parameters, steps: {} });
  return { key: typeof rendered === "string" ? rendered : key, limit, then };
}

function plannedStep(step: StepRequest, request: RunRequest, run: string): PlannedStep {
  const { name, needs = [], when = "success" } = step;
  const { message: outputs, annotations } = declaredOf(step);
  const limits = ownLimits(step);
  return {
    name,
    needs,
    when,
    outputs,
    ...(annotations.length > 0 && { annotations }),
    ...(step.if !== undefined && { if: plannedIf(step.if, request) }),
    ...(step.slices && { slices: plannedSlices(step.slices, request, run) }),
    uses: knownUses(step, request, run),
    ...(Object.keys(limits).length > 0 && { limits }),
    ...((step.retries?.max ?? request.retries?.max ?? 0) > 0 && { retriesAsked: true }),
  };
}

function plannedSlices(slices: Slices, { parameters }: RunRequest, run: string): NonNullable<PlannedStep["slices"]> {
  const { parallelism = PARALLELISM_DEFAULT, failedMax = 0 } = slices;
  const count = knownCount(slices, { run: { id: run }, parameters, steps: {} });
  return { parallelism, failedMax, ...(count !== undefined && { count }) };
}

function knownUses(step: StepRequest, { parameters }: RunRequest, run: string): Uses {
  const known = knownImages(step, { run: { id: run }, parameters, steps: {} });
  return usesOf({ ...step, image: known.image, init: step.init?.map((it, at) => ({ ...it, image: known.init[at] })) });
}

function plannedIf(given: NonNullable<StepRequest["if"]>, { parameters }: RunRequest): NonNullable<PlannedStep["if"]> {
  const known = renderedIf(given, { run: { id: "" }, parameters, steps: {} });
  return { given, ...(typeof known === "boolean" && { known }) };
}

/** Returns a step with a restart's correction. Variables and amounts are corrected one by one, all else as a whole. */
export function corrected(step: RenderedStep, correction: Correction = {}): RenderedStep {
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

/** Takes the request's own limits if it names any. */
export function limitsOf(request: RunRequest, defaults: Limits = DEFAULTS): Limits {
  const { waitFor, keepFor } = request;
  const all = {
    ...defaults,
    ...ownLimits(request),
    ...ms("waitForMs", waitFor),
    ...ms("keepSucceededMs", keepFor?.succeeded),
    ...ms("keepFailedMs", keepFor?.failed),
  };
  return inOrder(all);
}

/** The longest wait before a retry is not below the first one. */
const inOrder = (limits: Limits): Limits => ({
  ...limits,
  backoffMostMs: Math.max(limits.backoffFirstMs, limits.backoffMostMs),
});

/** The limits that a run and a step may name alike. */
function ownLimits({
  startWithin,
  deadline,
  retries,
}: Pick<StepRequest, "startWithin" | "deadline" | "retries">): Partial<Limits> {
  return {
    ...ms("startWithinMs", startWithin),
    ...ms("deadlineMs", deadline),
    ...(retries?.max !== undefined && { retriesMax: retries.max }),
    ...(retries?.on && { retriesOn: retries.on }),
    ...ms("backoffFirstMs", retries?.backoff?.first),
    ...ms("backoffMostMs", retries?.backoff?.most),
  };
}

/** Returns the step's limits: the run's, then the step's own, then the deadline of a restart's correction. */
export function limitsFor({ limits, steps, with: corrections }: Pick<Plan, "limits" | "steps" | "with">, name: StepName): Limits {
  const own = steps.find((it) => it.name === name)?.limits;
  return inOrder({ ...limits, ...own, ...ms("deadlineMs", corrections?.[name]?.deadline) });
}

/** Durations were validated with the request: a text that is none changes nothing. */
function ms<F extends keyof Limits>(field: F, duration: string | undefined): { readonly [K in F]?: number } {
  const value = duration === undefined ? undefined : durationMs(duration);
  return (value === undefined ? {} : { [field]: value }) as { readonly [K in F]?: number };
}

/** Makes each new attempt, and each new or restarted run. */
import type { CommandData } from "@longshore/contract/messages/command.ts";
import type { RunId, StepName, TenantName } from "@longshore/contract/ids.ts";
import { type Attempt, isSatisfied, type Plan, type Run, type RunRecord, type Step } from "./record.ts";

/** Hashing needs a library, so the caller supplies these functions and everything here stays pure. */
export interface Names {
  /** Returns the attempt's Job name (identity.ts); the hash function is already bound in. */
  readonly jobName: (run: RunId, step: StepName, attempt: number) => string;
}

export interface Beginning extends Names {
  readonly nowMs: number;
  readonly epoch: number;
  /** End of the backoff before a retry. */
  readonly notBeforeMs: number | undefined;
  /** The attempt that this one retries: the new attempt prefers another group. */
  readonly after: Attempt | undefined;
  /** Set if this attempt only continues the wait of the attempt before it. */
  readonly waitUntilMs?: number | undefined;
}

export function beginAttempt(
  run: Run,
  step: StepName,
  n: number,
  { nowMs, epoch, notBeforeMs, after, waitUntilMs, jobName }: Beginning,
): Attempt {
  const from = Math.max(nowMs, notBeforeMs ?? 0, run.plan.notBeforeMs ?? 0);
  return {
    step,
    n,
    generation: run.generation,
    epoch,
    state: "waiting",
    group: undefined,
    name: jobName(run.id, step, n),
    priority: run.plan.priority,
    dueMs: from,
    waitsFor: undefined,
    claimNo: 0,
    claimBy: undefined,
    claimUntilMs: undefined,
    unanswered: [],
    fenceUntilMs: undefined,
    occupantUid: undefined,
    uid: undefined,
    seenRv: undefined,
    started: "no",
    cause: undefined,
    outcome: undefined,
    notes: {
      waitsSinceMs: from,
      waitUntilMs: waitUntilMs ?? from + run.plan.limits.waitForMs,
      ...(from > nowMs && { notBeforeMs: from }),
      ...(after?.group !== undefined && { avoid: after.group }),
    },
  };
}

export interface NewRun {
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly source: string;
  readonly digest: string;
  readonly plan: Plan;
  readonly nowMs: number;
}

/** Returns an accepted run with every step blocked; `openFirst` opens the steps that need no other. */
export function beginRun({ id, tenant, source, digest, plan, nowMs }: NewRun): RunRecord {
  const steps: Record<string, Step> = Object.fromEntries(
    plan.steps.map(({ name }) => [name, { state: "blocked", n: 0, retries: 0 }]),
  );
  const run: Run = {
    id, tenant, source, digest, state: "active", outcome: undefined, generation: 1, seq: 0, group: undefined, cancel: undefined,
    plan, steps, acceptedAtMs: nowMs, endedAtMs: undefined,
  }; // biome-ignore format: a value read as one
  return { run, attempts: [] };
}

const isDone = (step: Step | undefined): boolean => step !== undefined && isSatisfied(step);

/** Returns the steps that a restart runs again: the named ones, and all that depend on them. */
export function restartedSteps({ plan, steps }: Run, from: CommandData<"run.restart">["from"]): readonly StepName[] {
  const first = plan.steps.filter(({ name }) => (from === "failed" ? !isDone(steps[name]) : from === "start" || name === from));
  const again = new Set(first.map(({ name }) => name));
  for (let grew = true; grew; ) {
    grew = false;
    for (const { name, needs } of plan.steps) {
      if (again.has(name) || !needs.some((need) => again.has(need))) continue;
      again.add(name);
      grew = true;
    }
  }
  return [...again];
}

/**
 * Returns the run's next generation: the steps to run again are blocked as at the start, and the numbers of their attempts
 * continue.
 */
export function restartRun(
  { run, attempts, anchors }: RunRecord,
  from: CommandData<"run.restart">["from"],
  corrections: Pick<Plan, "with" | "withParameters" | "storage">,
): RunRecord {
  const again = restartedSteps(run, from);
  const steps = Object.fromEntries(
    Object.entries(run.steps).map(([name, step]): [string, Step] => [
      name,
      again.some((it) => it === name) ? { state: "blocked", n: step.n, retries: 0 } : step,
    ]),
  );
  const { withParameters: _, ...before } = run.plan;
  const plan: Plan = { ...before, notBeforeMs: undefined, ...corrections };
  return {
    run: {
      ...run,
      state: "active",
      outcome: undefined,
      generation: run.generation + 1,
      cancel: undefined,
      endedAtMs: undefined,
      steps,
      plan,
    },
    attempts,
    ...(anchors && { anchors }),
  };
}

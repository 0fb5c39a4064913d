/**
 * Retries: which failure is tried again and when, and how long the next attempt waits for the one before it.
 *
 * The bugs this prevents: work that may have run is run again without being asked for; and two attempts of one step at the same
 * time, because the second was placed while pods of the first still ran.
 */
import { DIAGNOSES, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { RetryCause } from "@longshore/contract/request.ts";
import type { Change } from "./change.ts";
import { type Attempt, attemptIn, type Run, type RunRecord, type Step } from "./record.ts";

/** Returns the cause that `retries.on` must name for this failure to be tried again; `undefined`: no cause allows a retry. */
export function retryCause(diagnosis: Diagnosis, started: Attempt["started"]): RetryCause | undefined {
  const { retry } = DIAGNOSES[diagnosis.code];
  if (retry === "never") return undefined;
  if (started === "no") return "never-started";
  return retry === "never-started" ? "infrastructure" : retry;
}

/** Returns when the step's next attempt may be placed; `undefined`: there is none. A cancelled run is never retried. */
export function retryAtMs(
  { state, plan }: Run,
  { retries }: Step,
  diagnosis: Diagnosis,
  started: Attempt["started"],
  nowMs: number,
): number | undefined {
  const { retriesMax, retriesOn, backoffFirstMs, backoffMostMs } = plan.limits;
  const cause = retryCause(diagnosis, started);
  if (state !== "active" || cause === undefined || !retriesOn.includes(cause) || retries >= retriesMax) return undefined;
  return nowMs + Math.min(backoffMostMs, backoffFirstMs * 2 ** retries);
}

/** An attempt that waits for the one before it is woken by `wakeNext`. If that was missed, it is looked at after this time. */
const PREDECESSOR_CHECK_MS = 30_000;

/** Returns when an attempt whose predecessor is not done is looked at again; `undefined`: it may be placed, or its time is over. */
export function heldBackUntilMs(record: RunRecord, { step, n, notes }: Attempt, nowMs: number): number | undefined {
  const previous = attemptIn(record, step, n - 1);
  if (previous === undefined || previous.state === "done" || nowMs >= notes.waitUntilMs) return undefined;
  return Math.min(notes.waitUntilMs, nowMs + PREDECESSOR_CHECK_MS);
}

/** A retry waits until nothing is left of the attempt before it. If this change made one done, its retry is due. */
export function wakeNext(change: Change, nowMs: number): Change {
  const { before, after } = change;
  const gone = after.attempts.filter(
    ({ state, step, n }) => state === "done" && before !== undefined && attemptIn(before, step, n)?.state !== "done",
  );
  if (gone.length === 0) return change;
  const attempts = after.attempts.map((it) => {
    const isNext = it.state === "waiting" && gone.some(({ step, n }) => step === it.step && n === it.n - 1);
    return isNext ? { ...it, dueMs: Math.max(nowMs, it.notes.notBeforeMs ?? 0) } : it;
  });
  return { ...change, after: { ...after, attempts } };
}

/** When a live attempt must be looked at: too late to start, or running too long. Waiting longer for a wrong image helps nobody. */
import { DIAGNOSES, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { Attempt, Limits } from "./record.ts";

/** Quota and full nodes pass by themselves: they are waited for as long as the request may wait at all. */
const WAITED_FOR: readonly string[] = ["QuotaExceeded", "Unschedulable"];

export function liveDueMs({ started, notes }: Attempt, limits: Limits): number {
  const launchedAtMs = notes.launchedAtMs ?? 0;
  if (started === "yes") return (notes.startedAtMs ?? launchedAtMs) + limits.deadlineMs;
  return startDueMs({ launchedAtMs, waitUntilMs: notes.waitUntilMs, stall: notes.stall, stalledAtMs: notes.stalledAtMs }, limits);
}

export interface Starting {
  readonly launchedAtMs: number;
  readonly waitUntilMs: number;
  readonly stall: Diagnosis | undefined;
  readonly stalledAtMs: number | undefined;
}

export function startDueMs({ launchedAtMs, waitUntilMs, stall, stalledAtMs }: Starting, limits: Limits): number {
  const startBy = launchedAtMs + limits.startWithinMs;
  if (stall === undefined) return startBy;
  if (WAITED_FOR.includes(stall.code)) return Math.max(waitUntilMs, startBy);
  const giveUp = limits.giveUpAfterMs[stall.code];
  return giveUp === undefined ? startBy : Math.min(startBy, (stalledAtMs ?? launchedAtMs) + giveUp);
}

/** The timer that is due now for a live attempt, if any: what the expire loop applies after it has looked. */
export function timerOf(
  attempt: Attempt,
  limits: Limits,
  nowMs: number,
): "waitExpired" | "startExpired" | "deadline" | undefined {
  if (attempt.state !== "live" || nowMs < liveDueMs(attempt, limits)) return undefined;
  if (attempt.started === "yes") return "deadline";
  const stall = attempt.notes.stall;
  return stall !== undefined && WAITED_FOR.includes(stall.code) ? "waitExpired" : "startExpired";
}

/** Does a restart of the same try make sense by this catalogue row, given that it did or did not start? */
export function retryCause(
  diagnosis: Diagnosis,
  started: Attempt["started"],
): "never-started" | "infrastructure" | "failure" | undefined {
  const { retry } = DIAGNOSES[diagnosis.code];
  if (retry === "never") return undefined;
  if (started === "no") return "never-started";
  return retry === "never-started" ? "infrastructure" : retry;
}

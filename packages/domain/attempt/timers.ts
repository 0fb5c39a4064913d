/**
 * The timers of a live attempt: when to look at it next, which timer is due then, and when a Job that has not started is given
 * up.
 *
 * The bugs this prevents: waiting all day for an image that does not exist; and failing a run that only waits its turn, for
 * quota or for a node, because it did not start at once.
 */
import { DIAGNOSES, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { Attempt, Limits } from "../run/record.ts";

export function liveDueMs({ started, notes }: Attempt, limits: Limits): number {
  const createdAtMs = notes.launchedAtMs ?? 0;
  if (started === "yes") return (notes.startedAtMs ?? createdAtMs) + limits.deadlineMs;
  const { waitUntilMs, stall, stalledAtMs } = notes;
  const giveUpMs = startDueMs({ createdAtMs, waitUntilMs, stall, stalledAtMs, limits });
  // If no node took the Job for this long, another group is tried.
  return stall?.code === "Unschedulable" ? Math.min(giveUpMs, createdAtMs + limits.startWithinMs) : giveUpMs;
}

/** Returns the timer of a live attempt that is due now, if any. The expire loop applies it after it has looked. */
export function timerOf(
  attempt: Attempt,
  limits: Limits,
  nowMs: number,
): "waitExpired" | "elsewhere" | "startExpired" | "deadline" | undefined {
  if (attempt.state !== "live" || nowMs < liveDueMs(attempt, limits)) return undefined;
  if (attempt.started === "yes") return "deadline";
  if (!waitsForRoom(attempt.notes.stall)) return "startExpired";
  return nowMs < attempt.notes.waitUntilMs ? "elsewhere" : "waitExpired";
}

export interface Starting {
  readonly createdAtMs: number;
  /** End of the run's `waitFor`. */
  readonly waitUntilMs: number;
  /** The last reported cause why the Job does not start. */
  readonly stall: Pick<Diagnosis, "code"> | undefined;
  /** Since when this cause lasts, if known: a pod that waited an hour for a node has not waited an hour for its image. */
  readonly stalledAtMs?: number | undefined;
  readonly limits: Pick<Limits, "startWithinMs" | "giveUpAfterMs">;
}

export const waitsForRoom = (stall: Pick<Diagnosis, "code"> | undefined): boolean =>
  stall !== undefined && DIAGNOSES[stall.code].waitsForRoom === true;

export function startDueMs({ createdAtMs, waitUntilMs, stall, stalledAtMs = createdAtMs, limits }: Starting): number {
  const startWithinMs = createdAtMs + limits.startWithinMs;
  if (stall === undefined) return startWithinMs;
  if (waitsForRoom(stall)) return waitUntilMs;
  const giveUpMs = limits.giveUpAfterMs[stall.code];
  return giveUpMs === undefined ? startWithinMs : Math.min(startWithinMs, stalledAtMs + giveUpMs);
}

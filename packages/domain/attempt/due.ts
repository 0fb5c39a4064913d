/** When a live attempt must be looked at, which timer is due then, and what may be tried again. */
import { DIAGNOSES, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import { startDueMs, waitsForRoom } from "./expiry.ts";
import type { Attempt, Limits, RetryCause } from "../run/record.ts";

export function liveDueMs({ started, notes }: Attempt, limits: Limits): number {
  const createdAtMs = notes.launchedAtMs ?? 0;
  if (started === "yes") return (notes.startedAtMs ?? createdAtMs) + limits.deadlineMs;
  const { waitUntilMs, stall, stalledAtMs } = notes;
  const giveUpMs = startDueMs({ createdAtMs, waitUntilMs, stall, stalledAtMs, limits });
  // By then another group may have a node for it.
  return stall?.code === "Unschedulable" ? Math.min(giveUpMs, createdAtMs + limits.startWithinMs) : giveUpMs;
}

/** The timer that is due now for a live attempt, if any: what the expire loop applies after it has looked. */
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

/** What `retries.on` must name for this failure to be tried again; `undefined`: nothing does. */
export function retryCause(diagnosis: Diagnosis, started: Attempt["started"]): RetryCause | undefined {
  const { retry } = DIAGNOSES[diagnosis.code];
  if (retry === "never") return undefined;
  if (started === "no") return "never-started";
  return retry === "never-started" ? "infrastructure" : retry;
}

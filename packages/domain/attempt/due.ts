/** The timers of a live attempt: when to look at it next, and which timer is due then. */
import { startDueMs, waitsForRoom } from "./expiry.ts";
import type { Attempt, Limits } from "../run/record.ts";

export function liveDueMs({ started, notes }: Attempt, limits: Limits): number {
  const createdAtMs = notes.launchedAtMs ?? 0;
  if (started === "yes") return (notes.startedAtMs ?? createdAtMs) + limits.deadlineMs;
  const { waitUntilMs, stall, stalledAtMs } = notes;
  const giveUpMs = startDueMs({ createdAtMs, waitUntilMs, stall, stalledAtMs, limits });
  // After this time another group may have a node for it.
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

/**
 * The kinds of work that loops do, and which of them a change of runs makes.
 *
 * The bug this prevents: work that is due while every loop sleeps, because one of the two ledgers woke nobody for it.
 */
import { type Change, movedAttempts } from "./change.ts";
import type { AttemptState } from "./record.ts";

export const WORK_KINDS = ["waiting", "ready", "claimed", "live", "closing", "ended", "outbox", "strays", "notices"] as const;
export type WorkKind = (typeof WORK_KINDS)[number];

/** A change to one of these states is work at once. A change to claimed or live is not: their work comes with a timer. */
const KIND_MADE: Readonly<Partial<Record<AttemptState, WorkKind>>> = {
  waiting: "waiting",
  ready: "ready",
  closing: "closing",
  ended: "ended",
};

/**
 * The kinds of work that are due when the timer of an attempt in this state has passed. A claim that ran out is made again, or
 * its Job is looked for once the claim's fence has passed.
 */
export const KINDS_DUE: Readonly<Partial<Record<AttemptState, readonly WorkKind[]>>> = {
  ready: ["ready"],
  claimed: ["ready", "claimed"],
  live: ["live"],
  closing: ["closing"],
  ended: ["ended"],
};

/** Returns the kinds of work that these changes made due now. */
export function workMadeBy(changes: readonly Change[], nowMs: number): readonly WorkKind[] {
  const kinds = new Set<WorkKind>();
  for (const change of changes) {
    if (change.told.length > 0) kinds.add("outbox");
    if (change.strays.length > 0) kinds.add("strays");
    for (const [, { state, dueMs }] of movedAttempts(change)) {
      const kind = KIND_MADE[state];
      if (kind !== undefined && dueMs !== undefined && dueMs <= nowMs) kinds.add(kind);
    }
  }
  return [...kinds];
}

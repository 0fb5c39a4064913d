/**
 * What follows from changes once they are decided: attempts to write, slots that are free again, loops to wake.
 *
 * The bug this prevents: work that is due while every loop sleeps, because one of the two ledgers woke nobody for it.
 */
import type { Attempt, AttemptState } from "@longshore/domain/run/record.ts";
import { attemptIn, type Change } from "./decide.ts";
import type { WorkKind } from "./port.ts";

/** These count against a group's limit. */
export const SLOT_STATES: readonly AttemptState[] = ["ready", "claimed", "live", "closing"];
const hasSlot = (attempt: Attempt | undefined): boolean => attempt !== undefined && SLOT_STATES.includes(attempt.state);

/** Reasons to wait that pass when somebody else is done. */
export const NO_ROOM: readonly string[] = ["GroupsFull", "QuotaExceeded"];

/** The attempts that a change touched, each with what it was. */
export function movedAttempts({ before, after }: Change): readonly (readonly [was: Attempt | undefined, is: Attempt])[] {
  return after.attempts.flatMap((is) => {
    const was = before && attemptIn(before, is.step, is.n);
    return was === is ? [] : [[was, is] as const];
  });
}

export const slotsFreed = (changes: readonly Change[]): number =>
  changes.flatMap(movedAttempts).filter(([was, is]) => hasSlot(was) && !hasSlot(is)).length;

const KIND_OF_STATE: Readonly<Partial<Record<AttemptState, WorkKind>>> = {
  waiting: "waiting",
  ready: "ready",
  closing: "closing",
  ended: "ended",
};

/** For whom what is due in such a state is work. A claim that ran out is made again, or looked at once its fence has passed. */
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
      const kind = KIND_OF_STATE[state];
      if (kind !== undefined && dueMs !== undefined && dueMs <= nowMs) kinds.add(kind);
    }
  }
  return [...kinds];
}

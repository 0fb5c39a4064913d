/**
 * Which attempts take a slot of their group, when a slot is free again, and which runs wait for one.
 *
 * The bug this prevents: a group that counts as full without attempts, or a run that waits until its next look although a slot
 * became free.
 */
import { type Change, movedAttempts } from "../run/change.ts";
import type { Attempt, AttemptState } from "../run/record.ts";

/** Attempts in these states count against a group's limit. */
export const SLOT_STATES: readonly AttemptState[] = ["ready", "claimed", "live", "closing"];
const hasSlot = (attempt: Attempt | undefined): boolean => attempt !== undefined && SLOT_STATES.includes(attempt.state);

/** In these states, something of an attempt may exist on its group's cluster. */
export const STANDING_STATES: readonly AttemptState[] = ["claimed", "live", "closing", "ended"];
/** In these states, an attempt is bound to its group. */
export const PLACED_STATES: readonly AttemptState[] = ["ready", ...STANDING_STATES];

export const slotsFreed = (changes: readonly Change[]): number =>
  changes.flatMap(movedAttempts).filter(([was, is]) => hasSlot(was) && !hasSlot(is)).length;

/**
 * Which attempts take a slot of their group, when one is free again, and who waits for that.
 *
 * The bug this prevents: a group that is full of nothing, or a run that waits until its next look although a slot became free.
 */
import { type Change, movedAttempts } from "../run/change.ts";
import type { Attempt, AttemptState } from "../run/record.ts";

/** These count against a group's limit. */
export const SLOT_STATES: readonly AttemptState[] = ["ready", "claimed", "live", "closing"];
const hasSlot = (attempt: Attempt | undefined): boolean => attempt !== undefined && SLOT_STATES.includes(attempt.state);

/** In these, something of an attempt may stand on its group's cluster. */
export const STANDING_STATES: readonly AttemptState[] = ["claimed", "live", "closing", "ended"];
/** In these, an attempt is bound to its group. */
export const PLACED_STATES: readonly AttemptState[] = ["ready", ...STANDING_STATES];

export const slotsFreed = (changes: readonly Change[]): number =>
  changes.flatMap(movedAttempts).filter(([was, is]) => hasSlot(was) && !hasSlot(is)).length;

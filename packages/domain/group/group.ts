/** A container group as placement sees it: where it is, how much it takes, its health, and which attempts take its slots. */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { type Change, movedAttempts } from "../run/change.ts";
import type { Attempt, AttemptState } from "../run/record.ts";

export interface Group extends ConfiguredGroup {
  readonly slotsUsed: number;
  readonly paused: boolean;
  /**
   * "unknown" until a request was sent to the group. An unknown group is tried, since only a first request can show its health.
   */
  readonly health: "unknown" | "healthy" | "unhealthy";
  /** If a group never worked, its configuration is wrong; if it worked before, it is worth waiting for. */
  readonly everHealthy: boolean;
  /** Why the group is unhealthy. */
  readonly diagnosis?: Diagnosis | undefined;
  /** The cluster said that it has no room (a full quota): nothing is sent to it before `untilMs`. */
  readonly noRoom?: { readonly untilMs: number; readonly diagnosis: Diagnosis } | undefined;
  /** When a launcher last said that the group is in its groups file. */
  readonly servedAtMs?: number | undefined;
  /** Attempts that were placed in the group and not claimed yet. */
  readonly inLine?: number;
  readonly storage?: StorageUsed | undefined;
}

/** The volumes that stand for runs in a group, or are being deleted. */
export interface StorageUsed {
  readonly usedBytes: number;
  /** The part that ended runs keep. */
  readonly keptBytes: number;
  /** When the first of these gives its volumes up. */
  readonly keptUntilMs: number | undefined;
}

export const NO_STORAGE: StorageUsed = { usedBytes: 0, keptBytes: 0, keptUntilMs: undefined };

/** Facts about the groups that the placing launcher knows and the ledger does not. */
export interface Placer {
  /** The groups in the launcher's groups file. The launcher serves them, whatever the ledger last heard. */
  readonly serves: ReadonlySet<GroupName>;
  /**
   * Groups whose API server asked this launcher for a pause that is not over, with the reason: a create for them would only
   * wait.
   */
  readonly quiet: ReadonlyMap<GroupName, string>;
  /** A run that found no group is placed again after this time, if no slot is freed before. */
  readonly placeAgainMs: number;
}

/**
 * If no launcher said for this long that it serves a group, the group was taken out of every groups file, or all launchers are
 * away.
 */
export const UNSERVED_MS = 5 * 60_000;

/** True if no launcher would create a Job in this group, as far as the ledger knows. */
export const isUnserved = ({ servedAtMs }: Pick<Group, "servedAtMs">, nowMs: number): boolean =>
  servedAtMs === undefined || nowMs - servedAtMs >= UNSERVED_MS;

/**
 * A group with `createsPerSecond` has a line for as many attempts as it creates in this time. More attempts would only wait
 * there, while another group may be idle.
 */
const LINE_SECONDS = 5;

export const lineMost = (createsPerSecond: number): number => Math.max(1, Math.floor(createsPerSecond * LINE_SECONDS));

/** Attempts in these states count against a group's limit. */
export const SLOT_STATES: readonly AttemptState[] = ["ready", "claimed", "live", "closing"];
const hasSlot = (attempt: Attempt | undefined): boolean => attempt !== undefined && SLOT_STATES.includes(attempt.state);

/** In these states, something of an attempt may exist on its group's cluster. */
export const STANDING_STATES: readonly AttemptState[] = ["claimed", "live", "closing", "ended"];
/** In these states, an attempt is bound to its group. */
export const PLACED_STATES: readonly AttemptState[] = ["ready", ...STANDING_STATES];

export const slotsFreed = (changes: readonly Change[]): number =>
  changes.flatMap(movedAttempts).filter(([was, is]) => hasSlot(was) && !hasSlot(is)).length;

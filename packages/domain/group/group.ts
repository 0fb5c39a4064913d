/** A container group as placement sees it: where it is, how much it takes, and how it is doing. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import type { ConfiguredGroup, GroupSettings } from "@longshore/contract/group-settings.ts";

export interface Group extends ConfiguredGroup {
  readonly slotsUsed: number;
  readonly paused: boolean;
  /** "unknown" until something was sent there: it is tried, since a first request is how one finds out. */
  readonly health: "unknown" | "healthy" | "unhealthy";
  /** A group that never worked is a mistake in its configuration; one that did is worth waiting for. */
  readonly everHealthy: boolean;
  /** Why it is unhealthy. */
  readonly diagnosis?: Diagnosis | undefined;
  /** Its cluster said that there is no room (a full quota): nothing is sent there before. */
  readonly noRoom?: { readonly untilMs: number; readonly diagnosis: Diagnosis } | undefined;
  /** When a launcher last said that it has the group in its groups file. */
  readonly servedAtMs?: number | undefined;
  /** Attempts that were placed there and whose creates have not begun. */
  readonly inLine?: number;
}

/** What the launcher that places knows of the groups, and the ledger does not. */
export interface Placer {
  /** The groups in its groups file. It serves them, whatever the ledger last heard. */
  readonly serves: ReadonlySet<GroupName>;
  /** Groups whose API server asked this launcher for a pause that is not over, and why: a create for them would only wait. */
  readonly quiet: ReadonlyMap<GroupName, string>;
  /** Until a run that found no group is placed again, if no slot is freed before. */
  readonly placeAgainMs: number;
}

/** If no launcher said for so long that it serves a group, the group was taken out of every groups file, or all launchers are away. */
export const UNSERVED_MS = 5 * 60_000;

/** Whether nobody would create a Job there, as far as the ledger knows. */
export const isUnserved = ({ servedAtMs }: Pick<Group, "servedAtMs">, nowMs: number): boolean =>
  servedAtMs === undefined || nowMs - servedAtMs >= UNSERVED_MS;

/** The first image that the group does not allow. */
export const imageRefused = ({ images: allowed }: GroupSettings["policy"], images: readonly string[]): string | undefined =>
  allowed === undefined ? undefined : images.find((image) => !allowed.some((pattern) => isLike(image, pattern)));

/** What a group with a pace takes in this time may stand in line there; more would only wait, while another group may be idle. */
const LINE_SECONDS = 5;

export const lineMost = (createsPerSecond: number): number => Math.max(1, Math.floor(createsPerSecond * LINE_SECONDS));

/** Piece by piece, not by a regular expression made of somebody's text: that could take for ever. */
function isLike(image: string, pattern: string): boolean {
  const [head = "", ...rest] = pattern.split("*");
  if (rest.length === 0) return image === pattern;
  const tail = rest.pop() ?? "";
  if (!image.startsWith(head) || !image.endsWith(tail)) return false;
  let from = head.length;
  for (const piece of rest) {
    const found = image.indexOf(piece, from);
    if (found === -1) return false;
    from = found + piece.length;
  }
  return from <= image.length - tail.length;
}

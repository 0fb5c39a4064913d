/**
 * Waiting attempts: finds the first group that can take each, or why none can. If this launcher has a free create slot in that
 * group, the same statement claims the attempt.
 */
import type { GroupName } from "@longshore/contract/ids.ts";
import type { Placer } from "@longshore/domain/group/group.ts";
import { mayClaim, quietIn } from "@longshore/domain/group/view.ts";
import { viewOf } from "../groups/views.ts";
import type { InFlightCreates } from "../jobs/in-flight-creates.ts";
import type { Parts } from "../parts.ts";
import { drain, retryLoop } from "./retry-loop.ts";

const MOST = 128;
const ROOM_LEAST = 8;

export function place(parts: Parts, inFlight: ReadonlyMap<GroupName, InFlightCreates>) {
  const { ledger, clock, timing, owner: by } = parts;
  let sinceMs: number | undefined;

  /**
   * If no group has a free create slot, placing can wait: the claim would need a second statement anyway. It waits at most one
   * poll.
   */
  function isTimely(): boolean {
    const some = [...inFlight.values()].filter((hand) => hand.wants()).length > 0;
    sinceMs = some ? undefined : (sinceMs ?? clock.now());
    return sinceMs === undefined || clock.now() - sinceMs >= timing.pollMs;
  }

  async function turn(signal: AbortSignal): Promise<boolean> {
    const room = new Map([...inFlight].map(([group, hand]) => [group, isClaimedAtOnce(parts, group) ? hand.room() : 0]));
    const inAll = [...room.values()].reduce((sum, it) => sum + it, 0);
    if (!isTimely()) return false;
    // If there are hardly any free create slots, more attempts than slots are placed. The surplus is claimed by a second
    // statement later.
    const most = inAll >= ROOM_LEAST ? Math.min(MOST, inAll) : MOST;
    const { more, works } = await ledger.place({ most, placer: placerOf(parts), claim: { by, forMs: timing.claimMs, room } });
    for (const [group, ofGroup] of Map.groupBy(works, ({ attempt }) => attempt.group))
      if (group !== undefined) inFlight.get(group)?.take(ofGroup, signal);
    // `more` is true also if some attempts found no group: a thousand runs that wait for one dead group may be first in this
    // line.
    return more;
  }

  return async (signal: AbortSignal): Promise<void> => {
    await retryLoop(parts, { what: "place", ms: timing.pollMs, wakeUp: parts.wakeUps.waiting, signal }, (signal) =>
      drain(signal, () => turn(signal)),
    );
    await Promise.all([...inFlight.values()].map((hand) => hand.rest()));
  };
}

/**
 * False for a group with a pace, whose line is served in order: an attempt that was just placed may not be claimed before the
 * attempts in line. False also if another cluster may be answering at the group's address.
 */
const isClaimedAtOnce = ({ clusters, views }: Parts, group: GroupName): boolean =>
  clusters.get(group)?.pace === undefined && mayClaim(viewOf({ views }, group));

/** This launcher's knowledge of the groups at this moment, for the ledger to place by. */
export const placerOf = ({ timing, clusters, views, clock }: Pick<Parts, "timing" | "clusters" | "views" | "clock">): Placer => ({
  serves: new Set(clusters.keys()),
  quiet: new Map(
    [...views].flatMap(([name, view]) => {
      const why = quietIn(view, clock.now());
      return why === undefined ? [] : [[name, why]];
    }),
  ),
  placeAgainMs: timing.placeAgainMs,
});

/**
 * The pace of creates in one cluster, which the group's `createsPerSecond` sets: each create has its turn, at even distances,
 * and a launcher claims no more than can go out soon.
 *
 * The bug this prevents: attempts that are claimed and only wait for their turn. No other group can take them, and their claims
 * run out.
 *
 * Other files limit creates, too:
 *   guard.ts openWindow               limits the requests in flight to one cluster, by how fast the cluster answers
 *   launcher/jobs/in-flight-creates   limits a launcher's claims to the creates that its cluster answers in a second or two
 *   domain/group/group.ts lineMost    limits a paced group's line: when it is full, runs go to another group
 *   launcher/loops/place.ts           keeps a paced group's line in order: an attempt that was just placed waits behind it
 */
import type { Clock } from "@longshore/runtime/clock.ts";

/** Creates are claimed up to this long before their turn, so that one statement of the ledger claims a second's worth. */
const AHEAD_MS = 1_000;

export interface Pace {
  /** The earliest time at which the next create may go out. */
  nextMs(): number;
  /** Takes the turn at this time: at `nextMs()`, or later if another reason delays the create. */
  take(turnMs: number): void;
  /** Returns the number of creates that would have their turn soon if they were sent now. */
  free(): number;
  /** Resolves when `free()` is at least 1. */
  untilFree(signal: AbortSignal): Promise<void>;
}

export function openPace(clock: Clock, createsPerSecond: number): Pace {
  const distanceMs = 1000 / createsPerSecond;
  let nextMs = 0;
  const lineMs = (): number => Math.max(0, nextMs - clock.now());
  const free = (): number => Math.max(0, Math.ceil((AHEAD_MS - lineMs()) / distanceMs));
  return {
    nextMs: () => nextMs,
    take: (turnMs) => void (nextMs = turnMs + distanceMs),
    free,
    async untilFree(signal) {
      while (free() === 0 && !signal.aborted) await clock.sleep(lineMs() - AHEAD_MS + 1, signal);
    },
  };
}

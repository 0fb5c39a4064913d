/**
 * Tells since when nobody watches a group, by the last heartbeat that the ledger has.
 *
 * The failure this prevents: an unwatched group that nobody reports. Its watcher cannot report it: the watcher is dead, never
 * reached its cluster, or is cut off from the broker.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";

/** A group by its name, and when a watcher was last heard of it. */
export interface Watched {
  readonly name: string;
  readonly watchedAtMs: number | undefined;
}

/**
 * If nothing happens in a group, its API server shows once a minute that the watch is alive, and the heartbeat that reports
 * this comes up to 15 s later. A shorter time would call such a group unwatched again and again.
 */
const UNWATCHED_MS = 90_000;

/**
 * Counts by the ledger's clock. For a group that was never watched, counts from its first Job on: before, there was nothing to
 * watch.
 */
export function unwatchedForMs(
  { watchedAtMs }: Pick<Watched, "watchedAtMs">,
  launchedAtMs: readonly number[],
  nowMs: number,
): number | undefined {
  const sinceMs = watchedAtMs ?? launchedAtMs.reduce<number | undefined>((first, it) => Math.min(first ?? it, it), undefined);
  return sinceMs === undefined ? undefined : Math.max(0, nowMs - sinceMs);
}

/** Returns a diagnosis if the group is unwatched: the ends of its Jobs are noticed late. */
export function unwatched({ name, watchedAtMs }: Watched, nowMs: number): Diagnosis | undefined {
  if (watchedAtMs === undefined) return diagnose("Unwatched", `No watcher ever reported on the group "${name}".`);
  const seconds = Math.floor((nowMs - watchedAtMs) / 1000);
  if (seconds * 1000 < UNWATCHED_MS) return undefined;
  return diagnose("Unwatched", `No watcher has seen the group "${name}" for ${seconds} s.`);
}

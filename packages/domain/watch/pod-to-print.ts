/**
 * Which pod of a Job a person means who wants its log.
 *
 * The failure this prevents: the log of a slice that succeeded, while another failed.
 */
import type { PodSeen } from "./seen.ts";

/** The last pod of the slice. If none is asked for, of the first that failed, else the newest pod. */
export function podToPrint(pods: readonly PodSeen[], slice: number | undefined): PodSeen | undefined {
  const byTime = pods.toSorted((a, b) => ((a.createdAt ?? "") < (b.createdAt ?? "") ? -1 : 1));
  if (slice !== undefined) return byTime.findLast(({ index }) => index === slice);
  const failed = byTime.filter(({ index, phase }) => index !== undefined && phase === "Failed");
  const [first] = failed.toSorted((a, b) => (a.index ?? 0) - (b.index ?? 0));
  return first === undefined ? byTime.at(-1) : failed.findLast(({ index }) => index === first.index);
}

/** The indexes of an Indexed Job: how its status writes them, and how often a pod of each has failed. */
import {
  COMPLETION_INDEX,
  FAILURE_COUNT,
  finishedPhase,
  holds,
  isDeleting,
  type JobObject,
  type PodObject,
  TRACKING,
} from "../objects.ts";

export const indexOf = (pod: PodObject): number => Number(pod.metadata.annotations?.[COMPLETION_INDEX] ?? -1);
export const failureCountOf = (pod: PodObject): number => Number(pod.metadata.annotations?.[FAILURE_COUNT] ?? 0);

/** "0,2,5-9" */
export function indexesIn(text: string | undefined): ReadonlySet<number> {
  const found = new Set<number>();
  for (const part of (text ?? "").split(",").filter((it) => it !== "")) {
    const [first = 0, last = first] = part.split("-").map(Number);
    for (let at = first; at <= last; at++) found.add(at);
  }
  return found;
}

/** Two neighbours are joined by a comma, more by a dash. */
export function textOf(indexes: ReadonlySet<number>): string {
  const runs: [first: number, last: number][] = [];
  for (const it of [...indexes].sort((a, b) => a - b)) {
    const run = runs.at(-1);
    if (run?.[1] === it - 1) run[1] = it;
    else runs.push([it, it]);
  }
  return runs
    .map(([first, last]) => (first === last ? `${first}` : `${first}${last === first + 1 ? "," : "-"}${last}`))
    .join(",");
}

export interface IndexTally {
  readonly done: ReadonlySet<number>;
  /** Only of a Job that counts failures by index. */
  readonly failed: ReadonlySet<number> | undefined;
  /** Failed pods that are counted once their successor is there: it takes their number of failures over. */
  readonly replaced: ReadonlyMap<number, PodObject>;
}

export function tallyIndexes(job: JobObject, pods: readonly PodObject[]): IndexTally {
  const { backoffLimitPerIndex: most } = job.spec;
  const tracked = pods.filter((it) => holds(it, TRACKING));
  const done = new Set(indexesIn(job.status.completedIndexes));
  for (const it of tracked) if (it.status.phase === "Succeeded") done.add(indexOf(it));
  if (most === undefined) return { done, failed: undefined, replaced: new Map() };
  const failed = new Set(indexesIn(job.status.failedIndexes));
  const ended = tracked.filter((it) => it.status.phase === "Failed");
  for (const it of ended) if (failureCountOf(it) >= most) failed.add(indexOf(it));
  const active = new Set(pods.filter((it) => !isDeleting(it) && !finishedPhase(it)).map(indexOf));
  const replaced = new Map<number, PodObject>();
  for (const it of ended) {
    const index = indexOf(it);
    const before = replaced.get(index);
    if (done.has(index) || failed.has(index) || active.has(index)) continue;
    if (before === undefined || failureCountOf(before) <= failureCountOf(it)) replaced.set(index, it);
  }
  return { done, failed, replaced };
}

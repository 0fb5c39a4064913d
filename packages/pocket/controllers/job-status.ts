/**
 * The Job controller's arithmetic: how many pods a Job has, how many it wants, whether it is over, and what its status says
 * then. Pure, so that jobs.ts only has to get the order of the writes right.
 */
import type { Condition, JobObject, JobStatus, PodObject } from "../objects.ts";
import { type IndexTally, indexOf, tallyIndexes, textOf } from "./indexes.ts";
import { conditionTrue, finishedPhase, holds, isDeleting, TRACKING, timestamp } from "../objects.ts";

export interface Verdict {
  readonly type: "Complete" | "Failed";
  readonly reason: string;
  readonly message: string;
}

export interface Now {
  readonly startTime: string | undefined;
  readonly active: readonly PodObject[];
  readonly terminating: number;
  readonly verdict: Verdict | undefined;
  readonly final: boolean;
  /** The number of pods that still run and count as failed, because the Job fails now. */
  readonly lost: number;
  readonly nowMs: number;
}

export interface Tally {
  readonly active: readonly PodObject[];
  /** Pods that are now counted as failed for the first time. */
  readonly failed: readonly PodObject[];
  readonly succeededCount: number;
  readonly failedCount: number;
  readonly lastFailureMs: number;
  readonly wanted: number;
  readonly indexes?: IndexTally;
  /** The indexes to make pods for; `undefined` stands for a pod without an index. */
  readonly missing: readonly (number | undefined)[];
  status(job: JobObject, now: Now): JobStatus;
}

export function countPods(job: JobObject, pods: readonly PodObject[]): Tally {
  const { spec } = job;
  const active = pods.filter((it) => !isDeleting(it) && !finishedPhase(it));
  const tracked = pods.filter((it) => holds(it, TRACKING));
  const isIndexed = spec.completionMode === "Indexed";
  const indexes = isIndexed ? tallyIndexes(job, pods) : undefined;
  const { done = new Set<number>(), failed: given = new Set<number>() } = indexes ?? {};
  const replaced = new Set(indexes?.replaced.values());
  const failed = tracked.filter((it) => isFailed(job, it) && !replaced.has(it));
  const succeeded = tracked.filter((it) => it.status.phase === "Succeeded");
  const succeededCount = isIndexed ? done.size : (job.status.succeeded ?? 0) + succeeded.length;
  const failedCount = (job.status.failed ?? 0) + failed.length;
  const occupied = spec.podReplacementPolicy === "Failed" ? pods.filter((it) => !finishedPhase(it)) : active;
  const open =
    spec.completions === undefined ? (succeededCount > 0 ? 0 : spec.parallelism) : spec.completions - succeededCount - given.size;
  const wanted = Math.max(0, Math.min(spec.parallelism, open) - occupied.length);
  return {
    active,
    failed,
    succeededCount,
    failedCount,
    lastFailureMs: Math.max(0, ...pods.filter((it) => it.status.phase === "Failed").map(failedAtMs)),
    wanted,
    missing: isIndexed
      ? freeIndexes(spec.completions ?? 0, done.union(given), occupied).slice(0, wanted)
      : Array.from({ length: wanted }, () => undefined),
    ...(indexes && { indexes }),
    status: (now, it) => statusOf(now, it, succeededCount, failedCount, indexes),
  };
}

function isFailed(job: JobObject, pod: PodObject): boolean {
  if (pod.status.phase === "Failed") return true;
  return job.spec.podReplacementPolicy !== "Failed" && isDeleting(pod) && pod.status.phase !== "Succeeded";
}

function freeIndexes(completions: number, done: ReadonlySet<number>, occupied: readonly PodObject[]): readonly number[] {
  const taken = new Set(occupied.map(indexOf));
  return Array.from({ length: completions }, (_, n) => n).filter((it) => !done.has(it) && !taken.has(it));
}

export function failedAtMs(pod: PodObject): number {
  const at = pod.status.conditions?.find((it) => it.type === "Ready")?.lastTransitionTime;
  return at === undefined ? 0 : Date.parse(at);
}

/** Decides whether the Job is over, in the controller's order: its earlier decision, then failure, then success. */
export function conclude(job: JobObject, tally: Tally, startTime: string | undefined, nowMs: number): Verdict | undefined {
  const { spec } = job;
  const met = conditionTrue(job, "SuccessCriteriaMet");
  if (met !== undefined) return verdict("Complete", met);
  const target = conditionTrue(job, "FailureTarget");
  if (target !== undefined) return verdict("Failed", target);
  if (tally.failedCount > spec.backoffLimit) {
    return { type: "Failed", reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" };
  }
  const deadline = spec.activeDeadlineSeconds;
  if (deadline !== undefined && startTime !== undefined && !spec.suspend && nowMs >= Date.parse(startTime) + deadline * 1000) {
    return { type: "Failed", reason: "DeadlineExceeded", message: "Job was active longer than specified deadline" };
  }
  const { failed } = tally.indexes ?? {};
  if (failed !== undefined && spec.maxFailedIndexes !== undefined && failed.size > spec.maxFailedIndexes) {
    const message = "Job has exceeded the specified maximal number of failed indexes";
    return { type: "Failed", reason: "MaxFailedIndexesExceeded", message };
  }
  if (failed !== undefined && failed.size > 0 && failed.size + tally.succeededCount >= (spec.completions ?? 0)) {
    return { type: "Failed", reason: "FailedIndexes", message: "Job has failed indexes" };
  }
  const enough = spec.completions === undefined ? tally.succeededCount > 0 : tally.succeededCount >= spec.completions;
  if (!enough || tally.active.length > 0) return undefined;
  return { type: "Complete", reason: "CompletionsReached", message: "Reached expected number of succeeded pods" };
}

const verdict = (type: Verdict["type"], from: Condition): Verdict => ({
  type,
  reason: from.reason ?? "",
  message: from.message ?? "",
});

function statusOf(job: JobObject, now: Now, succeeded: number, failed: number, indexes: IndexTally | undefined): JobStatus {
  const at = timestamp(now.nowMs);
  const ready = now.active.filter((it) => it.status.conditions?.some((c) => c.type === "Ready" && c.status === "True")).length;
  return {
    ...conditionsField(conditionsOf(job, now, at)),
    ...(now.startTime === undefined ? {} : { startTime: now.startTime }),
    ...(now.final && now.verdict?.type === "Complete" ? { completionTime: at } : {}),
    ...(now.active.length > 0 ? { active: now.active.length } : {}),
    ...(succeeded > 0 ? { succeeded } : {}),
    ...(failed + now.lost > 0 ? { failed: failed + now.lost } : {}),
    ready,
    terminating: now.terminating,
    ...(indexes === undefined || indexes.done.size === 0 ? {} : { completedIndexes: textOf(indexes.done) }),
    ...(indexes?.failed === undefined ? {} : { failedIndexes: textOf(indexes.failed) }),
    uncountedTerminatedPods: {},
  };
}

const conditionsField = (conditions: readonly Condition[]) => (conditions.length === 0 ? {} : { conditions });

function conditionsOf(job: JobObject, now: Now, at: string): readonly Condition[] {
  const standing = job.status.conditions ?? [];
  const say = (type: string, reason: string, message: string, status: Condition["status"] = "True"): Condition => ({
    type,
    status,
    lastProbeTime: at,
    lastTransitionTime: at,
    reason,
    message,
  });
  const with_ = (list: readonly Condition[], it: Condition): readonly Condition[] => {
    const same = list.find((other) => other.type === it.type);
    if (same === undefined) return it.status === "True" ? [...list, it] : list;
    return same.status === it.status ? list : list.map((other) => (other === same ? it : other));
  };
  if (now.verdict !== undefined) {
    const { type, reason, message } = now.verdict;
    const meant = with_(standing, say(type === "Complete" ? "SuccessCriteriaMet" : "FailureTarget", reason, message));
    return now.final ? with_(meant, say(type, reason, message)) : meant;
  }
  if (isDeleting(job)) return standing;
  return job.spec.suspend
    ? with_(standing, say("Suspended", "JobSuspended", "Job suspended"))
    : with_(standing, say("Suspended", "JobResumed", "Job resumed", "False"));
}

/**
 * G5, of a Job without a Failed condition whose attempt is told as failed: that somebody else deleted it, or that we did, and
 * its pods were then as the told code says.
 *
 * The failure this prevents: a launcher that ends healthy work as "did not start" or "ran too long", and is believed since the
 * Job is gone.
 */
import { DIAGNOSES } from "@longshore/contract/diagnosis.ts";
import {
  at,
  type AttemptRow,
  type ClusterHistory,
  type History,
  isOurs,
  type JobLife,
  type PodLife,
  podsOf,
} from "./journals.ts";

/** The clusters tell starts in whole seconds. */
const COARSE_MS = 1_000;

/** What keeps a pod from starting, too; the others of their phase only end what has started. */
const ALSO_BEFORE_START: readonly string[] = ["Unknown", "NodeLost", "OutOfMemory"];

/** What is wrong with our having ended it for that; `undefined`: nothing. */
export function unfitting(history: History, attempt: AttemptRow, cluster: ClusterHistory, job: JobLife): string | undefined {
  if (!job.deleting) return "its Job neither failed nor was it deleted";
  if (cluster.launcher !== "" && isDeletedByOthers(cluster, job)) return undefined;
  const pods = podsOf(history, job.uid);
  const deletedMs = firstDelete(cluster, job, pods);
  if (deletedMs === undefined) return "nobody deleted its Job";
  const ranSinceMs = Math.min(...pods.flatMap(({ startedMs }) => startedMs ?? []));
  const { code = "" } = attempt;
  if (code === "DeadlineExceeded") return tooEarly(history, attempt, deletedMs, ranSinceMs);
  if (!isBeforeStart(code)) return `we deleted its Job at ${at(deletedMs)}, for which that is no reason`;
  return ranSinceMs + COARSE_MS < deletedMs
    ? `it had run since ${at(ranSinceMs)} when we deleted it at ${at(deletedMs)}`
    : undefined;
}

function tooEarly({ ledger }: History, attempt: AttemptRow, deletedMs: number, ranSinceMs: number): string | undefined {
  if (ranSinceMs === Infinity) return "no container of it ran";
  const run = ledger.runs.find(({ id }) => id === attempt.run);
  // A restart may have come with another deadline.
  if (run?.deadlineMs === undefined || run.generation > 1) return undefined;
  const ranMs = deletedMs - ranSinceMs;
  return ranMs + COARSE_MS < run.deadlineMs
    ? `we deleted it after ${ranMs / 1000} s of the ${run.deadlineMs / 1000} s that it had`
    : undefined;
}

const isBeforeStart = (code: string): boolean =>
  ALSO_BEFORE_START.includes(code) ||
  Object.entries(DIAGNOSES).some(([known, { phase }]) => known === code && phase === "before-start");

/** Of the Job or a pod of it: what waits is deleted from below. */
function firstDelete(cluster: ClusterHistory, job: JobLife, pods: readonly PodLife[]): number | undefined {
  const names = new Set(pods.map(({ name }) => name));
  const ours = cluster.asked.filter(
    (it) =>
      it.verb === "delete" &&
      it.status < 300 &&
      isOurs(cluster, it.user) &&
      (it.resource === "jobs" ? it.name === job.name : it.resource === "pods" && names.has(it.name)),
  );
  return ours.length === 0 ? undefined : Math.min(...ours.map(({ atMs }) => atMs));
}

export function isDeletedByOthers(cluster: ClusterHistory, job: JobLife): boolean {
  if (cluster.launcher === "") return job.deleting || job.gone;
  // A namespace's end or a garbage collector's deletes collections, and names no Job.
  return cluster.asked.some(
    (it) =>
      it.resource === "jobs" &&
      it.status < 300 &&
      !isOurs(cluster, it.user) &&
      ((it.verb === "delete" && it.name === job.name) || it.verb === "deletecollection"),
  );
}

/**
 * The five journals of real processes as the shared rules see them.
 *
 * The failure this prevents: one rule in two versions, the chaos tests' and the simulation's.
 */
import { DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import type { Attempt, Closing, Command, Heard, Job, Lifted, View } from "../../judge/view.ts";
import { sometimeIf } from "../../judge/view.ts";
import type { AttemptRow, ClusterHistory, History, JobLife, Passed, PodLife } from "./journals.ts";
import { isByOthers, isMade, isOurs, jobsOf, podsOf } from "./journals.ts";

/** The clusters tell starts in whole seconds. */
const COARSE_MS = 1_000;

export function viewOf(history: History): View {
  const { ledger, clusters, passed } = history;
  return {
    commands: commandsOf(history),
    runs: ledger.runs,
    told: ledger.events,
    heard: passed.flatMap(passedTo),
    attempts: ledger.attempts.map((row) => attemptOf(history, row)),
    made: clusters.flatMap((cluster) =>
      cluster.asked.filter((it) => isMade(it) && isOurs(cluster, it.user)).map(({ name }) => name),
    ),
    jobs: clusters.flatMap((cluster) => cluster.jobs.map((job) => jobOf(history, cluster, job))),
    pods: clusters.flatMap((cluster) => cluster.pods.map((pod) => ({ ...pod, overMs: overMsOf(cluster, pod) }))),
    slackMs: { nextAttempt: COARSE_MS, start: COARSE_MS, deadline: COARSE_MS },
  };
}

function commandsOf({ sent, passed, ledger }: History): readonly Command[] {
  const runs = new Set(ledger.runs.filter(({ state }) => state !== "tombstone").map(({ id }) => id));
  const refused = new Set(ledger.refused);
  const taken = new Set(ledger.commands.map(({ source, id }) => `${source} ${id}`));
  const quarantined = passed.filter(({ through }) => through === "quarantine").map(({ text }) => text);
  return sent.map((command) => {
    const { id, source, type, run } = command;
    const is = {
      taken: type === "run.requested" ? runs.has(run) : taken.has(`${source} ${id}`),
      refused: refused.has(id),
      quarantined: quarantined.some((text) => text.includes(id)),
    };
    return { ...command, is, mayBe: ["taken", "refused", "quarantined"] };
  });
}

const passedTo = ({ through, id, run = "", sequence, generation = 0, type }: Passed): readonly Heard[] =>
  through === "events" && sequence !== undefined ? [{ id, run, sequence, generation, type }] : [];

function attemptOf(history: History, row: AttemptRow): Attempt {
  const cluster = history.clusters.find(({ group }) => group === row.group);
  const run = history.ledger.runs.find(({ id }) => id === row.run);
  const isStripped = history.clusters.some(({ jobs }) => jobs.some((it) => it.name === row.name && it.stripped));
  const lifted: readonly Lifted[] = [
    ...(cluster?.restored === true ? (["one Job", "start", "end", "behind"] as const) : []),
    ...(isStripped ? (["one Job"] as const) : []),
    // An operator abandoned the attempt, whatever its Job does.
    ...(row.code === "Abandoned" ? (["behind"] as const) : []),
  ];
  // A restart may have changed the deadline.
  return {
    ...row,
    deadlineMs: run?.generation === 1 ? row.deadlineMs : undefined,
    closing: closingOf(history, row),
    lifted,
    besideMs: undefined,
  };
}

function jobOf(history: History, cluster: ClusterHistory, job: JobLife): Job {
  const isOwn = history.ledger.attempts.some(({ uid }) => uid === job.uid);
  return {
    ...job,
    ours: isOwn || !isByOthers(history, job.name),
    othersDeletedMs: sometimeIf(isDeletedByOthers(cluster, job)),
    releasedMs: releasedMs(cluster, job),
    // A restored cluster may take back an end that was seen, and a failed Job without its hold may go unread.
    bindsMs: sometimeIf(!cluster.restored && !(job.failedMs !== undefined && job.stripped)),
  };
}

/** Our first patch of a Job is its release. */
function releasedMs(cluster: ClusterHistory, { name }: JobLife): number | undefined {
  const { restored, launcher, asked, jobs } = cluster;
  const all = jobs.filter((it) => it.name === name);
  // If several Jobs had this name, the log does not tell which one was patched. A stripped hold is put back by a patch, too.
  if (restored || launcher === "" || all.length !== 1 || all.some((it) => it.stripped || it.occupant)) return undefined;
  const patches = asked.filter((it) => it.verb === "patch" && it.resource === "jobs" && it.status === 200 && it.name === name && isOurs(cluster, it.user)); // biome-ignore format: one question
  return patches.length === 0 ? undefined : Math.min(...patches.map(({ atMs }) => atMs));
}

/**
 * Returns the time by which a pod's containers had ended. A watch on a busy machine learns late that a pod is gone, so the
 * cluster's own log counts too. The kubelet sends the last DELETE after all containers ended; an earlier DELETE only tells the
 * pod to end. The pocket's kubelet sends none.
 */
function overMsOf({ launcher, asked }: ClusterHistory, { name, finishedMs, goneMs }: PodLife): number | undefined {
  const deletes = asked.filter((it) => it.verb === "delete" && it.resource === "pods" && it.name === name && it.status === 200);
  const deletedMs = goneMs === undefined || launcher === "" ? undefined : deletes.at(-1)?.atMs;
  const times = [finishedMs, goneMs, deletedMs].flatMap((it) => it ?? []);
  return times.length === 0 ? undefined : Math.min(...times);
}

// ── Deletions ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** Returns our deletion and its reason, for an attempt that is told as failed although its Job did not fail. */
function closingOf(history: History, row: AttemptRow): Closing | undefined {
  const { uid, result, code = "" } = row;
  const cluster = history.clusters.find(({ group }) => group === row.group);
  const job = jobsOf(history, row).find((it) => it.uid === uid);
  if (cluster === undefined || cluster.restored || job === undefined || result !== "failed") return undefined;
  if (job.deletedMs === undefined || (job.completeMs ?? job.failedMs) !== undefined) return undefined;
  if (cluster.launcher !== "" && isDeletedByOthers(cluster, job)) return undefined;
  const reason = code === "DeadlineExceeded" ? "deadline" : isBeforeStart(code) ? "no start" : "no timer";
  return { reason, atMs: firstDelete(cluster, job, podsOf(history, job.uid)) };
}

/** These codes, too, may keep a pod from starting. All other codes of their phases are about pods that have started. */
const ALSO_BEFORE_START: readonly string[] = ["Unknown", "NodeLost", "OutOfMemory"];

const isBeforeStart = (code: string): boolean =>
  ALSO_BEFORE_START.includes(code) ||
  Object.entries(DIAGNOSES).some(([known, { phase }]) => known === code && phase === "before-start");

/** Returns the time of our first DELETE of the Job or of one of its pods: a pod that still waits is deleted before its Job. */
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

function isDeletedByOthers(cluster: ClusterHistory, job: JobLife): boolean {
  if (cluster.launcher === "") return (job.deletedMs ?? job.goneMs) !== undefined;
  // The garbage collector, and the end of a namespace, delete collections: their requests name no Job.
  return cluster.asked.some(
    (it) =>
      it.resource === "jobs" &&
      it.status < 300 &&
      !isOurs(cluster, it.user) &&
      ((it.verb === "delete" && it.name === job.name) || it.verb === "deletecollection"),
  );
}

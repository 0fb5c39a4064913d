/** G5 and G10: no end that is told is false, nothing runs behind one, and a cancel loses only to Complete. */
import {
  at,
  type AttemptRow,
  type ClusterHistory,
  ENDS,
  type EventRow,
  type History,
  isByOthers,
  type JobLife,
  jobsOf,
  podsOf,
  type PodLife,
} from "./journals.ts";
import { isDeletedByOthers, unfitting } from "./kills.ts";

export function faultsOfEnds(history: History): readonly string[] {
  return [
    ...history.ledger.attempts.flatMap((attempt) => outcome(history, attempt)),
    ...history.ledger.events.flatMap((event) => [...toldFalsely(history, event), ...ranBehind(history, event)]),
    ...cancels(history),
  ];
}

interface Reality {
  readonly job: JobLife;
  readonly cluster: ClusterHistory;
}

function realityOf(history: History, attempt: AttemptRow): Reality | undefined {
  const cluster = history.clusters.find(({ group }) => group === attempt.group);
  const job = jobsOf(history, attempt).find(({ uid }) => uid === attempt.uid);
  return cluster && job && { job, cluster };
}

/** What the ledger says of an attempt, beside what was seen of its own Job. */
function outcome(history: History, attempt: AttemptRow): readonly string[] {
  const { run, n, result, code, uid, name } = attempt;
  const real = realityOf(history, attempt);
  const who = `attempt ${n} of ${run}`;
  if (result === undefined) return [];
  if (real === undefined)
    return uid === undefined
      ? result === "succeeded"
        ? [`G5: ${who} succeeded without a Job`]
        : []
      : [`G5: ${who} ended ${result} by the Job ${name} (${uid}), which nobody saw`];
  if (real.cluster.restored) return []; // what was seen may never have been
  const { job, cluster } = real;
  const { complete, failed, deleting, gone } = job;
  const says = (what: string): string => `G5: ${who} ended ${result}${code === undefined ? "" : ` (${code})`}, and ${what}`;
  if (result === "succeeded") return complete ? [] : [says("its Job was never Complete")];
  if (complete) return [says("its Job was Complete")];
  const wrong = result !== "failed" || failed ? undefined : unfitting(history, attempt, cluster, job);
  if (wrong !== undefined) return [says(wrong)];
  if (result === "deleted") return isDeletedByOthers(cluster, job) ? [] : [says("nobody but us deleted its Job")];
  if (result === "cancelled") return gone || deleting ? [] : [says("its Job was not deleted")];
  if (result === "lost" && code === "Gone") return gone ? [] : [says("its Job is still there")];
  return [];
}

const attemptOf = (history: History, { run, data }: EventRow): AttemptRow | undefined =>
  history.ledger.attempts.find((it) => it.run === run && it.step === data["step"] && it.n === data["attempt"]);

function toldFalsely(history: History, event: EventRow): readonly string[] {
  const { run, type, data, generation } = event;
  const attempt = attemptOf(history, event);
  const who = `${type} of ${run}`;
  const sent = (command: string): boolean => history.sent.some((it) => it.type === command && it.run === run);
  const pods =
    attempt === undefined
      ? []
      : jobsOf(history, attempt)
          .filter((it) => !it.occupant)
          .flatMap(({ uid }) => podsOf(history, uid));
  const isRestored = history.clusters.some(({ restored }) => restored);
  if (type === "run.succeeded" && attempt !== undefined && attempt.result !== "succeeded")
    return [`G5: ${who}, and its attempt ended ${attempt.result}`];
  if (type === "run.cancelled" && !sent("run.cancel")) return [`G5: ${who}, and nobody asked for it`];
  if (type === "run.lost" && codeOf(data) === "Abandoned" && !sent("run.abandon")) return [`G5: ${who}, and nobody abandoned it`];
  if (isRestored) return [];
  if (type === "run.started" && !pods.some(({ started }) => started))
    return [`G5: ${who} in generation ${generation}, and no container of it ran`];
  if (type === "run.failed" && data["started"] === "no" && pods.some(({ started }) => started))
    return [`G5: ${who} says that nothing was started, and ${pods.map(({ name }) => name).join(", ")} ran`];
  const codes = new Set(pods.flatMap(({ exitCode }) => exitCode ?? []));
  if (type === "run.failed" && typeof data["exitCode"] === "number" && codes.size > 0 && !codes.has(data["exitCode"]))
    return [`G5: ${who} says exit code ${data["exitCode"]}, and it was ${[...codes].join(", ")}`];
  return [];
}

const codeOf = (data: EventRow["data"]): unknown =>
  typeof data["diagnosis"] === "object" && data["diagnosis"] !== null && "code" in data["diagnosis"]
    ? data["diagnosis"].code
    : undefined;

/** Pods that were not over when a run's end was told, or came after it, until a restart. */
function ranBehind(history: History, end: EventRow): readonly string[] {
  if (!ENDS.includes(end.type) || codeOf(end.data) === "Abandoned" || history.clusters.some(({ restored }) => restored))
    return [];
  const restarted = history.ledger.events.find((it) => it.run === end.run && it.generation > end.generation);
  const pods = history.ledger.attempts
    .filter(({ run }) => run === end.run)
    .flatMap(({ name, uid }) => jobsNamed(history, name).filter((it) => it.uid === uid || !isByOthers(history, name)))
    .flatMap(({ uid }) => podsOf(history, uid))
    .filter(({ createdMs }) => restarted === undefined || createdMs < restarted.atMs);
  return pods.flatMap((pod) => {
    if (pod.createdMs > end.atMs)
      return [`G10: the pod ${pod.name} of ${end.run} was created behind ${end.type}, at ${at(pod.createdMs)}`];
    const seen = Math.min(pod.finishedMs ?? Infinity, pod.goneMs ?? Infinity);
    const over = seen > end.atMs ? Math.min(seen, deletedMs(history, pod)) : seen;
    return over > end.atMs
      ? [
          `G10: ${end.type} of ${end.run} was told at ${at(end.atMs)}, and its pod ${pod.name} ran ${Number.isFinite(over) ? `until ${at(over)}` : "on"}`,
        ]
      : [];
  });
}

/**
 * When the cluster took away a pod that is gone, by its own log: a watch on a busy machine is told of it a moment late. The last
 * DELETE is the kubelet's, when all has ended; of one before, the pod was only told to end. The pocket's kubelet asks nobody.
 */
function deletedMs({ clusters }: History, { name, goneMs }: PodLife): number {
  if (goneMs === undefined) return Infinity;
  const deleted = clusters
    .filter(({ launcher }) => launcher !== "")
    .flatMap(({ asked }) => asked.filter((it) => it.verb === "delete" && it.resource === "pods" && it.name === name && it.status === 200)); // biome-ignore format: one line
  return deleted.at(-1)?.atMs ?? Infinity;
}

const jobsNamed = ({ clusters }: History, name: string): readonly JobLife[] =>
  clusters.flatMap(({ jobs }) => jobs.filter((it) => it.name === name));

/** In a run of one step: only Complete beats a cancel that was recorded, and only an abandoning ends the waiting for it. */
function cancels({ ledger, sent }: History): readonly string[] {
  const stories = Map.groupBy(ledger.events, ({ run }) => run);
  return ledger.runs.flatMap(({ id, outcome, simple, generation }) => {
    const story = (stories.get(id) ?? []).filter((it) => it.generation === generation);
    const taken = story.some(({ type }) => type === "run.cancelling");
    const abandoned = sent.some(({ type, run }) => type === "run.abandon" && run === id);
    if (!taken || !simple || outcome === undefined || outcome === "cancelled" || outcome === "succeeded") return [];
    return outcome === "lost" && abandoned ? [] : [`G10: the cancel of ${id} was recorded, and it ended ${outcome}`];
  });
}

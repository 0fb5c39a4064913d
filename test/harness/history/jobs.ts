/** G3 and G4: at most one Job of an attempt ran, and every Job that ended was recorded before it was let go. */
import {
  at,
  type AttemptRow,
  type ClusterHistory,
  type EventRow,
  type History,
  isByOthers,
  isMade,
  isOurs,
  type JobLife,
  jobsOf,
  podsOf,
} from "./journals.ts";

export function faultsOfJobs(history: History): readonly string[] {
  return [
    ...history.clusters.flatMap((cluster) => [...strangers(history, cluster), ...unseen(cluster), ...released(history, cluster)]),
    ...history.ledger.attempts.flatMap((attempt) => [
      ...surplus(history, attempt),
      ...overlapping(history, attempt),
      ...recorded(history, attempt),
    ]),
  ];
}

function strangers({ ledger }: History, cluster: ClusterHistory): readonly string[] {
  const names = new Set(ledger.attempts.map(({ name }) => name));
  const made = cluster.asked.filter((it) => isMade(it) && isOurs(cluster, it.user));
  return made
    .filter(({ name }) => !names.has(name))
    .map(({ name }) => `G3: ${name} was created in ${cluster.group}, and no attempt has that name`);
}

/** A judge who missed something says so, instead of acquitting. */
function unseen(cluster: ClusterHistory): readonly string[] {
  if (cluster.restored) return [];
  const made = Map.groupBy(cluster.asked.filter(isMade), ({ name }) => name);
  return [...made].flatMap(([name, creates]) => {
    const seen = cluster.jobs.filter((it) => it.name === name).length;
    return seen < creates.length
      ? [`The watch of ${cluster.group} saw ${seen} Jobs ${name}, and ${creates.length} were created`]
      : [];
  });
}

function surplus(history: History, attempt: AttemptRow): readonly string[] {
  const all = history.clusters.flatMap(({ jobs }) => jobs).filter((it) => it.name === attempt.name && !it.occupant);
  const isExcused =
    isByOthers(history, attempt.name) ||
    all.some(({ stripped }) => stripped) ||
    history.clusters.some(({ restored }) => restored);
  const ran = all.filter(({ uid }) => podsOf(history, uid).length > 0);
  const left = all.filter((it) => it.uid !== attempt.uid && !it.gone);
  return [
    ...(ran.length > 1 && !isExcused ? [`G3: ${ran.length} Jobs ${attempt.name} of ${attempt.run} had pods`] : []),
    ...(left.length > 0 && attempt.uid !== undefined
      ? [`G3: a surplus Job ${attempt.name} of ${attempt.run} is still there`]
      : []),
  ];
}

/** A second the clusters' own times are coarse by. */
const COARSE_MS = 1_000;

function overlapping(history: History, attempt: AttemptRow): readonly string[] {
  const next = history.ledger.attempts.find((it) => it.run === attempt.run && it.step === attempt.step && it.n === attempt.n + 1);
  const began = next && jobsOf(history, next).find(({ occupant }) => !occupant)?.createdMs;
  if (began === undefined) return [];
  const late = jobsOf(history, attempt)
    .flatMap(({ uid }) => podsOf(history, uid))
    .filter((pod) => Math.min(pod.finishedMs ?? Infinity, pod.goneMs ?? Infinity) > began + COARSE_MS);
  return late.map(
    ({ name }) => `G3: the pod ${name} still ran when the next attempt of ${attempt.run} was created at ${at(began)}`,
  );
}

function recorded(history: History, attempt: AttemptRow): readonly string[] {
  const cluster = history.clusters.find(({ group }) => group === attempt.group);
  const job = jobsOf(history, attempt).find(({ uid }) => uid === attempt.uid);
  if (job === undefined || cluster === undefined) return [];
  const hasEnded = job.complete || job.failed;
  const told = history.passed.some(({ type, data }) => type === "job.ended" && uidOf(data) === job.uid);
  const looked = cluster.asked.some((it) => it.verb === "get" && it.name === job.name && isOurs(cluster, it.user));
  return [
    ...(hasEnded && attempt.result === undefined
      ? [`G4: the Job ${job.name} of ${attempt.run} ended, and its outcome is not recorded`]
      : []),
    ...(hasEnded && history.factsPassed && !told && !looked
      ? [`G4: the Job ${job.name} of ${attempt.run} ended, and no fact told so`]
      : []),
    ...(attempt.state === "done" && job.held && !job.gone
      ? [`G4: the hold is still on the Job ${job.name} of ${attempt.run}, which is done`]
      : []),
  ];
}

const uidOf = (data: Readonly<Record<string, unknown>>): unknown =>
  typeof data["about"] === "object" && data["about"] !== null && "uid" in data["about"] ? data["about"].uid : undefined;

const RECORDED = /^run\.(succeeded|failed|cancelled|lost|attempt\.failed|step\.)/;

/** Our first patch of a Job is its release: an event that its end was recorded with must be older. */
function released(history: History, cluster: ClusterHistory): readonly string[] {
  if (cluster.restored || cluster.launcher === "") return [];
  const patches = cluster.asked.filter(
    (it) => it.verb === "patch" && it.resource === "jobs" && it.status === 200 && isOurs(cluster, it.user),
  );
  const stories = Map.groupBy(history.ledger.events, ({ run }) => run);
  return history.ledger.attempts.flatMap((attempt) => {
    const jobs: readonly JobLife[] = cluster.jobs.filter(({ name }) => name === attempt.name);
    const [first] = patches
      .filter(({ name }) => name === attempt.name)
      .map(({ atMs }) => atMs)
      .toSorted((a, b) => a - b);
    // Of several under one name this cannot tell which was patched; a stripped hold is put back by a patch.
    if (first === undefined || jobs.length !== 1 || jobs.some((it) => it.stripped || it.occupant)) return [];
    const ends = (stories.get(attempt.run) ?? []).filter(
      ({ type, data }: EventRow) => RECORDED.test(type) && isOf(attempt, data),
    );
    return ends.some(({ atMs }) => atMs <= first)
      ? []
      : [`G4: the hold was taken off ${attempt.name} of ${attempt.run} at ${at(first)}, before its outcome was recorded`];
  });
}

const isOf = ({ step, n }: AttemptRow, data: EventRow["data"]): boolean =>
  (data["step"] === undefined || data["step"] === step) && (data["attempt"] === undefined || data["attempt"] === n);

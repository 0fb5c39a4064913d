/**
 * Decides which facts to publish about one Job, given the facts published before and the present view.
 *
 * Pods are watched for speed, the Job for truth: pods show that something started or stalls, and only the Job's own condition
 * shows that it ended. An end is published again and again until the launcher takes the hold off, which is its receipt.
 *
 * The bugs this prevents: an end inferred from a pod, a log or an absence, after which the Job turns out to be alive; an end
 * published once, to nobody; and a thousand repetitions of the same stall.
 *
 * The caller keeps `said` only after the broker confirmed every fact, so that an unconfirmed fact is made again.
 */
import type { About, Evidence, FactData, LogTail } from "@longshore/contract/messages/fact.ts";
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { diagnoseEvents } from "../diagnosis/jobs.ts";
import { diagnosePodsEnd, diagnoseStall, isPullUnexplained, type Pulls, rememberPulls } from "../diagnosis/pods.ts";
import { causeKey } from "../diagnosis/repeat.ts";
import { isNewer } from "../run/record.ts";
import {
  endedUnstarted,
  evidenceOf,
  evidenceOfPod,
  hasRun,
  isFailureBelieved,
  isLookedDeleted,
  mainOf,
  telling,
  tellingOf,
} from "./evidence.ts";
import { countsOf, tenthsOf, toldSlices } from "./slices.ts";
import { type EventSeen, finishedCondition, isUnfinished, type JobSeen, type PodSeen } from "./seen.ts";

type JobFact = "job.started" | "job.stalled" | "job.resumed" | "job.progressed" | "job.ended" | "job.deleting" | "job.deleted";

/** A fact without its envelope. */
export type FactDraft = { readonly [T in JobFact]: { readonly type: T; readonly data: FactData<T> } }[JobFact];

/** All that a watcher remembers of a Job. */
export interface Said {
  readonly about: About;
  /** By the watcher's own clock: the cluster's may differ by an hour. */
  readonly sinceMs: number;
  readonly started: boolean;
  /** The cause of the stall that was told last, and when it was told. */
  readonly stalled: { readonly key: string; readonly progress: number; readonly toldMs: number } | undefined;
  readonly standing: Standing | undefined;
  /** In how many tenths of its slices the Job had got an end when that was told last. */
  readonly tenths?: number;
  /** We took the hold off: nothing more is published about this Job. */
  readonly released: boolean;
  readonly pulls: Pulls;
  /** Pods that ended without starting anything, remembered because a moment later they are gone and show nothing any more. */
  readonly unstarted: readonly string[];
  readonly askedEventsMs: number | undefined;
  /** The cause of a pod's end when it was last seen: an evicted or preempted pod is gone before its Job has failed. */
  readonly cause: Diagnosis | undefined;
}

/**
 * The fact that is repeated until the hold is gone: an end, or a deletion. "drained": the deletion waits for nothing but our
 * hold.
 */
interface Standing {
  readonly what: "Complete" | "Failed" | "deleting" | "drained";
  readonly times: number;
  readonly repeatAtMs: number | undefined;
}

export interface JobAndPods {
  readonly job: JobSeen;
  readonly pods: readonly PodSeen[];
  /** Pods that were seen to end without starting anything, and may be gone by now. */
  readonly unstarted?: readonly string[];
  /** Events about the object that `want` named, if they were asked for. */
  readonly events?: readonly EventSeen[];
}

export interface LogWanted {
  readonly kind: "logs";
  readonly pod: string;
  readonly container: string;
  /** The logs of slices, by index. */
  readonly slices?: readonly { readonly index: number; readonly pod: string; readonly container: string }[];
}

/** The caller has to fetch this: a log to put into the fact of the end (`withLog`), or Events for another call of `facts`. */
export type Want = LogWanted | { readonly kind: "events"; readonly uid: string };

export interface Telling {
  readonly facts: readonly FactDraft[];
  /** To be kept once the facts are confirmed; `undefined`: forget this Job. */
  readonly said: Said | undefined;
  readonly want: Want | undefined;
  /**
   * The log for an end that is still to come. It is read once the facts are published, because the pod ends before its Job and
   * may be gone first.
   */
  readonly early?: LogWanted | undefined;
  /** When to read this Job again and call again, even if no change was seen. */
  readonly dueMs: number | undefined;
}

const MINUTE_MS = 60_000;
const REPEAT_AFTER_MS = [1, 2, 5, 10].map((minutes) => minutes * MINUTE_MS);
/**
 * A scheduler may name another cause each time. A change of cause is told after this time, with the cause that it names then.
 */
const OTHER_CAUSE_MS = 30_000;
const EVENTS = { withoutPodsMs: 5_000, creatingMs: 20_000, againMs: 30_000 };

export function facts(said: Said | undefined, seen: JobAndPods, nowMs: number): Telling {
  const { job } = seen;
  const before = said?.about.uid === job.uid ? said : undefined;
  const about = before ? newest(before.about, seen) : aboutOf(seen);
  // Only the launcher handles occupants, and a Job without our mark is not ours: no fact is told of either.
  if (about === undefined || about.occupant === true) return { facts: [], said: before, want: undefined, dueMs: undefined };

  const pulls = rememberPulls(before?.pulls ?? {}, seen);
  const cause = diagnosePodsEnd(seen) ?? before?.cause;
  const unstarted = rememberUnstarted([...new Set([...(before?.unstarted ?? []), ...(seen.unstarted ?? [])])], seen.pods);
  const known: Said = { ...(before ?? silence(about, nowMs)), about, pulls, cause, unstarted };
  const finished = finishedCondition(job);
  if (finished && (finished.type === "Complete" || isFailureBelieved(job, seen.pods)))
    return ended(known, seen, finished.type, nowMs);
  if (job.deletionAt !== undefined) return deleting(known, seen, nowMs);
  return alive(known, seen, nowMs);
}

/**
 * For a Job that left the watch or the listing: an authoritative GET of its name tells why. Without it, a Job whose label
 * somebody removed, and which runs on, would be called deleted.
 */
export function afterGet(said: Said | undefined, found: Omit<JobAndPods, "events"> | undefined, nowMs: number): Telling {
  if (said !== undefined && found?.job.uid === said.about.uid) {
    const telling = facts(said, found, nowMs);
    // No watch will show this Job any more.
    return found.job.mark ? telling : { ...telling, dueMs: Math.min(telling.dueMs ?? Infinity, nowMs + MINUTE_MS) };
  }
  const untold = said !== undefined && !said.released && said.about.occupant !== true;
  const deleted = untold ? [{ type: "job.deleted", data: { about: said.about } } as const] : [];
  return { facts: deleted, said: undefined, want: undefined, dueMs: undefined };
}

/** The facts that carry a log: an end, and a deletion, after which there is no log to read. */
export const carriesLog = ({ type }: FactDraft): boolean => type === "job.ended" || type === "job.deleting";

/** Puts the log into the fact, once the log was read. */
export function withLog(draft: FactDraft, log: LogTail): FactDraft {
  if (draft.type === "job.deleting") return { ...draft, data: { ...draft.data, log } };
  return draft.type === "job.ended" ? { ...draft, data: { ...draft.data, evidence: { ...draft.data.evidence, log } } } : draft;
}

/** Puts the logs of slices into the fact of the end. */
export function withSliceLogs(draft: FactDraft, logs: ReadonlyMap<number, LogTail>): FactDraft {
  if (draft.type !== "job.ended" || draft.data.evidence.slices === undefined) return draft;
  const { slices } = draft.data.evidence;
  const told = slices.told?.map((it) => ({ ...it, ...(logs.has(it.index) && { log: logs.get(it.index) }) }));
  return {
    ...draft,
    data: { ...draft.data, evidence: { ...draft.data.evidence, slices: { ...slices, ...(told && { told }) } } },
  };
}

function ended(known: Said, seen: JobAndPods, condition: "Complete" | "Failed", nowMs: number): Telling {
  const { about, pulls } = known;
  if (!seen.job.awaited && seen.job.ttlSeconds !== undefined)
    return { facts: [], said: { ...known, released: true, standing: undefined }, want: undefined, dueMs: undefined };
  const evidence = withStart(explained(evidenceOf(seen.job, { pods: seen.pods, pulls }), known.cause), known, seen);
  return standing(
    known,
    seen.job,
    { what: condition, fact: { type: "job.ended", data: { about, condition, evidence } }, want: logsOf(seen) },
    nowMs,
  );
}

const UNSTARTED_MOST = 16;

export function rememberUnstarted(before: readonly string[], pods: readonly PodSeen[]): readonly string[] {
  const more = pods.filter((pod) => endedUnstarted(pod) && !before.includes(pod.uid)).map(({ uid }) => uid);
  return more.length === 0 ? before : [...before, ...more].slice(-UNSTARTED_MOST);
}

/** Says that nothing started if every pod that the Job counts was seen to end without starting anything. */
function withStart(evidence: Evidence, { started, unstarted }: Said, { job, pods }: JobAndPods): Evidence {
  const all = unstarted.length >= Math.max(1, job.active + job.failed) && pods.every(({ uid }) => unstarted.includes(uid));
  return evidence.started === "unknown" && !started && all ? { ...evidence, started: "no" } : evidence;
}

/** A Job says "backoff limit exceeded" for every failure, so a cause that its pods showed earlier replaces Unknown. */
const explained = (evidence: Evidence, cause: Diagnosis | undefined): Evidence =>
  evidence.diagnosis?.code !== "Unknown" || cause === undefined
    ? evidence
    : { ...evidence, diagnosis: { ...cause, evidence: [...cause.evidence, ...evidence.diagnosis.evidence] } };

function deleting(known: Said, { job, pods }: JobAndPods, nowMs: number): Telling {
  // Once "drained" is told, it stays: if a later view shows an unfinished pod, that view is older.
  const what = known.standing?.what === "drained" || isLookedDeleted(job, pods) ? "drained" : "deleting";
  const fact = { type: "job.deleting", data: { about: known.about } } as const;
  const telling = standing(known, job, { what, fact, want: logOf(pods) }, nowMs);
  return { ...telling, early: logOf(pods.filter((pod) => !isUnfinished(pod))) };
}

/** Publishes the fact at once, and again while the Job has our hold. */
function standing(
  known: Said,
  job: JobSeen,
  { what, fact, want }: { readonly what: Standing["what"]; readonly fact: FactDraft; readonly want: Want | undefined },
  nowMs: number,
): Telling {
  const before = known.standing?.what === what ? known.standing : undefined;
  const repeatAtMs = job.awaited ? before?.repeatAtMs : undefined;
  if (before && (repeatAtMs === undefined || nowMs < repeatAtMs))
    return { facts: [], said: known, want: undefined, dueMs: repeatAtMs };
  const times = (before?.times ?? 0) + 1;
  const nextMs = job.awaited ? nowMs + (REPEAT_AFTER_MS[times - 1] ?? 10 * MINUTE_MS) : undefined;
  return { facts: [fact], said: { ...known, standing: { what, times, repeatAtMs: nextMs } }, want, dueMs: nextMs };
}

function alive(known: Said, seen: JobAndPods, nowMs: number): Telling {
  const { about } = known;
  const { job, pods } = seen;
  const ran = pods.find((pod) => pod.containers.some(hasRun));
  const stall = stallOf(known, seen);
  const progress = progressOf(seen);
  // A failing pull is told before its reason is known. The reason comes from Events and may follow at once.
  const toldMs = isPullUnexplained({ pods, pulls: known.pulls }) ? -Infinity : nowMs;
  const stalled = stalledBy(known.stalled, stall, { progress, toldMs }, nowMs);
  const told: FactDraft[] = [];
  if (stall && stalled?.key !== known.stalled?.key) told.push({ type: "job.stalled", data: { about, diagnosis: stall } });
  if (known.stalled && !stalled) told.push({ type: "job.resumed", data: { about } });
  if (ran && !known.started) told.push({ type: "job.started", data: { about, evidence: evidenceOfPod(ran) } });
  const tenths = job.slices && tenthsOf(job.slices);
  if (job.slices && tenths !== undefined && tenths > (known.tenths ?? 0) && tenths < 10)
    told.push({ type: "job.progressed", data: { about, slices: countsOf(job.slices) } });

  const ask = seen.events ? undefined : askAbout(known, seen);
  const askAtMs = ask && Math.max(ask.fromMs, (known.askedEventsMs ?? -Infinity) + EVENTS.againMs);
  const want = ask && askAtMs !== undefined && nowMs >= askAtMs ? ({ kind: "events", uid: ask.uid } as const) : undefined;
  const askedEventsMs = want || seen.events ? nowMs : known.askedEventsMs;
  const again = askAbout({ ...known, askedEventsMs }, seen);
  return {
    facts: told,
    said: {
      ...known,
      started: known.started || ran !== undefined,
      stalled,
      standing: undefined,
      askedEventsMs,
      ...(tenths !== undefined && { tenths }),
    },
    want,
    // The pods of slices stay until their Job has ended.
    early: job.slices ? undefined : logOf(pods.filter((pod) => !isUnfinished(pod))),
    dueMs: soonest(
      again && Math.max(again.fromMs, (askedEventsMs ?? -Infinity) + EVENTS.againMs),
      stalled && stall && stalled.key !== causeKey(stall) ? stalled.toldMs + OTHER_CAUSE_MS : undefined,
    ),
  };
}

const soonest = (...times: readonly (number | undefined)[]): number | undefined => {
  const known = times.filter((it) => it !== undefined);
  return known.length === 0 ? undefined : Math.min(...known);
};

/** A stall ends only with progress of its pod: a moment without a pod, or without Events, is no progress. */
function stalledBy(
  before: Said["stalled"],
  now: Diagnosis | undefined,
  as: { readonly progress: number; readonly toldMs: number },
  nowMs: number,
): Said["stalled"] {
  const isFurther = before === undefined || as.progress > before.progress;
  if (now === undefined) return isFurther ? undefined : before;
  const key = causeKey(now);
  if (key === before?.key) return { ...before, progress: as.progress };
  return isFurther || nowMs >= before.toldMs + OTHER_CAUSE_MS ? { key, ...as } : before;
}

/** More slices than there is room for wait for the others, and that holds nothing up: one that runs is enough. */
function stallOf(known: Said, seen: JobAndPods): Diagnosis | undefined {
  const { job, pods, events = [] } = seen;
  if (job.slices && pods.some((pod) => isUnfinished(pod) && pod.containers.some(({ running }) => running))) return undefined;
  return diagnoseStall({ pods, pulls: known.pulls }) ?? diagnoseEvents(relevant(events, seen));
}

/** Counts how far the furthest pod got, and of slices all pods: one for the pod, one for its node, one for each container that ran. */
function progressOf({ job, pods }: JobAndPods): number {
  const each = pods.map((pod) => 1 + (pod.node === undefined ? 0 : 1) + pod.containers.filter(hasRun).length);
  return job.slices ? each.reduce((sum, it) => sum + it, 0) : Math.max(0, ...each);
}

/**
 * Returns the object whose Events are needed, and from when: a Job that gets no pod, or a pod that does not say what it waits
 * for.
 */
function askAbout(known: Said, { job, pods }: JobAndPods): { readonly uid: string; readonly fromMs: number } | undefined {
  if (pods.length === 0) return job.suspended ? undefined : { uid: job.uid, fromMs: known.sinceMs + EVENTS.withoutPodsMs };
  const silent = pods.find((pod) => isUnfinished(pod) && pod.node !== undefined && !pod.containers.some(hasRun));
  if (silent === undefined) return undefined;
  if (isPullUnexplained({ pods: [silent], pulls: known.pulls })) return { uid: silent.uid, fromMs: known.sinceMs };
  const creating = silent.containers.every(
    ({ waiting }) => waiting === undefined || /^(ContainerCreating|PodInitializing)$/.test(waiting.reason ?? ""),
  );
  return creating ? { uid: silent.uid, fromMs: known.sinceMs + EVENTS.creatingMs } : undefined;
}

/** A Job's Events are kept for an hour: an old reason why it got no pod says nothing about the pod that it has now. */
const relevant = (events: readonly EventSeen[], { job, pods }: JobAndPods): readonly EventSeen[] =>
  events.filter(({ about }) =>
    pods.length === 0 ? about === job.uid : pods.some((pod) => pod.uid === about && !pod.containers.some(hasRun)),
  );

const logOf = (pods: readonly PodSeen[]): LogWanted | undefined => logOfPod(telling(pods));

/** The log of the container that ran: ours, or the init container that kept ours from starting. */
function logOfPod(pod: PodSeen | undefined): LogWanted | undefined {
  if (pod === undefined) return undefined;
  const main = mainOf(pod);
  const container = main && hasRun(main) ? main : pod.containers.filter(hasRun).at(-1);
  return container && { kind: "logs", pod: pod.name, container: container.name };
}

/** Of slices, the log of the first that failed, and of some more. */
function logsOf({ job, pods }: JobAndPods): LogWanted | undefined {
  const first = logOfPod(tellingOf(job, pods));
  if (first === undefined || job.slices === undefined) return first;
  const slices = toldSlices(job, pods).flatMap((pod) => {
    const { container } = logOfPod(pod) ?? {};
    return container === undefined || pod.index === undefined ? [] : [{ index: pod.index, pod: pod.name, container }];
  });
  return { ...first, slices };
}

const silence = (about: About, nowMs: number): Said => ({
  about,
  sinceMs: nowMs,
  started: false,
  stalled: undefined,
  standing: undefined,
  released: false,
  pulls: {},
  unstarted: [],
  askedEventsMs: undefined,
  cause: undefined,
});

function aboutOf(seen: JobAndPods): About | undefined {
  const { mark, namespace, name, uid, resourceVersion } = seen.job;
  if (mark === undefined) return undefined;
  const { occupant, ...of } = mark;
  return newest({ ...of, namespace, name, uid, resourceVersion, ...(occupant && { occupant }) }, seen);
}

const newest = (about: About, { job, pods }: JobAndPods): About => ({
  ...about,
  resourceVersion: [job, ...pods].reduce(
    (rv, it) => (isNewer(it.resourceVersion, rv) ? it.resourceVersion : rv),
    about.resourceVersion,
  ),
});

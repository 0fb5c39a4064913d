/**
 * One group: follows its Jobs and pods, and publishes what they do.
 *
 *   follow Jobs ─┐
 *                ├─▶ job cache ─▶ consider: is there a fact? ─▶ publish (broker) ─▶ remember that it was published
 *   follow pods ─┘      ▲                │
 *        due: repeats ──┘                └─▶ read a log, Events, or look at the API server itself
 *
 * It decides nothing: domain/watch/facts.ts says which facts there are, and the launcher says what they mean. A fact is
 * remembered as published only after the broker confirmed it, so a process that dies at any line publishes it again.
 */
import type { LogTail } from "@longshore/contract/messages/fact.ts";
import type { Uid } from "@longshore/contract/ids.ts";
import {
  afterGet,
  carriesLog,
  type FactDraft,
  facts,
  rememberUnstarted,
  type Said,
  type Telling,
  withLog,
  withSliceLogs,
} from "@longshore/domain/watch/facts.ts";
import { selectorOf } from "@longshore/domain/run/marks.ts";
import { lacksOutputs } from "@longshore/domain/watch/evidence.ts";
import { finishedCondition, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import type { Change } from "@longshore/kubernetes/follow/follow.ts";
import { type Loop, wakeUp, every, together } from "@longshore/runtime/loop.ts";
import { eventsOf, lookAt, openLogs, podsOf, sliceLogs } from "./read-evidence.ts";
import { type CachedJob, openJobCache } from "./job-cache.ts";
import type { Parts, Watched } from "./parts.ts";
import { factPublisher } from "./publish-facts.ts";
import { watchPrepared } from "./watch-prepared.ts";

/** API servers end each watch after some minutes, and nobody needs to know. The other unnamed reasons are for info. */
const LEVELS: Readonly<Partial<Record<Extract<Change, { kind: "broken" }>["reason"], "debug" | "warn">>> = {
  ended: "debug",
  rejected: "warn",
  forbidden: "warn",
};

/** At most this many Jobs are considered at the same time; each may wait for a log or for the broker. */
const CONSIDERED_MOST = 32;
/** An ended Job waits this long for its pods to be read: without their exit code nobody can explain the end. */
const EVIDENCE_WITHIN_MS = 60_000;

/** Each group has a loop of its own, so that a dead cluster hurts no other. */
export const watcherLoops = (parts: Parts): Readonly<Record<string, Loop>> =>
  Object.fromEntries(
    parts.clusters.map((cluster) => [`watch ${cluster.name}`, (signal: AbortSignal) => watchGroup(parts, cluster, signal)]),
  );

export async function watchGroup(parts: Omit<Parts, "clusters">, cluster: Watched, signal: AbortSignal): Promise<void> {
  const { clock, log, metrics, installation, timing } = parts;
  const tell = factPublisher(parts);
  const cache = openJobCache();
  const logs = openLogs(cluster);
  const beganMs = clock.now();
  const fresh = { jobs: undefined as number | undefined, pods: undefined as number | undefined };
  const waiting = new Set<Uid>(); // to be considered; a Job that changes ten times meanwhile is considered once
  const busy = new Set<Uid>();
  const unread = new Map<Uid, number>(); // since when the pods of an ended Job could not be read
  const failed = new AbortController();
  const synced = wakeUp(clock); // the first heartbeat comes early, because a group without one is reported as unwatched after 90 s

  const withdraw = parts.liveLogs?.offer(cluster);
  await together(AbortSignal.any([signal, failed.signal]), {
    jobs: (signal) => followJobs(signal),
    pods: (signal) => followPods(signal),
    ...(cluster.annotation && { prepared: watchPrepared(parts, cluster, { tell, annotation: cluster.annotation }) }),
    due: (signal) => every({ clock, ms: timing.dueMs, signal }, async () => lookForDue()),
    heartbeat: (signal) => every({ clock, ms: timing.heartbeatMs, signal, wakeUp: synced }, () => beat(signal)),
    // Measures apart from the heartbeat, which stands still while the broker is away.
    measure: (signal) => every({ clock, ms: timing.heartbeatMs, signal }, async () => void measure()),
  }).finally(withdraw);
  failed.signal.throwIfAborted();

  async function followJobs(signal: AbortSignal): Promise<void> {
    let listed = new Set<Uid>();
    for await (const change of cluster.follow({ kind: "jobs", selector: selectorOf(installation), signal })) {
      note("jobs", change);
      if (change.kind === "listing") listed = new Set();
      else if (change.kind === "gone") vanished(seeJob(change.object)?.uid);
      else if (change.kind === "seen") {
        const uid = seenJob(change.object);
        if (uid !== undefined && change.listed) listed.add(uid);
      }
      // A Job that a whole listing does not show was removed during a gap of the watch.
      else if (change.kind === "listed") {
        for (const uid of cache.uids()) if (!listed.has(uid)) vanished(uid);
        listed = new Set();
      }
    }
  }

  async function followPods(signal: AbortSignal): Promise<void> {
    let listed = new Set<Uid>();
    for await (const change of cluster.follow({ kind: "pods", selector: selectorOf(installation), signal })) {
      note("pods", change);
      if (change.kind === "listing") listed = new Set();
      else if (change.kind === "listed") {
        await dropPods(listed, signal);
        listed = new Set();
      } else if (change.kind === "seen" || change.kind === "gone") {
        const pod = seePod(change.object);
        if (pod === undefined) continue;
        if (change.kind === "seen" && change.listed) {
          listed.add(pod.uid);
          if (cache.peek(pod.jobUid)?.pods.get(pod.uid)?.resourceVersion === pod.resourceVersion) continue;
        }
        const isGone = change.kind === "gone";
        cache.change(pod.jobUid, (known) => {
          known.unstarted = rememberUnstarted(known.unstarted, [pod]);
          if (isGone) known.pods.delete(pod.uid);
          else known.pods.set(pod.uid, pod);
        });
        // A pod may leave the watch after its Job: then nothing is left to consider.
        if (cache.has(pod.jobUid)) consider(pod.jobUid);
      }
    }
  }

  function seenJob(object: unknown): Uid | undefined {
    const job = seeJob(object);
    if (job === undefined) return undefined;
    // A new listing shows 50,000 Jobs again, of which perhaps ten have changed.
    if (cache.isAt(job.uid, job.resourceVersion)) return job.uid;
    cache.change(job.uid, (known) => {
      known.job = job;
      known.vanished = false;
    });
    consider(job.uid);
    return job.uid;
  }

  function vanished(uid: Uid | undefined): void {
    const known = uid === undefined ? undefined : cache.peek(uid);
    // If only a pod of the Job was seen, there is nothing to report.
    if (uid === undefined || (known?.job === undefined && known?.said === undefined)) return;
    cache.change(uid, (known) => void (known.vanished = true));
    consider(uid);
  }

  async function dropPods(listed: ReadonlySet<Uid>, signal: AbortSignal): Promise<void> {
    for (const [at, uid] of cache.uids().entries()) {
      if (at % 500 === 499) await clock.sleep(0, signal); // other work runs while 50,000 Jobs are gone through
      const left = [...(cache.peek(uid)?.pods.keys() ?? [])].filter((pod) => !listed.has(pod));
      if (left.length > 0) cache.change(uid, ({ pods }) => left.forEach((pod) => pods.delete(pod)));
    }
  }

  function lookForDue(): void {
    for (const uid of cache.dueUntil(clock.now())) consider(uid);
  }

  function consider(uid: Uid): void {
    waiting.add(uid);
    startConsidering();
  }

  function startConsidering(): void {
    for (const uid of waiting) {
      if (busy.size >= CONSIDERED_MOST || fresh.pods === undefined) return; // before the pods are listed, an end would be published without its evidence
      if (busy.has(uid)) continue;
      waiting.delete(uid);
      busy.add(uid);
      considerOne(uid, signal)
        .catch((bug: unknown) => failed.abort(bug))
        .finally(() => {
          busy.delete(uid);
          cache.close(uid);
          if (!signal.aborted) startConsidering();
        });
    }
  }

  async function considerOne(uid: Uid, signal: AbortSignal): Promise<void> {
    const known = cache.open(uid);
    if (known === undefined || (known.job === undefined && known.said === undefined)) return;
    const telling = await whatToSay(known, signal);
    if (telling === "later") {
      cache.due(uid, clock.now() + 2_000);
      return;
    }
    unread.delete(uid);
    const log = telling.facts.some(carriesLog)
      ? await logs.ofEnd(uid, telling.want?.kind === "logs" ? telling.want : undefined, signal)
      : undefined;
    const ofSlices = telling.want?.kind === "logs" ? await sliceLogs(cluster, telling.want, signal) : new Map<number, LogTail>();
    for (const draft of telling.facts) {
      const fact = withSliceLogs(log === undefined ? draft : withLog(draft, log), ofSlices);
      if ((await tell(fact.type, fact.data, signal)) === "stopped") return;
      logFailure(fact, known.said);
    }
    known.said = telling.said;
    if (telling.early !== undefined) await logs.readEarly(uid, telling.early, signal);
    cache.due(uid, telling.dueMs);
    if (known.vanished && telling.said === undefined) cache.forget(uid);
    if (known.job !== undefined && finishedCondition(known.job)) known.pods.clear(); // the end is published: a repeat reads the pods again
  }

  /**
   * Logs a failure once, for monitoring while the launcher is away. The fact itself is repeated until the Job's hold is off. A
   * deletion is not logged: the launcher may have deleted the pod, and only it knows why.
   */
  function logFailure({ type, data }: FactDraft, before: Said | undefined): void {
    if (type !== "job.ended" || data.condition === "Complete" || before?.standing?.what === "Failed") return;
    const { run, step, attempt, group } = data.about;
    const { code, sentence } = data.evidence.diagnosis ?? {};
    if (code === "DeletedExternally") return;
    log.warn("attempt.failed", { run, step, attempt, group, code, sentence });
  }

  async function whatToSay(known: CachedJob, signal: AbortSignal): Promise<Telling | "later"> {
    if (known.vanished || known.job === undefined) {
      const name = known.job?.name ?? known.said?.about.name;
      const found = name === undefined ? "missing" : await lookAt(cluster, name, signal);
      if (found === "unseen") return "later";
      return afterGet(known.said, found === "missing" ? undefined : found, clock.now());
    }
    const { job, unstarted } = known;
    const pods = [...known.pods.values()];
    const telling = facts(known.said, { job, pods, unstarted }, clock.now());
    if (telling.want?.kind === "events")
      return facts(known.said, { job, pods, unstarted, events: await eventsOf(cluster, telling.want, signal) }, clock.now());
    // Maybe none of these pods has ended: a Job's end may arrive before its pods' ends, and repeats come after the pods were
    // dropped.
    const complete = pods.some((pod) => pod.containers.some(({ terminated }) => terminated !== undefined));
    const finished = finishedCondition(job);
    // A program may write an output as an annotation just before it ends. The watch may show the Job's end before that.
    const lacks = job.slices !== undefined || (finished?.type === "Complete" && lacksOutputs(job, pods));
    const whole = complete && !lacks;
    if (telling.facts.length === 0 || whole || finished === undefined) return telling;
    const read = await podsOf(cluster, job.uid, signal);
    // If the pod is gone meanwhile, what was seen of it before still tells how it ended.
    if (read !== undefined)
      return facts(known.said, { job, pods: complete && read.length === 0 ? pods : read, unstarted }, clock.now());
    const sinceMs = unread.get(job.uid) ?? clock.now();
    unread.set(job.uid, sinceMs);
    return clock.now() - sinceMs < EVIDENCE_WITHIN_MS ? "later" : telling;
  }

  function note(kind: "jobs" | "pods", change: Change): void {
    if (change.kind === "broken")
      log[LEVELS[change.reason] ?? "info"]("a watch broke and is started again", {
        group: cluster.name,
        kind,
        reason: change.reason,
        said: change.message,
        retryInMs: change.retryInMs,
      });
    else if (change.kind === "listing")
      metrics.count("longshore_watch_relists_total", { group: cluster.name, reason: change.reason });
    else if (change.kind === "listed") {
      const first = fresh[kind] === undefined;
      fresh[kind] = change.asOfMs;
      if (first) {
        startConsidering();
        synced.wake();
        if (fresh.jobs !== undefined && fresh.pods !== undefined) log.info("the watcher sees a group", { group: cluster.name });
      }
      // A Job within a listing does not make the view fresh: Jobs that the listing has not shown yet are as old as before.
    } else if (fresh[kind] !== undefined && !(change.kind === "seen" && change.listed)) fresh[kind] = clock.now();
  }

  async function beat(signal: AbortSignal): Promise<void> {
    if (fresh.jobs === undefined || fresh.pods === undefined) return;
    await tell("group.watched", { group: cluster.name, watcher: parts.owner, staleSeconds: measure() }, signal);
  }

  function measure(): number {
    const { jobs = beganMs, pods = beganMs } = fresh;
    const staleSeconds = Math.max(0, (clock.now() - Math.min(jobs, pods)) / 1000);
    metrics.set("longshore_watch_staleness_seconds", { group: cluster.name }, staleSeconds);
    return staleSeconds;
  }
}

/**
 * Compares ledger and Jobs: a reading of the ledger, the cluster's listing, a second reading of the ledger. It acts only on
 * what both readings agree on, so that work in between is never taken for a fault.
 *
 * The bug this prevents: a Job that nobody remembers, or an attempt whose Job nobody will ever report on. The gauge
 * `longshore_unaccounted` must read 0.
 */
import { allowsAnchors } from "@longshore/contract/group-settings.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { ANNOTATIONS, LABELS, selectorOf } from "@longshore/domain/run/marks.ts";
import { isParked } from "@longshore/domain/run/record.ts";
import { at, text } from "@longshore/domain/watch/raw.ts";
import { type MarkedSeen, seeMarked } from "@longshore/domain/watch/seen.ts";
import { AnswerFailure } from "@longshore/kubernetes/request/read.ts";
import type { Ledger, Standing } from "@longshore/ledger/port.ts";
import { remainsOf, saidOf } from "../jobs/look.ts";
import { viewOf } from "../groups/views.ts";
import type { Cluster, Parts } from "../parts.ts";
import { isAnchorMissing } from "../jobs/missing-anchor.ts";
import { holdAgain, withReadRefusalTold } from "../jobs/refusals.ts";
import { retryLoop } from "./retry-loop.ts";

export interface Tallied {
  readonly jobs: number;
  readonly adopted: number;
  readonly strays: number;
  readonly gone: number;
  readonly holdsRepaired: number;
  /** Jobs and anchors with our marks whose proof is not ours, or whose run the ledger does not know: they are counted, never touched. */
  readonly unknown: number;
}

/** Counts of unknown Jobs, by group: one group's count must not vanish with the next group's tally. */
export type Unknown = Map<GroupName, number>;

export function tally(parts: Parts, cluster: Cluster, unknown: Unknown) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: `tally ${cluster.name}`, ms: parts.timing.tallyMs, signal }, async (signal) => {
      const mine = await parts.ledger.lease(`tally ${cluster.name}`, parts.owner, parts.timing.tallyMs);
      if (!mine) unknown.delete(cluster.name); // another launcher tallies this group, and publishes the gauge
      // The gauge is set before the cluster is asked: if the cluster is away, a mended fault must not be shown for ever, and
      // other groups' faults must not be hidden.
      await unaccounted(parts, unknown);
      if (!mine || viewOf(parts, cluster.name).namespaceUid === undefined) return;
      const found = await tallyOnce(parts, cluster, signal);
      unknown.set(cluster.name, found.unknown);
      await parts.ledger.setGroup(cluster.name, { tally: { unknown: found.unknown } });
      parts.metrics.set("longshore_tally_last_success_timestamp_seconds", { group: cluster.name }, parts.clock.now() / 1000);
      await unaccounted(parts, unknown);
      if (found.adopted + found.strays + found.gone + found.holdsRepaired + found.unknown > 0)
        parts.log.warn("the tally found differences", { group: cluster.name, ...found });
    });
}

/** Throws if the cluster could not be listed whole: nothing follows from half a listing. */
export async function tallyOnce(parts: Parts, cluster: Cluster, signal: AbortSignal): Promise<Tallied> {
  const before = new Map(await parts.ledger.standing(cluster.name, (it) => [keyOf(it.run, it.attempt), it.attempt.uid] as const));
  const jobs = await listOurs(parts, cluster, signal);
  const after = new Map(await parts.ledger.standing(cluster.name, (it) => [keyOf(it.run, it.attempt), standingOf(it)] as const));
  const count = { jobs: jobs.length, adopted: 0, strays: 0, gone: 0, holdsRepaired: 0, unknown: 0 };
  count.unknown += await tallyAnchors(parts, cluster, signal);
  for (const job of jobs) await settleJob(parts, cluster, job, before, after, count, signal);
  const listed = new Set<Uid>(jobs.map(({ uid }) => uid));
  for (const [key, attempt] of after) {
    const { run, step, n } = attempt;
    const known = before.get(key);
    const isListed = [attempt.uid, attempt.occupantUid].some((it) => it !== undefined && listed.has(it));
    if (attempt.parked && !isListed) await parts.recording({ run, step, n, input: { kind: "inDoubt" } });
    if (
      attempt.uid === undefined ||
      known !== attempt.uid ||
      listed.has(attempt.uid) ||
      (attempt.state !== "live" && attempt.state !== "closing")
    )
      continue;
    const remains = await remainsOf(parts, cluster, attempt, signal);
    if (remains.kind === "unproved") continue;
    await parts.recording({ run, step, n, input: saidOf(remains, attempt, cluster) });
    if (remains.kind === "gone") count.gone += 1;
  }
  return count;
}

/**
 * Returns the number of anchors that no run of the ledger has. Their deletion is a person's decision: what they own may be somebody's
 * data. If somebody deleted an anchor that an ended run keeps, the group's storage is free again, and a restart is told so.
 */
async function tallyAnchors(parts: Parts, cluster: Cluster, signal: AbortSignal): Promise<number> {
  if (!allowsAnchors(cluster.settings.policy)) return 0;
  const known = async () =>
    new Map((await parts.ledger.anchors(cluster.name)).map((it) => [parts.keys.anchorName(it.run, it.number), it] as const));
  const before = await known();
  const names = await anchorNames(parts, cluster, signal);
  if (names === undefined) return 0;
  const after = await known();
  for (const [name, anchor] of after) {
    const { run, number, state } = anchor;
    if (names.has(name) || state !== "kept" || before.get(name)?.state !== "kept") continue;
    if (await isAnchorMissing(parts, cluster, anchor, signal))
      await parts.ledger.recordAnchors([{ run, number, input: { kind: "missed" } }]);
  }
  return names.difference(before).difference(after).size;
}

async function anchorNames(parts: Parts, cluster: Cluster, signal: AbortSignal): Promise<ReadonlySet<string> | undefined> {
  let names: string[] = [];
  const selector = `${selectorOf(parts.installation)},${LABELS.anchor}`;
  try {
    for await (const page of cluster.reads.listAnchors({ selector, as: "metadata", signal })) {
      if (page.kind === "restarted") names = [];
      else
        names.push(...page.items.flatMap((it) => (groupIn(it) === cluster.name ? (text(at(it, "metadata", "name")) ?? []) : [])));
    }
  } catch (error) {
    // A Role that was printed before volumes existed: the rest of the tally must go on.
    if (!(error instanceof AnswerFailure) || error.code !== "Forbidden") throw error;
    withReadRefusalTold(parts, cluster, "counting what owns the volumes of runs", { kind: "answered", ...error.answer });
    return undefined;
  }
  return new Set(names);
}

const groupIn = (anchor: unknown): string | undefined => text(at(anchor, "metadata", "annotations", ANNOTATIONS.group));

const keyOf = (run: string, { step, n }: { readonly step: string; readonly n: number }): string => `${run} ${step} ${n}`;

/** The fields of an attempt that the tally compares. */
function standingOf({ run, attempt }: Standing) {
  const { step, n, name, uid, occupantUid, state, seenRv } = attempt;
  return { run, step, n, name, uid, occupantUid, state, seenRv, parked: isParked(attempt) };
}
type Stood = ReturnType<typeof standingOf>;

async function listOurs({ installation }: Parts, cluster: Cluster, signal: AbortSignal): Promise<readonly MarkedSeen[]> {
  let jobs: MarkedSeen[] = [];
  for await (const page of cluster.reads.listJobs({ selector: selectorOf(installation), as: "metadata", signal })) {
    if (page.kind === "restarted") jobs = [];
    else jobs.push(...page.items.flatMap((it) => seeMarked(it) ?? []));
  }
  return jobs;
}

type Count = { -readonly [K in keyof Tallied]: Tallied[K] };

async function settleJob(
  parts: Parts,
  cluster: Cluster,
  job: MarkedSeen,
  before: ReadonlyMap<string, Uid | undefined>,
  after: ReadonlyMap<string, Stood>,
  count: Count,
  signal: AbortSignal,
): Promise<void> {
  const group = cluster.name;
  const { namespaceUid } = viewOf(parts, group);
  const { mark } = job;
  if (mark === undefined || namespaceUid === undefined) return;
  if (mark.group !== group) return; // a Job of another group of ours in the same namespace: its own tally counts it
  const { run, step, attempt: n } = mark;
  if (!parts.keys.isProof(mark.proof, { run, step, attempt: n }, { group, namespaceUid })) {
    count.unknown += 1;
    return;
  }
  const key = keyOf(run, { step, n });
  const attempt = after.get(key);
  if (attempt === undefined) return await settleDone(parts.ledger, job, { run, group }, before.has(key), count);
  // A proof can be copied with the Job that carries it: a Job of another name is a copy.
  if (job.name !== attempt.name) {
    await parts.ledger.addStray({ run, kind: "stray", group, name: job.name, uid: job.uid });
    count.strays += 1;
    return;
  }
  if (attempt.parked && (job.uid === attempt.uid || job.uid === attempt.occupantUid)) {
    // If this hold is gone, the release loop puts it back and looks again: the step's next attempt relies on it.
    if (!job.awaited) await parts.recording({ run, step, n, input: { kind: "inDoubt" } });
    return;
  }
  if (mark.occupant) return; // its attempt is not done: close and release deal with the Job
  if (attempt.uid !== job.uid) {
    // The table decides under the run's lock. If the attempt has no Job, this Job becomes its Job; else this Job is a stray,
    // which keeps the name until the fence has passed.
    const input: AttemptInput = { kind: "created", uid: job.uid, rv: job.resourceVersion, group, adopted: true };
    const recorded = await parts.recording({ run, step, n, input });
    const isOwn = recorded.kind !== "unknown" && recorded.attempt.uid === job.uid;
    count[isOwn ? "adopted" : "strays"] += 1;
  } else if (!job.awaited && job.deletionAt === undefined && attempt.state === "live") {
    if (!(await holdAgain(parts, cluster, job, signal))) return;
    count.holdsRepaired += 1;
    parts.log.warn("somebody took our hold off a Job whose outcome is not recorded; it is back", { group, run, job: job.name });
  }
}

/** Settles a Job whose attempt is done, or was never known. A hold that is left is released. */
async function settleDone(
  ledger: Ledger,
  job: MarkedSeen,
  { run, group }: { run: Standing["run"]; group: Cluster["name"] },
  stoodBefore: boolean,
  count: Count,
): Promise<void> {
  if (stoodBefore || !job.awaited) return; // the attempt became done while we listed, or the Job only waits for its time to live
  const known = await ledger.find(run);
  if (known === undefined) {
    count.unknown += 1;
    return;
  }
  const { step, attempt: n } = job.mark ?? {};
  const own = known.record.attempts.some(
    (it) => it.step === step && it.n === n && it.uid === job.uid && it.outcome?.result !== "lost",
  );
  await ledger.addStray({ run, kind: own ? "release" : "stray", group, name: job.name, uid: job.uid });
  count.strays += 1;
}

async function unaccounted({ ledger, metrics }: Parts, inGroups: Unknown): Promise<void> {
  const counts = await ledger.counts();
  const unknown = [...inGroups.values()].reduce((sum, it) => sum + it, 0);
  const late = (counts.outboxOldestMs ?? 0) > 60_000 ? counts.outbox : 0;
  metrics.set("longshore_unaccounted", {}, counts.overdue + unknown + late);
}

/**
 * Deletes strays (Jobs with our proof that no attempt owns), takes holds off Jobs whose outcome was recorded long ago, and
 * prunes the ledger.
 *
 * The bug this prevents: a surplus Job that runs to its end because no loop is responsible for it.
 */
import type { AnchorInput } from "@longshore/domain/anchor/lifecycle.ts";
import { lookAgainMs, mayCreate, mayJudge } from "@longshore/domain/group/view.ts";
import type { AnchorEntry } from "@longshore/domain/run/change.ts";
import { ANNOTATIONS, HOLD, LABELS, selectorOf, WITHOUT_HOLD } from "@longshore/domain/run/marks.ts";
import { at, text } from "@longshore/domain/watch/raw.ts";
import { isUnfinished, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import { asObject } from "@longshore/kubernetes/objects.ts";
import type { AnchorWork, StrayWork } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import { isAnchorOf } from "../jobs/anchor.ts";
import { deletePod, isSettled, withReadRefusalTold, withRefusalTold } from "../jobs/refusals.ts";
import type { Cluster, Parts } from "../parts.ts";
import { drain, retryLoop, sideBySide } from "./retry-loop.ts";

const MOST = 32;

export function sweep(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: `sweep ${cluster.name}`, ms: parts.timing.lookMs, wakeUp: parts.wakeUps.strays, signal }, (signal) =>
      drain(signal, async () => {
        const leaseMs = lookAgainMs(viewOf(parts, cluster.name), parts.timing.workLeaseMs);
        const strays = await parts.ledger.takeStrays({ group: cluster.name, most: MOST, leaseMs: leaseMs });
        const anchors = await parts.ledger.takeAnchors({ group: cluster.name, most: MOST, leaseMs });
        await sideBySide(strays, (stray) => sweepOne(parts, cluster, stray, signal));
        await sweepAnchors(parts, cluster, anchors, signal);
        return strays.length === MOST || anchors.length === MOST;
      }),
    );
}

export async function sweepOne(parts: Parts, cluster: Cluster, stray: StrayWork, signal: AbortSignal): Promise<void> {
  if (!mayJudge(viewOf(parts, cluster.name))) return;
  const got = await cluster.reads.getJob(stray.name, signal);
  if (got.kind === "missing" || (got.kind === "found" && got.object.uid !== stray.uid))
    return await parts.ledger.settleStray(stray);
  if (got.kind !== "found") return;
  const fenced = (await parts.ledger.now()) < stray.holdUntilMs;
  if (stray.kind === "stray") {
    const job = seeJob(got.object.raw);
    if (job?.deletionAt === undefined) {
      const deleted = await cluster.writes.deleteJob(stray.name, stray.uid, { propagation: "Foreground" }, signal);
      withRefusalTold(parts, cluster, `deleting the surplus Job ${stray.name}`, deleted);
      return;
    }
    if (await stillRuns(parts, cluster, stray, signal)) return;
  }
  if (fenced) return;
  const isUnheld = seeJob(got.object.raw)?.held === false;
  const how = isUnheld ? { annotations: { [ANNOTATIONS.hold]: WITHOUT_HOLD.recorded } } : {};
  const released = await cluster.writes.releaseJob(stray.name, stray.uid, HOLD, how, signal);
  withRefusalTold(parts, cluster, `taking the hold off the Job ${stray.name}`, released);
  if (isSettled(released)) await parts.ledger.settleStray(stray);
}

/** Deletes orphans, pods that outlive their Job's deletion, by the Job's UID. True if any pod may still run. */
export async function stillRuns(
  parts: Parts,
  cluster: Cluster,
  { uid }: Pick<StrayWork, "uid">,
  signal: AbortSignal,
): Promise<boolean> {
  const listed = await cluster.reads.podsOf(uid, signal);
  if (listed.kind !== "listed") return true;
  const running = listed.items.flatMap((it) => seePod(it) ?? []).filter(isUnfinished);
  await Promise.all(
    running.filter(({ deletionAt }) => deletionAt === undefined).map((pod) => deletePod(parts, cluster, pod, {}, signal)),
  );
  return running.length > 0;
}

/**
 * Deletes anchors, and with each everything that it owns. A deleted anchor is gone only when a look shows that its volumes are, too:
 * a finished pod keeps its volumes until it is deleted itself.
 *
 * One listing tells of all: if each of two hundred runs that end together asked for its own volumes, each question would make the API
 * server look through the volumes of all.
 */
export async function sweepAnchors(
  parts: Parts,
  cluster: Cluster,
  works: readonly AnchorWork[],
  signal: AbortSignal,
): Promise<void> {
  const due: AnchorWork[] = [];
  await sideBySide(works, async (work) => {
    if (await isToDelete(parts, cluster, work)) due.push(work);
  });
  if (due.length === 0) return;
  const isHere = await isInPlace(parts, cluster, signal);
  const left = await volumesLeft(parts, cluster, due, signal);
  if (left === undefined) return;
  const deleted: (AnchorWork & { readonly left: readonly unknown[] })[] = [];
  await sideBySide(due, async (work) => {
    const its = left(work);
    if (!isCollected(its, work.nowMs) && (await isDeleted(parts, cluster, work, signal))) deleted.push({ ...work, left: its });
  });
  if (deleted.length === 0) return;
  const isSure = isHere && (await isInPlace(parts, cluster, signal));
  const inputs = await Promise.all(
    deleted.map(async ({ left, ...work }): Promise<readonly AnchorEntry[]> => {
      const { run, anchor, nowMs: begunAtMs } = work;
      const { number } = anchor;
      if (left.length === 0) return isSure ? [{ run, number, input: { kind: "gone", begunAtMs } }] : [];
      return (await isStuck(parts, cluster, work, left, signal)) ? [{ run, number, input: { kind: "stuck" } }] : [];
    }),
  );
  if (inputs.flat().length > 0) await parts.ledger.recordAnchors(inputs.flat());
}

/** Notes in the ledger what needs no look. True for an anchor that may be deleted now. */
async function isToDelete(parts: Parts, cluster: Cluster, work: AnchorWork): Promise<boolean> {
  const { run, anchor, isClear, nowMs: begunAtMs } = work;
  const { number, state } = anchor;
  const record = (input: AnchorInput): Promise<void> => parts.ledger.recordAnchors([{ run, number, input }]);
  if (state !== "sweeping") {
    await record({ kind: "due" });
    return false;
  }
  if (!isClear || !mayJudge(viewOf(parts, cluster.name))) return false;
  if (anchor.namespace === cluster.namespace) return true;
  if (isGivenUpThere(parts, cluster, work)) await record({ kind: "gone", begunAtMs });
  return false;
}

/** Deletes the anchor if it is there. True if a look that began now did not find it. */
async function isDeleted(parts: Parts, cluster: Cluster, { run, anchor }: AnchorWork, signal: AbortSignal): Promise<boolean> {
  const { number } = anchor;
  const name = parts.keys.anchorName(run, number);
  const got = await cluster.reads.getAnchor(name, signal);
  withReadRefusalTold(parts, cluster, `looking for what owns the volumes of ${run}`, got);
  if (got.kind === "found" && (got.object.uid === anchor.uid || isAnchorOf(parts, cluster, { run, number }, got.object))) {
    const deleted = await cluster.writes.deleteAnchor(name, got.object.uid, signal);
    withRefusalTold(parts, cluster, `deleting the volumes of ${run}`, deleted);
    return false;
  }
  return got.kind === "found" || got.kind === "missing";
}

/**
 * True if the anchor is in a namespace that a person gave up: the group trusts another one now. Otherwise no launcher could ever
 * sweep it, and the group would count its storage for ever.
 */
function isGivenUpThere(parts: Parts, cluster: Cluster, { run, anchor, nowMs }: AnchorWork): boolean {
  const { namespace, fenceUntilMs } = anchor;
  if (!mayCreate(viewOf(parts, cluster.name)) || nowMs < fenceUntilMs) return false;
  const where = { group: cluster.name, run, namespace };
  parts.log.warn(
    "volumes of a run that is over are in the namespace that the group had before: nobody deletes them there",
    where,
  );
  return true;
}

/**
 * True if the group's own namespace answers, or if there is none any more: volumes go with their namespace. The view is as old as
 * the last probe, and another cluster behind the same address would say that everything is gone.
 */
async function isInPlace(parts: Parts, cluster: Cluster, signal: AbortSignal): Promise<boolean> {
  const got = await cluster.reads.getNamespace(signal);
  return got.kind === "missing" || (got.kind === "found" && got.object.uid === viewOf(parts, cluster.name).namespaceUid);
}

/** Kubernetes collects what an anchor owned within seconds. What stays longer is held by a pod, or by somebody's finalizer. */
const COLLECTED_MS = 60_000;

/** As many pods as a person reads in one line of the log. */
const NAMED_MOST = 20;

type VolumesOf = (work: AnchorWork) => readonly unknown[];

/** The volumes that are still there, of each anchor. Undefined: the API server did not say. */
async function volumesLeft(
  parts: Parts,
  cluster: Cluster,
  works: readonly AnchorWork[],
  signal: AbortSignal,
): Promise<VolumesOf | undefined> {
  const runs = new Set(works.map(({ run }) => parts.keys.runLabel(run)));
  const selector = `${selectorOf(parts.installation)},${LABELS.run} in (${[...runs].join(",")})`;
  const listed = await cluster.reads.claimsWith(selector, signal);
  withReadRefusalTold(parts, cluster, "looking for the volumes of runs that are over", listed);
  if (listed.kind !== "listed") return undefined;
  const labelled = (it: unknown, label: string): unknown => at(it, "metadata", "labels", label);
  return ({ run, anchor: { number } }) => {
    const hash = parts.keys.runLabel(run);
    return listed.items.filter((it) => labelled(it, LABELS.run) === hash && labelled(it, LABELS.anchor) === `${number}`);
  };
}

const deletedMs = (claim: unknown): number => Date.parse(text(at(claim, "metadata", "deletionTimestamp")) ?? "");

/** True while Kubernetes is removing all these volumes: their anchor was deleted, and need not be looked for each time. */
const isCollected = (claims: readonly unknown[], nowMs: number): boolean =>
  claims.length > 0 && claims.every((it) => deletedMs(it) >= nowMs - COLLECTED_MS);

async function isStuck(
  parts: Parts,
  cluster: Cluster,
  { run, nowMs }: AnchorWork,
  claims: readonly unknown[],
  signal: AbortSignal,
): Promise<boolean> {
  if (!claims.some((it) => deletedMs(it) < nowMs - COLLECTED_MS)) return false;
  const names = namesOf(claims);
  // A pod of somebody else keeps them, too: one that a program of the run made, or a person's.
  const listed = await cluster.reads.podsMounting(names, signal);
  const pods = listed.kind === "listed" ? listed.items.flatMap((it) => asObject(it) ?? []) : undefined;
  parts.log.warn("volumes of a run that is over do not go; the pods named mount them", {
    group: cluster.name,
    run,
    claims: names,
    pods: pods?.slice(0, NAMED_MOST).map(({ name }) => name) ?? "not listed",
  });
  // A create of a program's pod may have landed after its step had ended.
  const children = (pods ?? []).filter(({ raw }) => at(raw, "metadata", "labels", LABELS.parent) !== undefined);
  await Promise.all(children.map((pod) => deletePod(parts, cluster, pod, {}, signal)));
  return true;
}

const namesOf = (items: readonly unknown[]): readonly string[] => items.flatMap((it) => text(at(it, "metadata", "name")) ?? []);

/** Removes tombstones past their day, and other rows that the ledger no longer needs. */
export function prune(parts: Parts) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: "prune", ms: 60_000, signal }, (signal) =>
      drain(signal, async () => (await parts.ledger.prune(1_000)) === 1_000),
    );
}

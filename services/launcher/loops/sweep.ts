/**
 * Deletes strays (Jobs with our proof that no attempt owns), takes holds off Jobs whose outcome was recorded long ago, and
 * prunes the ledger.
 *
 * The bug this prevents: a surplus Job that runs to its end because no loop is responsible for it.
 */
import { lookAgainMs, mayJudge } from "@longshore/domain/group/view.ts";
import { ANNOTATIONS, HOLD, WITHOUT_HOLD } from "@longshore/domain/run/marks.ts";
import { isUnfinished, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import type { StrayWork } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import { deletePod, isSettled, withRefusalTold } from "../jobs/refused-writes.ts";
import type { Cluster, Parts } from "../parts.ts";
import { drain, retryLoop, sideBySide } from "./retry-loop.ts";

const MOST = 32;

export function sweep(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: `sweep ${cluster.name}`, ms: parts.timing.lookMs, wakeUp: parts.wakeUps.strays, signal }, (signal) =>
      drain(signal, async () => {
        const leaseMs = lookAgainMs(viewOf(parts, cluster.name), parts.timing.workLeaseMs);
        const strays = await parts.ledger.takeStrays({ group: cluster.name, most: MOST, leaseMs: leaseMs });
        await sideBySide(strays, (stray) => sweepOne(parts, cluster, stray, signal));
        return strays.length === MOST;
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

/** Removes tombstones past their day, and other rows that the ledger no longer needs. */
export function prune(parts: Parts) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: "prune", ms: 60_000, signal }, (signal) =>
      drain(signal, async () => (await parts.ledger.prune(1_000)) === 1_000),
    );
}

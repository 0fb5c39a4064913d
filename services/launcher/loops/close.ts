/**
 * Closing attempts: looks, then deletes the Job until its pods are gone, or makes sure that no Job can come any more.
 *
 * The bugs this prevents: "cancelled" said while a pod still runs; a late create that starts work after the cancel; and a
 * background deletion by somebody else that leaves the pods running behind our hold.
 */
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { lookAgainMs } from "@longshore/domain/group/view.ts";
import { type Attempt, isFenced } from "@longshore/domain/run/record.ts";
import { startedOf } from "@longshore/domain/watch/evidence.ts";
import { isOnlyHoldLeft, isUnfinished, type PodSeen } from "@longshore/domain/watch/seen.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import { occupy } from "../jobs/create.ts";
import { inputsOf, look, type Look, remainsOf } from "../jobs/look.ts";
import { whetherAnchorGone } from "../jobs/missing-anchor.ts";
import { deletePod, withRefusalTold } from "../jobs/refusals.ts";
import type { Cluster, Parts } from "../parts.ts";
import { drain, retryLoop, sideBySide } from "./retry-loop.ts";

const MOST = 32;

export function close(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(
      parts,
      { what: `close ${cluster.name}`, ms: parts.timing.lookMs, wakeUp: parts.wakeUps.closing, signal },
      (signal) =>
        drain(signal, async () => {
          const leaseMs = lookAgainMs(viewOf(parts, cluster.name), parts.timing.workLeaseMs);
          const works = await parts.ledger.take({ state: "closing", group: cluster.name, most: MOST, leaseMs: leaseMs });
          await sideBySide(works, (work) => closeOne(parts, cluster, work, signal));
          return works.length === MOST;
        }),
    );
}

export async function closeOne(parts: Parts, cluster: Cluster, work: Work, signal: AbortSignal): Promise<void> {
  const { run, attempt } = work;
  const seen = await look(parts, cluster, work, signal);
  const input =
    (await whetherAnchorGone(parts, cluster, work, signal)) ??
    (seen.kind === "ours" ? await ofOurs(parts, cluster, work, seen, signal) : await ofOther(parts, cluster, work, seen, signal));
  if (input !== undefined) await parts.recording({ run: run.id, step: attempt.step, n: attempt.n, input });
}

async function ofOurs(
  parts: Parts,
  cluster: Cluster,
  work: Work,
  seen: Extract<Look, { kind: "ours" }>,
  signal: AbortSignal,
): Promise<AttemptInput | undefined> {
  const { run, attempt } = work;
  const { job, pods } = seen;
  const recorded = attempt.uid !== undefined && attempt.notes.gone !== true;
  // Records the UID first: a Job that is deleted before its UID is recorded could not be distinguished from somebody else's.
  // The attempt is due again at once.
  if (!recorded || attempt.uid !== job.uid)
    return { kind: "created", uid: job.uid, rv: job.resourceVersion, group: cluster.name, adopted: true };

  const verdict = verdictOf(cluster, attempt, seen);
  if (verdict !== undefined) return verdict;
  const how = graceOf(run);
  const endsUnstarted = ENDS_UNSTARTED.has(attempt.cause);
  if (job.deletionAt === undefined && endsUnstarted) {
    const found = await provenUnstarted(parts, cluster, work, seen, signal);
    if (found !== undefined) return found;
  }
  // If somebody deleted the Job in the background, or orphaned its pods, our hold keeps the Job while they run: the Job is
  // deleted again, in the foreground.
  if (job.deletionAt === undefined || (isOnlyHoldLeft(job) && pods.some(isUnfinished))) {
    // In two cases the deletion names the version that was seen. A Job without a hold is gone once it is deleted, and its
    // outcome with it. A Job that is deleted because it had not started may have started since the look.
    const isGuarded = attempt.notes.hold === false || (endsUnstarted && job.deletionAt === undefined);
    const only = isGuarded ? { resourceVersion: job.resourceVersion } : {};
    const deleted = await cluster.writes.deleteJob(job.name, job.uid, { propagation: "Foreground", ...how, ...only }, signal);
    if (deleted.kind === "changed") return undefined; // the Job may just have ended: the next turn looks again
    withRefusalTold(parts, cluster, `deleting the Job ${job.name}`, deleted);
    if (job.deletionAt !== undefined) await deleteOrphans(parts, cluster, run, pods, signal);
  }
  return undefined;
}

function graceOf({ cancel }: Work["run"]): { readonly graceSeconds?: number } {
  return cancel?.graceSeconds === undefined ? {} : { graceSeconds: cancel.graceSeconds };
}

/** The pods that nobody has told to end. */
const standingOf = (pods: readonly PodSeen[]): readonly PodSeen[] =>
  pods.filter((pod) => isUnfinished(pod) && pod.deletionAt === undefined);

/** Deletes pods that nothing else will delete: their Job is being deleted, or gone. */
async function deleteOrphans(
  parts: Parts,
  cluster: Cluster,
  run: Work["run"],
  pods: readonly PodSeen[],
  signal: AbortSignal,
): Promise<void> {
  await Promise.all(standingOf(pods).map((pod) => deletePod(parts, cluster, pod, graceOf(run), signal)));
}

/** Returns the inputs of a look at the attempt's own Job: how it ended, or that nothing of it ever started. */
function verdictOf(cluster: Cluster, attempt: Attempt, seen: Extract<Look, { kind: "ours" }>): AttemptInput | undefined {
  const ended = inputsOf(cluster.name, seen).find(
    ({ kind }) => kind === "complete" || kind === "failed" || kind === "lookedDeleted",
  );
  if (ended !== undefined || attempt.started !== "unknown") return ended;
  const { uid, resourceVersion: rv } = seen.job;
  return startedOf(seen.job, seen.pods) === "no" ? { kind: "unstarted", uid, rv, group: cluster.name } : undefined;
}

/**
 * Causes that end an attempt only if it has not started. Its outcome says whether anything ran: if nothing did, the work may be
 * done again.
 */
const ENDS_UNSTARTED: ReadonlySet<Attempt["cause"]> = new Set<Attempt["cause"]>(["startExpired", "waitExpired", "elsewhere"]);

const LOOKS = 14;
const FIRST_LOOK_MS = 25;
const BETWEEN_LOOKS_MS = 250;

/**
 * Deletes waiting pods before their Job. While the Job exists, deleted pods stay until the Job controller has counted them, and
 * in that moment they show that nothing of them ran. If they were deleted together with the Job, they and this evidence would
 * be gone at once. A pod that has changed since it was seen is not deleted: it may just have started, or got the node it waited
 * for.
 */
async function provenUnstarted(
  parts: Parts,
  cluster: Cluster,
  work: Work,
  first: Extract<Look, { kind: "ours" }>,
  signal: AbortSignal,
): Promise<AttemptInput | undefined> {
  const { attempt } = work;
  if (first.pods.length === 0) return undefined;
  let seen: Look = first;
  let verdict: AttemptInput | undefined;
  for (let looks = 0; looks < LOOKS && !signal.aborted; looks++) {
    if (seen.kind !== "ours" || seen.job.uid !== first.job.uid) return undefined; // the next turn sees the effect
    verdict = verdictOf(cluster, attempt, seen);
    // If the pod is gone and its end was not seen here, the watcher may have seen it, and its fact is on the way.
    if (verdict !== undefined && !("evidence" in verdict && verdict.evidence.started === "unknown")) return verdict;
    const standing = standingOf(seen.pods);
    const hasStarted = startedOf(seen.job, seen.pods) === "yes";
    if (standing.length === seen.pods.length && hasGoneOn(attempt, standing, hasStarted)) return { kind: "goesOn" };
    if (hasStarted) return undefined;
    await Promise.all(
      standing.map((pod) =>
        deletePod(parts, cluster, pod, { resourceVersion: pod.resourceVersion, ...graceOf(work.run) }, signal),
      ),
    );
    await parts.clock.sleep(Math.min(BETWEEN_LOOKS_MS, FIRST_LOOK_MS * 2 ** looks), signal);
    seen = await look(parts, cluster, work, signal);
  }
  return verdict;
}

/** True if the timer's reason has passed: for "elsewhere", a pod has a node now; for "startExpired", a pod has started. */
const hasGoneOn = ({ cause }: Attempt, pods: readonly PodSeen[], hasStarted: boolean): boolean =>
  cause === "elsewhere" ? pods.some(({ node }) => node !== undefined) : cause === "startExpired" && hasStarted;

async function ofOther(
  parts: Parts,
  cluster: Cluster,
  work: Work,
  seen: Exclude<Look, { kind: "ours" }>,
  signal: AbortSignal,
): Promise<AttemptInput | undefined> {
  const { run, attempt, nowMs } = work;
  if (seen.kind === "unseen") return undefined;
  const isNoted = seen.kind === "occupant" && seen.job.uid === attempt.occupantUid;
  if (seen.kind === "occupant" && !isNoted) return { kind: "occupied", uid: seen.job.uid };
  // A recorded Job is looked for even if an occupant has its name: a late fact may have told the UID of a Job that was gone
  // before the occupant came.
  if (attempt.uid !== undefined && attempt.notes.gone !== true) {
    const remains = await remainsOf(parts, cluster, attempt, signal);
    if (remains.kind === "orphans") await deleteOrphans(parts, cluster, run, remains.pods, signal);
    return remains.kind === "gone" ? remains : undefined;
  }
  if (seen.kind === "occupant") return { kind: "occupied", uid: seen.job.uid };
  if (!isFenced(attempt, nowMs))
    return {
      kind: "fencePassed",
      claimNo: attempt.claimNo,
      begunAtMs: nowMs,
      found: seen.kind === "missing" ? "nothing" : "foreign",
    };
  return seen.kind === "missing" ? await occupy(parts, cluster, work, signal) : undefined;
}

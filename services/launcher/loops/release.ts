/**
 * Ended attempts: takes our hold off the Job, because its outcome is in the ledger. One patch, which may be repeated without
 * harm.
 *
 * The bug this prevents: a name that becomes free while a create of it may still land, so that the work runs again. Until the
 * fence has passed, no hold is taken off: a look makes sure that the name is taken, by the Job under our hold or by an
 * occupant.
 */
import type { Uid } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { mayJudge } from "@longshore/domain/group/view.ts";
import { ANNOTATIONS, HOLD, WITHOUT_HOLD } from "@longshore/domain/run/marks.ts";
import { isFenced } from "@longshore/domain/run/record.ts";
import { isUnfinished } from "@longshore/domain/watch/seen.ts";
import type { Changed } from "@longshore/kubernetes/request/write.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import { deleteChildren } from "../jobs/children.ts";
import { occupy } from "../jobs/create.ts";
import { look, type Look } from "../jobs/look.ts";
import { holdAgain, isSettled, withRefusalTold } from "../jobs/refusals.ts";
import type { Cluster, Parts } from "../parts.ts";
import { drain, retryLoop, sideBySide } from "./retry-loop.ts";
import { stillRuns } from "./sweep.ts";

const MOST = 64;
const RECORDED = { [ANNOTATIONS.hold]: WITHOUT_HOLD.recorded };

export function release(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(
      parts,
      { what: `release ${cluster.name}`, ms: parts.timing.lookMs, wakeUp: parts.wakeUps.ended, signal },
      (signal) =>
        drain(signal, async () => {
          const works = await parts.ledger.take({
            state: "ended",
            group: cluster.name,
            most: MOST,
            leaseMs: parts.timing.workLeaseMs,
          });
          await sideBySide(works, (work) => releaseOne(parts, cluster, work, signal));
          return works.length === MOST;
        }),
    );
}

type Recording = (input: AttemptInput) => Promise<unknown>;

export async function releaseOne(parts: Parts, cluster: Cluster, work: Work, signal: AbortSignal): Promise<void> {
  const { run, attempt, nowMs } = work;
  const record: Recording = (input) => parts.recording({ run: run.id, step: attempt.step, n: attempt.n, input });
  await parts.fail("afterRecord");
  if (!mayJudge(viewOf(parts, cluster.name))) return; // "missing" there says nothing about the Job that holds on elsewhere

  const isLost = attempt.outcome?.result === "lost" && attempt.uid !== undefined;
  if (isLost && !(await isLostOver(parts, cluster, attempt.name, attempt.uid, signal))) return;
  if (attempt.notes.children === true) {
    const children = await deleteChildren(parts, cluster, work, signal);
    return void (children && (await record(children)));
  }
  if (isFenced(attempt, nowMs)) return await keepName(parts, cluster, work, signal, record);
  if (attempt.occupantUid !== undefined)
    return await removeOccupant(parts, cluster, { name: attempt.name, uid: attempt.occupantUid }, signal, () =>
      record({ kind: "released", found: "missing", begunAtMs: nowMs }),
    );
  if (attempt.uid === undefined) {
    const seen = await look(parts, cluster, work, signal);
    // A late create landed: the lifecycle makes its Job a stray, and the sweep removes it.
    if (seen.kind === "ours" || seen.kind === "occupant") await record(sightingOf(cluster, seen));
    else if (seen.kind !== "unseen") await record({ kind: "released", found: seen.kind, begunAtMs: nowMs });
    return;
  }
  const released = await cluster.writes.releaseJob(attempt.name, attempt.uid, HOLD, letGo(work), signal);
  withRefusalTold(parts, cluster, `taking the hold off the Job ${attempt.name}`, released);
  const found = foundBy(released);
  if (found !== undefined) await record({ kind: "released", found, begunAtMs: nowMs });
}

/**
 * While a create may land, the ended attempt's name must stay taken: looks who has it, occupies it if it is free, and puts a
 * hold back that somebody stripped. If the name is kept and no pod is left to finish, the step's next attempt may start.
 */
async function keepName(parts: Parts, cluster: Cluster, work: Work, signal: AbortSignal, record: Recording): Promise<void> {
  const { attempt, nowMs } = work;
  const seen = await look(parts, cluster, work, signal);
  if (seen.kind === "missing") {
    const input = await occupy(parts, cluster, work, signal);
    return void (input && (await record(input)));
  }
  if (seen.kind !== "ours" && seen.kind !== "occupant") return;
  const { uid, name, held, deletionAt } = seen.job;
  if (uid !== attempt.uid && uid !== attempt.occupantUid) return void (await record(sightingOf(cluster, seen)));
  if (!held && attempt.notes.hold !== false) {
    // A Job under deletion takes no finalizer: once it is gone, an occupant takes its name.
    if (deletionAt === undefined) await holdAgain(parts, cluster, { name, uid }, signal);
    return;
  }
  if (seen.kind === "occupant" || !seen.pods.some(isUnfinished)) await record({ kind: "kept", uid, begunAtMs: nowMs });
}

function sightingOf({ name: group }: Cluster, { kind, job }: Extract<Look, { job: unknown }>): AttemptInput {
  const { uid, resourceVersion: rv } = job;
  return kind === "occupant" ? { kind: "occupied", uid } : { kind: "created", uid, rv, group, adopted: true };
}

/**
 * Deletes the Job of a lost attempt. Nobody saw the Job end: it may still run, and an abandoned run's work is not wanted any
 * more. True when its pods have finished. Until then the Job keeps our hold, without which nobody would ever look at it again.
 * The run has ended already and does not wait for this, but a restart of it does.
 */
async function isLostOver(parts: Parts, cluster: Cluster, name: string, uid: Uid, signal: AbortSignal): Promise<boolean> {
  const deleted = await cluster.writes.deleteJob(name, uid, { propagation: "Foreground" }, signal);
  withRefusalTold(parts, cluster, `deleting the Job ${name} of a run that was lost`, deleted);
  return isSettled(deleted) && !(await stillRuns(parts, cluster, { uid }, signal));
}

function foundBy(changed: Changed): "released" | "missing" | "foreign" | undefined {
  switch (changed.kind) {
    case "done":
      return "released";
    case "missing":
    case "foreign":
      return changed.kind;
    case "changed":
    case "answered":
    case "unsent":
    case "unanswered":
      return undefined; // the timer tries again
  }
}

/** Removes the occupant after the fence: no create can land on the name any more. */
async function removeOccupant(
  parts: Parts,
  cluster: Cluster,
  { name, uid }: { readonly name: string; readonly uid: Uid },
  signal: AbortSignal,
  gone: () => Promise<unknown>,
): Promise<void> {
  const deleted = await cluster.writes.deleteJob(name, uid, { propagation: "Background" }, signal);
  withRefusalTold(parts, cluster, `deleting our occupant of the name ${name}`, deleted);
  if (!isSettled(deleted)) return;
  const released = await cluster.writes.releaseJob(name, uid, HOLD, {}, signal);
  if (foundBy(released) !== undefined) await gone();
}

/**
 * Returns the other changes of the patch that takes the hold off: the time to live and, for a Job without a hold, the mark that
 * its outcome is recorded.
 */
const letGo = (work: Work) => ({
  ttlSeconds: keepSeconds(work),
  ...(work.attempt.notes.hold === false && { annotations: RECORDED }),
});

function keepSeconds({ run, attempt }: Work): number {
  const { keepSucceededMs, keepFailedMs } = run.plan.limits;
  return Math.ceil((attempt.outcome?.result === "succeeded" ? keepSucceededMs : keepFailedMs) / 1000);
}

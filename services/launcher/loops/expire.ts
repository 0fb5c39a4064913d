/**
 * Live attempts that are due: they did not start in time, or run too long.
 *
 * The bug this prevents: healthy work ended because the watcher was down. No news is not bad news, so the loop looks first. The
 * look is applied like a fact. Only a timer that is still due after the look is acted on.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { timerOf } from "@longshore/domain/attempt/timers.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { diagnoseStall } from "@longshore/domain/diagnosis/pods.ts";
import { judgeAttempt } from "@longshore/domain/group/choose-group.ts";
import { limitsFor } from "@longshore/domain/run/plan.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import { isUnplaced } from "@longshore/domain/watch/evidence.ts";
import type { GroupState, Work } from "@longshore/ledger/port.ts";
import { inputsOf, look, type Look, remainsOf, saidOf } from "../jobs/look.ts";
import type { Cluster, Parts } from "../parts.ts";
import { placerOf } from "./place.ts";
import { drain, retryLoop, sideBySide } from "./retry-loop.ts";

const MOST = 32;

export function expire(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: `expire ${cluster.name}`, ms: parts.timing.lookMs, wakeUp: parts.wakeUps.live, signal }, (signal) =>
      drain(signal, async () => {
        const works = await parts.ledger.take({
          state: "live",
          group: cluster.name,
          most: MOST,
          leaseMs: parts.timing.workLeaseMs,
        });
        // The groups are read once for all attempts that wait for a node. Most of these attempts could go nowhere else, and
        // need no look.
        const isAsked = works.some((it) => timerIn(it, it.attempt) === "elsewhere");
        const groups = isAsked ? await parts.ledger.groups() : [];
        await sideBySide(works, (work) => expireOne(parts, cluster, work, signal, groups));
        return works.length === MOST;
      }),
    );
}

/** The timer that is due, by the limits of the attempt's step. */
const timerIn = ({ run, nowMs }: Work, attempt: Attempt) => timerOf(attempt, limitsFor(run.plan, attempt.step), nowMs);

export async function expireOne(
  parts: Parts,
  cluster: Cluster,
  work: Work,
  signal: AbortSignal,
  groups: readonly GroupState[] = [],
): Promise<void> {
  const { run, attempt } = work;
  if (timerIn(work, attempt) === "elsewhere" && !mayGoElsewhere(parts, work, groups)) return;
  const record = async (input: AttemptInput): Promise<Attempt | undefined> => {
    const recorded = await parts.recording({ run: run.id, step: attempt.step, n: attempt.n, input });
    return recorded.kind === "unknown" ? undefined : recorded.attempt;
  };
  const seen = await look(parts, cluster, work, signal);
  if (seen.kind === "unseen") return; // without an answer nothing is proved, and nothing could be done there
  if (seen.kind !== "ours" || seen.job.uid !== attempt.uid) {
    // Another Job of this attempt has the name: the table makes that Job a stray. It says nothing about the recorded Job.
    if (seen.kind === "ours") await record(standsThere(cluster, seen));
    const remains = await remainsOf(parts, cluster, attempt, signal);
    if (remains.kind !== "unproved") await record(saidOf(remains, attempt, cluster));
    return;
  }
  let now: Attempt | undefined = attempt;
  for (const input of inputsOf(cluster.name, seen)) now = await record(input);
  const timer = now && timerIn(work, now);
  if (timer === undefined) return;
  if (timer === "elsewhere") {
    if (seen.pods.length > 0 && seen.pods.every(isUnplaced))
      await record({ kind: timer, diagnosis: whyNot(now ?? attempt, seen) });
  } else await record(timer === "startExpired" ? { kind: timer, diagnosis: whyNot(attempt, seen) } : { kind: timer });
}

/**
 * True if the pods wait for a node and another group of the request would take the attempt at once. False if a quota allows no
 * pod: without pods, nothing could prove that nothing ran.
 */
function mayGoElsewhere(parts: Parts, { run, attempt, nowMs }: Work, groups: readonly GroupState[]): boolean {
  // The files of a run with volumes are here.
  if (attempt.notes.stall?.code !== "Unschedulable" || attempt.notes.anchor !== undefined) return false;
  const others = groups.filter(({ name }) => name !== attempt.group);
  const wanted = run.plan.groups?.filter((name) => name !== attempt.group);
  return (
    judgeAttempt(attempt, { run: { plan: { ...run.plan, groups: wanted } } }, others, placerOf(parts), nowMs).kind === "placed"
  );
}

const standsThere = (
  { name: group }: Cluster,
  { job: { uid, resourceVersion: rv } }: Extract<Look, { kind: "ours" }>,
): AttemptInput => ({
  kind: "created",
  uid,
  rv,
  group,
  adopted: true,
});

/**
 * The watcher's diagnosis comes first: the watcher remembers why a pull failed, and a look after that shows only the back-off.
 */
const whyNot = ({ notes }: Attempt, { pods }: Extract<Look, { kind: "ours" }>): Diagnosis =>
  notes.stall ??
  diagnoseStall({ pods }) ??
  diagnose("StartExpired", "Its pod did not start in time, and nothing in the cluster says why.");

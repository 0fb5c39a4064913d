/**
 * G3, G4 and G10: at most one Job of an attempt runs, and at most one attempt of a step; an attempt's end is recorded before
 * its hold is taken off, and no pod runs after a recorded end.
 *
 * The failure this prevents: work that runs twice, or runs on after upstream was told that it had ended.
 */
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { at, codeOf, type Attempt, type Job, jobsOf, nameOf, overMsOf, ownJobOf, podsOf, type View } from "./view.ts";

export function oneJobRuns(view: View): readonly string[] {
  return view.attempts.flatMap((attempt) => [
    ...itsOwn(view, attempt),
    ...(attempt.lifted.includes("one Job") ? [] : oneRuns(view, attempt)),
  ]);
}

/** A copy of a Job has the Job's proof, and must not be taken for the attempt's own Job. */
function itsOwn(view: View, attempt: Attempt): readonly string[] {
  const job = ownJobOf(view, attempt);
  if (attempt.uid === undefined || job?.ours === true) return [];
  return [`${nameOf(attempt)} has the Job ${attempt.uid}, which ${job === undefined ? "nobody saw" : "somebody else made"}`];
}

function oneRuns(view: View, attempt: Attempt): readonly string[] {
  const ran = new Map(podsOf(view, attempt).map((pod) => [pod.job, pod]));
  if (ran.size <= 1) return [];
  const each = [...ran].map(([job, { createdMs }]) => `${job} at ${at(createdMs)}`);
  return [`${ran.size} Jobs ${nameOf(attempt)} had pods: ${each.join(", ")}`];
}

/** All later attempts count: with an unanswered create, an attempt may come to run long after the next one ended. */
export function oneAttemptRuns(view: View): readonly string[] {
  return view.attempts.flatMap((attempt) => {
    const { run, step, n, besideMs = Number.NEGATIVE_INFINITY } = attempt;
    const later = view.attempts.filter((it) => it.run === run && it.step === step && it.n > n);
    return later.flatMap((other) => {
      const job = jobsOf(view, other).find(({ occupant }) => !occupant);
      if (job === undefined || job.createdMs < besideMs) return [];
      return podsOf(view, attempt)
        .filter((pod) => overMsOf(pod) > job.createdMs + view.slackMs.nextAttempt)
        .map(({ name }) => `the pod ${name} of ${nameOf(attempt)} still ran or came to run when ${job.name} had been created at ${at(job.createdMs)}`); // biome-ignore format: one line
    });
  });
}

export function everyEndIsTold(view: View): readonly string[] {
  return view.attempts.flatMap((attempt) => {
    const { state, uid, recordedMs = Number.POSITIVE_INFINITY } = attempt;
    const own = ownJobOf(view, attempt);
    const name = nameOf(attempt);
    const early = (uid === undefined ? jobsOf(view, attempt) : own === undefined ? [] : [own])
      .filter(({ releasedMs = Number.POSITIVE_INFINITY }) => releasedMs < recordedMs)
      .map(({ releasedMs }) => `the hold was taken off ${name} at ${at(releasedMs)}, before its outcome was recorded`);
    const left = own?.held === true && state === "done" ? [`the hold is still on the Job ${name}, which is done`] : [];
    return [...early, ...left, ...(own === undefined ? [] : notAsItsJob(attempt, own))];
  });
}

/**
 * If a Job failed because we deleted it, the outcome follows the cause of our deletion instead of the Job. What an operator gave up
 * is deleted after its outcome was recorded.
 */
function notAsItsJob(attempt: Attempt, { completeMs, failedMs, bindsMs }: Job): readonly string[] {
  const { result, cause, code, recordedMs = Number.POSITIVE_INFINITY } = attempt;
  const right = completeMs !== undefined ? "succeeded" : failedMs !== undefined ? "failed" : undefined;
  if (right === undefined || result === right) return [];
  if (result === undefined) return [`the Job ${nameOf(attempt)} ended, and its outcome is not recorded`];
  const isCaused = right === "failed" && (cause !== undefined || code === "Abandoned");
  return isCaused || bindsMs === undefined || recordedMs <= bindsMs
    ? []
    : [`${nameOf(attempt)} ended ${result}, and its Job was ${right === "failed" ? "Failed" : "Complete"}`];
}

export function nothingRunsBehindAnEnd(view: View): readonly string[] {
  return [...view.attempts.flatMap((attempt) => ranBehind(view, attempt)), ...cancels(view)];
}

function ranBehind(view: View, attempt: Attempt): readonly string[] {
  const { recordedMs, result, lifted } = attempt;
  if (recordedMs === undefined || lifted.includes("behind")) return [];
  return podsOf(view, attempt)
    .filter((pod) => pod.createdMs > recordedMs || overMsOf(pod) > recordedMs)
    .map(
      ({ name, createdMs, overMs }) =>
        `${nameOf(attempt)} is recorded as ${result} at ${at(recordedMs)}, and its pod ${name} was there from ${at(createdMs)} ${overMs === undefined ? "on" : `until ${at(overMs)}`}`,
    );
}

/** "Cancelling" is followed by "cancelled", unless the Job was Complete or an operator gave the run up. */
function cancels({ told, attempts }: View): readonly string[] {
  return told.flatMap(({ run, generation, type }) => {
    if (type !== "run.cancelling") return [];
    const end = told.find((it) => it.run === run && it.generation === generation && isTerminal(it.type));
    if (end === undefined || end.type === "run.cancelled" || end.type === "run.succeeded") return [];
    if (end.type === "run.lost" && codeOf(end) === "Abandoned") return [];
    // If an output is missing, the run of a Complete Job fails. In a pipeline, a Job may have ended before the cancel.
    return attempts.some((it) => it.run === run && it.generation === generation && it.result === "succeeded")
      ? []
      : [`${run} was being cancelled, and ended as ${end.type}`];
  });
}

/**
 * G5: no event tells a false end or a false start, and every Job that we end is ended for a true reason.
 *
 * The failure this prevents: a launcher that ends healthy work as "did not start" or "ran too long", and is believed because
 * the Job is gone.
 */
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { at, type Attempt, codeOf, jobsOf, nameOf, ownJobOf, podsOf, type Told, type View } from "./view.ts";

export function noFalseEnd(view: View): readonly string[] {
  return [...view.attempts.flatMap((attempt) => falseOutcome(view, attempt)), ...view.told.flatMap((it) => falseEvent(view, it))];
}

/** Compares the outcome in the ledger with what was seen of the attempt's own Job. */
function falseOutcome(view: View, attempt: Attempt): readonly string[] {
  const { result, cause, code, recordedMs = Number.POSITIVE_INFINITY, uid, started, lifted } = attempt;
  if (result === undefined || lifted.includes("end")) return [];
  const job = ownJobOf(view, attempt);
  const before = (ms: number | undefined): boolean => ms !== undefined && ms <= recordedMs;
  const isOver = [job?.failedMs, job?.deletedMs, job?.goneMs].some(before);
  const unless = (isRight: boolean, reason: string): readonly string[] =>
    isRight ? [] : [`${endOf(attempt)}, and ${uid === undefined ? "it had no Job" : reason}`];
  switch (result) {
    case "succeeded":
      return unless(before(job?.completeMs), "its Job was never Complete");
    case "failed":
      if (uid === undefined) return [];
      if (cause === undefined) return unless(before(job?.failedMs), "its Job was never Failed");
      return unless(isOver, "its Job neither failed nor was it deleted");
    case "deleted":
      // After others deleted the Job, a late create may have made another one: so all Jobs of the name count.
      return unless(
        jobsOf(view, attempt).some(({ othersDeletedMs }) => before(othersDeletedMs)),
        "nobody but us deleted its Job",
      );
    case "cancelled":
      return unless(uid === undefined || isOver, "its Job neither failed nor was it deleted");
    case "lost":
      return unless(code === "Abandoned" || before(job?.goneMs), "its Job is still there");
    case "moved":
      return started === "no" ? [] : [`${endOf(attempt)}, and may have started`];
    default:
      return [];
  }
}

const endOf = (attempt: Attempt): string =>
  `${nameOf(attempt)} ended ${attempt.result}${attempt.code === undefined ? "" : ` (${attempt.code})`}`;

const attemptOf = ({ attempts }: View, { run, data }: Told): Attempt | undefined =>
  attempts.find((it) => it.run === run && it.step === data["step"] && it.n === data["attempt"]);

function falseEvent(view: View, event: Told): readonly string[] {
  const { run, type, generation } = event;
  const sent = (command: string): boolean => view.commands.some((it) => it.type === command && it.run === run);
  const result = attemptOf(view, event)?.result ?? "succeeded";
  const last = view.runs.find(({ id }) => id === run);
  const says = (what: string): readonly string[] => [`${type} of ${run}, and ${what}`];
  if (type === "run.succeeded" && result !== "succeeded") return says(`its attempt ended ${result}`);
  if (type === "run.cancelled" && !sent("run.cancel")) return says("nobody asked for it");
  if (type === "run.lost" && codeOf(event) === "Abandoned" && !sent("run.abandon")) return says("nobody abandoned it");
  const isLast = last?.outcome !== undefined && last.generation === generation && isTerminal(type);
  return isLast && type !== `run.${last.outcome}` ? says(`the run's outcome is ${last.outcome}`) : [];
}

export function startsAreTrue(view: View): readonly string[] {
  return [
    ...view.attempts.flatMap((attempt) => {
      const { started, result, lifted } = attempt;
      if (lifted.includes("start")) return [];
      const ran = podsOf(view, attempt).filter(({ startedMs }) => startedMs !== undefined);
      if (started === "yes" && ran.length === 0)
        return [`${nameOf(attempt)} is said to have started, and no container of it ran`];
      return started === "no" && result !== undefined && ran.length > 0
        ? [`${nameOf(attempt)} is said not to have started, and ${ran.map(({ name }) => name).join(", ")} ran`]
        : [];
    }),
    ...view.told.flatMap((event) => falseStart(view, event)),
  ];
}

function falseStart(view: View, event: Told): readonly string[] {
  const { run, type, data, generation } = event;
  const attempt = attemptOf(view, event);
  if (attempt?.lifted.includes("start") === true) return [];
  const pods = attempt === undefined ? [] : podsOf(view, attempt);
  const ran = pods.filter(({ startedMs }) => startedMs !== undefined);
  const who = `${type} of ${run} in generation ${generation}`;
  if (type === "run.started" && ran.length === 0) return [`${who}, and no container of it ran`];
  if (type !== "run.failed") return [];
  if (data["started"] === "no" && ran.length > 0)
    return [`${who} says that nothing was started, and ${ran.map(({ name }) => name).join(", ")} ran`];
  const codes = new Set(pods.flatMap(({ exitCode }) => exitCode ?? []));
  const { exitCode } = data;
  return typeof exitCode === "number" && codes.size > 0 && !codes.has(exitCode)
    ? [`${who} says exit code ${exitCode}, and it was ${[...codes].join(", ")}`]
    : [];
}

/** If we deleted a Job, its pods must have been in the state that the reason names. */
export function timers(view: View): readonly string[] {
  return view.attempts.flatMap((attempt) => {
    const { closing, deadlineMs, uid } = attempt;
    if (closing === undefined) return [];
    const { atMs } = closing;
    const says = (what: string): readonly string[] => [`${endOf(attempt)}, and ${what}`];
    if (atMs === undefined) return says("nobody deleted its Job");
    const starts = view.pods.flatMap((it) => (it.job === uid ? (it.startedMs ?? []) : []));
    const sinceMs = starts.length === 0 ? undefined : Math.min(...starts);
    switch (closing.reason) {
      case "no timer":
        return says(`we deleted its Job at ${at(atMs)}, for which that is no reason`);
      case "no start":
        return sinceMs !== undefined && sinceMs + view.slackMs.start < atMs
          ? says(`it had run since ${at(sinceMs)} when we deleted it at ${at(atMs)}`)
          : [];
      case "deadline":
        if (sinceMs === undefined) return says("no container of it ran");
        return deadlineMs !== undefined && atMs - sinceMs + view.slackMs.deadline < deadlineMs
          ? says(`we deleted it after ${(atMs - sinceMs) / 1000} s of the ${deadlineMs / 1000} s that it had`)
          : [];
    }
  });
}

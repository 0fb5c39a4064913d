/**
 * Decisions of people and timers about an attempt. Before a timer acts on a Job, the launcher looks: no news is not bad news.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import { waitsForRoom } from "../expiry.ts";
import { type Attempt, isOpen } from "../../run/record.ts";
import { CAUSES, closing, end, notStarted } from "./ending.ts";
import { move, type Rule, stay } from "./move.ts";
import { alive } from "./sightings.ts";

/** No create was ever sent, or every one was refused. */
export const cancelUnsent: Rule<"cancel"> = (attempt, { diagnosis }, context) =>
  end(attempt, "cancelled", context, { diagnosis, started: notStarted(attempt) });

/** The cancel replaces any other cause of closing. */
export const cancelSent: Rule<"cancel"> = (attempt, { diagnosis }, context) =>
  attempt.cause === "cancel" ? stay(attempt) : closing(attempt, "cancel", diagnosis, context);

export const deadline: Rule<"deadline"> = (attempt, _input, context) =>
  closing(attempt, "deadline", CAUSES.deadline.diagnosis, context);

export const waitExpiredUncreated: Rule<"waitExpired"> = (attempt, _input, context) =>
  isOpen(attempt)
    ? closing(attempt, "waitExpired", waitDiagnosis(attempt), context)
    : end(attempt, "failed", context, { diagnosis: waitDiagnosis(attempt), started: notStarted(attempt) });

export const hopeless: Rule<"hopeless"> = (attempt, { diagnosis }, context) =>
  end(attempt, "refused", context, { diagnosis, started: notStarted(attempt) });

/** The Job exists and only waits its turn. `waitFor` bounds that, as it bounds waiting for a group. */
export const waitExpiredCreated: Rule<"waitExpired"> = (attempt, _input, context) =>
  attempt.started !== "yes" && waitsForRoom(attempt.notes.stall)
    ? closing(attempt, "waitExpired", waitDiagnosis(attempt), context)
    : stay(attempt);

function waitDiagnosis({ notes }: Attempt): Diagnosis {
  const why = notes.stall?.sentence ?? notes.waiting;
  return why === undefined
    ? CAUSES.waitExpired.diagnosis
    : diagnose("WaitExpired", `It waited as long as \`waitFor\` allows. Last reason: ${why}`);
}

export const startExpired: Rule<"startExpired"> = (attempt, { diagnosis }, context) =>
  attempt.started === "yes" ? stay(attempt) : closing(attempt, "startExpired", diagnosis, context);

/**
 * Moves the work to another group. The attempt ends only once it is proved that nothing of it started, because the work is done
 * again elsewhere.
 */
export const elsewhere: Rule<"elsewhere"> = (attempt, { diagnosis }, context) =>
  attempt.started !== "yes" && waitsForRoom(attempt.notes.stall)
    ? closing(attempt, "elsewhere", diagnosis, context)
    : stay(attempt);

/** Takes a timer's decision back: between our look and our DELETE, the Job did what the timer had waited for. */
export const goesOn: Rule<"goesOn"> = (attempt, _input, context) => {
  const waited = attempt.cause === "elsewhere" || attempt.cause === "startExpired";
  if (!waited || attempt.started === "no") return stay(attempt);
  const { closing: _, ...notes } = attempt.notes;
  return move(alive({ ...attempt, cause: undefined, notes }, context));
};

export const abandon: Rule<"abandon"> = (attempt, { diagnosis }, context) => end(attempt, "lost", context, { diagnosis });

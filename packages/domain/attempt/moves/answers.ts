/**
 * Answers to creates, late or repeated, from any launcher.
 *
 * The bugs this prevents: the answer to one claim taken for another's; an answer applied twice that hides a create which may
 * still land; and a refusal that ends an attempt while an older create of it may still land and run.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { waitWordOf } from "@longshore/contract/messages/waiting.ts";
import { type Attempt, isOpen } from "../../run/record.ts";
import { backToWaiting } from "./decisions.ts";
import { closing, type Context, end, endOfCause, type Move, move, notStarted, restUntilMs, type Rule, stay } from "./move.ts";
import { alive, ofOwn } from "./sightings.ts";

/** Removes one claim from `unanswered`. Returns the same attempt if this answer was applied before. */
function hear(attempt: Attempt, claimNo: number | undefined, { nowMs }: Context): Attempt {
  if (claimNo === undefined || !attempt.unanswered.includes(claimNo)) return attempt;
  const heard = { ...attempt, unanswered: attempt.unanswered.filter((it) => it !== claimNo) };
  return attempt.state === "ended" && !isOpen(heard) ? { ...heard, dueMs: restUntilMs(heard, nowMs) } : heard;
}

const createdIn =
  (rule: Rule<"created">): Rule<"created"> =>
  (attempt, input, context) =>
    ofOwn(rule)(input.group === attempt.group ? hear(attempt, input.claimNo, context) : attempt, input, context);

export const becomeLive = createdIn((attempt, _input, context) => move(alive(attempt, context)));

/** The Job is known already, or the attempt is closing and has to delete it. */
export const answeredLate = createdIn(stay);

export const takeOffTheWire: Rule<"refused" | "deferred" | "nameTaken"> = (attempt, { claimNo }, context) =>
  move(hear(attempt, claimNo, context));

export const refused: Rule<"refused"> = (attempt, { claimNo, diagnosis }, context) =>
  endOrClose(attempt, hear(attempt, claimNo, context), "refused", diagnosis, context);

export const nameTaken: Rule<"nameTaken"> = (attempt, { claimNo, diagnosis }, context) =>
  endOrClose(attempt, hear(attempt, claimNo, context), "nameConflict", diagnosis, context);

/** Ends the attempt if none of its creates is unanswered; else closes it, because a create may still land. */
function endOrClose(
  attempt: Attempt,
  heard: Attempt,
  cause: "refused" | "nameConflict",
  diagnosis: Parameters<typeof closing>[2],
  context: Context,
): Move {
  if (heard === attempt) return stay(attempt);
  if (isOpen(heard)) return closing(heard, cause, diagnosis, context);
  return end(heard, "refused", context, { diagnosis, started: notStarted(heard) });
}

/**
 * The group was chosen because it had room, and its cluster refused: the story lists the group as skipped, with the cluster's
 * reason.
 */
function passedOver(attempt: Attempt, { sentence: why }: Diagnosis): Attempt {
  const { considered = [] } = attempt.notes;
  const others = considered.filter(({ group }) => group !== attempt.group);
  if (attempt.group === undefined) return attempt;
  return { ...attempt, notes: { ...attempt.notes, considered: [...others, { group: attempt.group, verdict: "skipped", why }] } };
}

export const deferred: Rule<"deferred"> = (attempt, { claimNo, reason, diagnosis, retryAtMs, again = false }, context) => {
  const heard = hear(attempt, claimNo, context);
  if (heard === attempt) return stay(attempt);
  if (!isOpen(heard))
    return backToWaiting(passedOver(heard, diagnosis), {
      reason: reason ?? waitWordOf(diagnosis.code),
      retryAtMs,
      ...(reason === undefined && { diagnosis }),
    });
  // An older create may still land, so the attempt may not go to another group before the fence has passed. If the cluster
  // refused nothing, the attempt is claimed again in the same group: else an outage of seconds would cost each run ten minutes.
  const fenceMs = heard.fenceUntilMs ?? retryAtMs;
  return move(claimNo === heard.claimNo ? { ...heard, dueMs: again ? Math.min(retryAtMs, fenceMs) : fenceMs } : heard);
};

/** A closing attempt ends if none of its creates is unanswered and no Job of it is left. */
export const endWithoutJob: Rule<"refused" | "deferred" | "nameTaken"> = (attempt, { claimNo }, context) => {
  const heard = hear(attempt, claimNo, context);
  if (heard === attempt || isOpen(heard)) return move(heard);
  if (heard.uid === undefined) return endOfCause(heard, context, { started: notStarted(heard) });
  return heard.notes.gone === true ? endOfCause(heard, context, {}) : move(heard);
};

/**
 * What creates were answered, late or twice, by whoever sent them.
 *
 * The bugs this prevents: the answer to one claim taken for another's; an answer applied twice that hides a create which is
 * still on the wire; and a refusal that ends an attempt while an older create of it may yet land and run.
 */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import { type Attempt, isOpen } from "../../run/record.ts";
import { closing, end, endOfCause, notStarted, restUntilMs } from "./ending.ts";
import { type Context, type Move, move, type Rule, stay } from "./move.ts";
import { ofOwn } from "./own.ts";
import { backToWaiting } from "./placing.ts";
import { alive } from "./sightings.ts";

/** Takes one claim off the wire. The same attempt comes back where that answer was heard before. */
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

/** About a Job that is known already; or, while closing, about the one that has to go. */
export const answeredLate = createdIn(stay);

export const takeOffTheWire: Rule<"refused" | "deferred" | "nameTaken"> = (attempt, { claimNo }, context) =>
  move(hear(attempt, claimNo, context));

export const refused: Rule<"refused"> = (attempt, { claimNo, diagnosis }, context) =>
  endOrClose(attempt, hear(attempt, claimNo, context), "refused", diagnosis, context);

export const nameTaken: Rule<"nameTaken"> = (attempt, { claimNo, diagnosis }, context) =>
  endOrClose(attempt, hear(attempt, claimNo, context), "nameConflict", diagnosis, context);

/** Over at once where nothing is on the wire; else what may still land has to be kept out first. */
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

/** It was chosen for its room; its cluster said otherwise, and that is what is told of it. */
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
      reason: reason ?? diagnosis.code,
      retryAtMs,
      ...(reason === undefined && { diagnosis }),
    });
  // An older create may still land: the attempt may not go to another group before the fence has passed. Where the cluster
  // refused nothing it is claimed again there, or an outage of seconds would cost each run that it met ten minutes.
  const fenceMs = heard.fenceUntilMs ?? retryAtMs;
  return move(claimNo === heard.claimNo ? { ...heard, dueMs: again ? Math.min(retryAtMs, fenceMs) : fenceMs } : heard);
};

/** While closing: once no create is on the wire and no Job is left, there is nothing to close. */
export const endWithoutJob: Rule<"refused" | "deferred" | "nameTaken"> = (attempt, { claimNo }, context) => {
  const heard = hear(attempt, claimNo, context);
  if (heard === attempt || isOpen(heard)) return move(heard);
  if (heard.uid === undefined) return endOfCause(heard, context, { started: notStarted(heard) });
  return heard.notes.gone === true ? endOfCause(heard, context, {}) : move(heard);
};

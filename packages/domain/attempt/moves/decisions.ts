/**
 * Our decisions about an attempt: placing, claiming, people's commands, and timers. Before a timer acts on a Job, the launcher
 * looks at the Job: a missing fact proves nothing.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { durationText } from "@longshore/contract/units.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import { type Attempt, FENCE_MS, isOpen } from "../../run/record.ts";
import { waitsForRoom } from "../timers.ts";
import { CAUSES, closing, end, move, type Move, notStarted, type Rule, stay } from "./move.ts";
import { alive } from "./sightings.ts";

/** No create was ever sent, or every one was refused. */
export const cancelUnsent: Rule<"cancel"> = (attempt, { diagnosis }, context) =>
  end(attempt, "cancelled", context, { diagnosis, started: notStarted(attempt) });

/** The cancel replaces any other cause of closing. */
export const cancelSent: Rule<"cancel"> = (attempt, { diagnosis }, context) =>
  attempt.cause === "cancel" ? stay(attempt) : closing(attempt, "cancel", diagnosis, context);

export const deadline: Rule<"deadline"> = (attempt, _input, context) =>
  closing(attempt, "deadline", { ...CAUSES.deadline.diagnosis, sentence: ranLonger(context.limits.deadlineMs) }, context);

const ranLonger = (deadlineMs: number): string => `It ran longer than its deadline of ${durationText(deadlineMs)}.`;

export const waitExpiredUncreated: Rule<"waitExpired"> = (attempt, { diagnosis = waitDiagnosis(attempt) }, context) =>
  isOpen(attempt)
    ? closing(attempt, "waitExpired", diagnosis, context)
    : end(attempt, "failed", context, { diagnosis, started: notStarted(attempt) });

export const hopeless: Rule<"hopeless"> = (attempt, { diagnosis }, context) =>
  end(attempt, "refused", context, { diagnosis, started: notStarted(attempt) });

/** The Job exists and waits for room. `waitFor` bounds this wait, as it bounds the wait for a group. */
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
 * Moves the work to another group, which does it again: so the attempt ends as "moved" only with proof that nothing of it
 * started.
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

// ── Placing and claiming: a waiting or ready attempt has no unanswered create ────────────────────────────────────────

export const ready: Rule<"placed"> = (attempt, { group, namespace, considered, hold, embedded, slots }, { nowMs }) => {
  const { hold: _, embedded: __, ...notes } = attempt.notes;
  const placed = { ...notes, namespace, considered, ...(hold === false && { hold }), ...(embedded && { embedded }) };
  const room = slots === undefined ? {} : { slots };
  return move({ ...attempt, ...room, state: "ready", group, dueMs: nowMs, waitsFor: undefined, notes: placed });
};

export const waitOn: Rule<"noPlace"> = (attempt, { reason, considered, retryAtMs, diagnosis, waitsFor }) =>
  backToWaiting({ ...attempt, notes: { ...attempt.notes, considered } }, { reason, retryAtMs, diagnosis, waitsFor });

/** The claim joins `unanswered` before anything is sent: from here on a create may land, whichever process dies. */
export const claimed: Rule<"claimDue"> = (attempt, { by, untilMs }) => {
  const claimNo = attempt.claimNo + 1;
  return move({
    ...attempt,
    state: "claimed",
    claimNo,
    claimBy: by,
    claimUntilMs: untilMs,
    dueMs: untilMs,
    fenceUntilMs: untilMs + FENCE_MS,
    unanswered: [...attempt.unanswered, claimNo],
    started: attempt.started === "no" ? "unknown" : attempt.started,
  });
};

export interface Why {
  readonly reason: WaitWord;
  readonly retryAtMs: number;
  readonly diagnosis?: Diagnosis | undefined;
  readonly waitsFor?: readonly GroupName[] | undefined;
}

/** The slot is free again, and any group may take the attempt. Only for attempts without an unanswered create. */
export function backToWaiting(attempt: Attempt, { reason, retryAtMs, diagnosis, waitsFor }: Why): Move {
  const { considered = [], ...notes } = attempt.notes;
  const waiting: Attempt = {
    ...attempt,
    state: "waiting",
    group: undefined,
    claimBy: undefined,
    claimUntilMs: undefined,
    fenceUntilMs: undefined,
    started: notStarted(attempt),
    dueMs: Math.min(retryAtMs, notes.waitUntilMs),
    waitsFor,
    notes: { ...notes, considered, waiting: reason },
  };
  const isTold = attempt.notes.waiting === reason;
  return move(waiting, isTold ? [] : [{ kind: "waiting", reason, considered, ...(diagnosis && { diagnosis }) }]);
}

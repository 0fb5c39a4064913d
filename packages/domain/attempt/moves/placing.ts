/** From waiting to a claim, and back. In waiting and ready nothing is on the wire. */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import { type Attempt, FENCE_MS } from "../../run/record.ts";
import { notStarted } from "./ending.ts";
import { type Move, move, type Rule } from "./move.ts";

export const ready: Rule<"placed"> = (attempt, { group, namespace, considered, hold }, { nowMs }) => {
  const { hold: _, ...notes } = attempt.notes;
  const placed = { ...notes, namespace, considered, ...(hold === false && { hold }) };
  return move({ ...attempt, state: "ready", group, dueMs: nowMs, notes: placed });
};

export const waitOn: Rule<"noPlace"> = (attempt, { reason, considered, retryAtMs, diagnosis }) =>
  backToWaiting({ ...attempt, notes: { ...attempt.notes, considered } }, { reason, retryAtMs, diagnosis });

/** The claim's number is added before anything is sent: from here on a create may land, whichever process dies. */
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
  readonly reason: string;
  readonly retryAtMs: number;
  readonly diagnosis?: Diagnosis | undefined;
}

/** The slot is free again, and any group may take the attempt. Only for attempts with nothing on the wire. */
export function backToWaiting(attempt: Attempt, { reason, retryAtMs, diagnosis }: Why): Move {
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
    notes: { ...notes, considered, waiting: reason },
  };
  const isTold = attempt.notes.waiting === reason;
  return move(waiting, isTold ? [] : [{ kind: "waiting", reason, considered, ...(diagnosis && { diagnosis }) }]);
}

/** How a run is, in the words of the page: one of few, each with a mark of its own, and never the words of a cluster. */
import type { Outcome, RunEventType } from "@longshore/contract/messages/event.ts";
import type { RunState } from "@longshore/domain/run/record.ts";
import type { NewestEvent } from "@longshore/ledger/port.ts";

export const STATES = [
  "waiting",
  "starting",
  "running",
  "stalled",
  "stopping",
  "succeeded",
  "failed",
  "stopped",
  "lost",
] as const;
export type State = (typeof STATES)[number];

const OF_OUTCOME: Readonly<Record<Outcome, State>> = {
  succeeded: "succeeded",
  failed: "failed",
  cancelled: "stopped",
  lost: "lost",
};

export const stateOfEnd = (outcome: Outcome): State => OF_OUTCOME[outcome];

/** What the newest event of an active run means. Steps of a pipeline come and go while the run goes on. */
const AFTER: Readonly<Record<RunEventType, State>> = {
  "run.accepted": "waiting",
  "run.restarted": "waiting",
  "run.waiting": "waiting",
  "run.attempt.failed": "waiting",
  "run.launched": "starting",
  "run.resumed": "starting",
  "run.started": "running",
  "run.progressed": "running",
  "run.stalled": "stalled",
  "run.step.succeeded": "running",
  "run.step.failed": "running",
  "run.step.skipped": "running",
  "run.cancelling": "stopping",
  "run.succeeded": "succeeded",
  "run.failed": "failed",
  "run.cancelled": "stopped",
  "run.lost": "lost",
};

export interface Standing {
  readonly state: RunState;
  readonly outcome: Outcome | undefined;
  readonly newest: Pick<NewestEvent, "type"> | undefined;
}

export function stateOf({ state, outcome, newest }: Standing): State {
  if (outcome !== undefined) return OF_OUTCOME[outcome];
  if (state === "cancelling") return "stopping";
  return newest === undefined ? "waiting" : AFTER[newest.type];
}

export const isOver = (state: State): boolean => ["succeeded", "failed", "stopped", "lost"].includes(state);

/**
 * Applies the inputs of one run's attempts in order: answers of creates, facts, looks, timers.
 *
 * The bug this prevents: a model that passes the simulation because it decides more kindly than Postgres. Both ledgers call
 * this under the run's lock.
 */
import type { RunId, StepName } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "../attempt/input.ts";
import { advance, type Advancing } from "./advance.ts";
import { andThen, type Change, unchanged } from "./change.ts";
import { type Attempt, attemptIn, type RunRecord, type RunState } from "./record.ts";
import { wakeNext } from "./retries.ts";

export interface Entry {
  readonly run: RunId;
  readonly step: StepName;
  readonly n: number;
  readonly input: AttemptInput;
}

/** `attempt`: its state now. "unknown": the ledger has no such attempt. */
export type Recorded =
  | { readonly kind: "moved" | "stayed" | "illegal"; readonly attempt: Attempt; readonly runState: RunState }
  | { readonly kind: "unknown" };

export interface Applied {
  readonly change: Change;
  /** One result for each entry, in the order of the entries. */
  readonly recorded: readonly Recorded[];
}

/** All entries are of this run. */
export function applyInputs(record: RunRecord, entries: readonly Entry[], at: Advancing): Applied {
  let change = unchanged(record);
  const recorded: Recorded[] = [];
  for (const { step, n, input } of entries) {
    const before = attemptIn(change.after, step, n);
    if (before === undefined) {
      recorded.push({ kind: "unknown" });
      continue;
    }
    const advanced = advance(change.after, { kind: "attempt", step, n, input }, at);
    change = andThen(change, advanced);
    const attempt = attemptIn(change.after, step, n) ?? before;
    const kind = advanced.illegal ? "illegal" : attempt === before ? "stayed" : "moved";
    recorded.push({ kind, attempt, runState: change.after.run.state });
  }
  return { change: wakeNext(change, at.nowMs), recorded };
}

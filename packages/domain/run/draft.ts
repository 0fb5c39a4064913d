/** A record that one call of a pure function works on: nothing outside sees the draft before the call returns. */
import type { StepName } from "@longshore/contract/ids.ts";
import { type Names, beginAttempt } from "./begin.ts";
import type { Attempt, Run, RunRecord, Step, Stray, Told } from "./record.ts";

/** `record` stays the same object if nothing of it changed, and only then. */
export interface Advanced {
  readonly record: RunRecord;
  readonly told: readonly Told[];
  readonly strays: readonly Stray[];
  readonly illegal: boolean;
}

export interface Advancing extends Names {
  readonly nowMs: number;
  readonly epoch: number;
}

export interface Draft {
  readonly before: RunRecord;
  readonly at: Advancing;
  run: Run;
  attempts: readonly Attempt[];
  readonly told: Told[];
  readonly strays: Stray[];
  illegal: boolean;
}

export const draftOf = (record: RunRecord, at: Advancing): Draft => ({
  before: record,
  at,
  run: record.run,
  attempts: record.attempts,
  told: [],
  strays: [],
  illegal: false,
});

export function advancedOf({ before, run, attempts, told, strays, illegal }: Draft): Advanced {
  const same = run === before.run && attempts === before.attempts && told.length === 0;
  const record = same ? before : { run: told.length === 0 ? run : { ...run, seq: run.seq + told.length }, attempts };
  return { record, told, strays, illegal };
}

export function stepIn({ run }: Draft, name: StepName): Step {
  const step = run.steps[name];
  if (step === undefined) throw new TypeError(`the run ${run.id} has no step "${name}"`);
  return step;
}

export function setStep(draft: Draft, name: StepName, step: Step): void {
  draft.run = { ...draft.run, steps: { ...draft.run.steps, [name]: step } };
}

/**
 * Opens the step's next attempt, which then waits. A retry waits until `notBeforeMs` and prefers another group than that of
 * `after`.
 */
export function openAttempt(
  draft: Draft,
  name: StepName,
  step: Step,
  {
    notBeforeMs,
    after,
    waitUntilMs,
  }: { readonly notBeforeMs?: number; readonly after?: Attempt; readonly waitUntilMs?: number } = {},
): void {
  setStep(draft, name, step);
  draft.attempts = [...draft.attempts, beginAttempt(draft.run, name, step.n, { ...draft.at, notBeforeMs, after, waitUntilMs })];
}

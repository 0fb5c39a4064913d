/**
 * One run's change within a transaction: several inputs, applied one after the other, and written at once.
 *
 * The bug this prevents: a second input that is decided on the run as it was before the first, and undoes it.
 */
import { type Attempt, attemptIn, type Run, type RunRecord, type Stray, type Told } from "./record.ts";

export interface Change {
  /** `undefined`: the run does not exist yet. */
  readonly before: RunRecord | undefined;
  readonly after: RunRecord;
  readonly told: readonly Telling[];
  readonly strays: readonly Stray[];
}

export interface Telling {
  readonly told: Told;
  readonly generation: number;
}

export const unchanged = (record: RunRecord): Change => ({ before: record, after: record, told: [], strays: [] });

export const isChanged = ({ before, after, told, strays }: Change): boolean =>
  before !== after || told.length > 0 || strays.length > 0;

/** Returns the change with one more step. If the step changed nothing, the record stays the same object. */
export function andThen(
  change: Change,
  { record, told, strays }: { readonly record: RunRecord } & Pick<Change, "strays"> & { readonly told: readonly Told[] },
): Change {
  const { generation } = record.run;
  const same = told.length === 0 && sameRecord(change.after, record);
  return {
    before: change.before,
    after: same ? change.after : record,
    told: [...change.told, ...told.map((it) => ({ told: it, generation }))],
    strays: [...change.strays, ...strays],
  };
}

/** The tables return a new run object for every input; its fields tell whether something changed. */
function sameRecord(a: RunRecord, b: RunRecord): boolean {
  const names = Object.keys(a.run) as (keyof Run)[];
  return a.attempts === b.attempts && names.every((name) => a.run[name] === b.run[name]);
}

/** Returns the attempts that a change touched, each with its state before. */
export function movedAttempts({ before, after }: Change): readonly (readonly [was: Attempt | undefined, is: Attempt])[] {
  return after.attempts.flatMap((is) => {
    const was = before && attemptIn(before, is.step, is.n);
    return was === is ? [] : [[was, is] as const];
  });
}

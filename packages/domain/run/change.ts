/**
 * One run's change within a transaction: several inputs, applied one after the other under the run's lock and written at once;
 * and the work that the change makes for the loops.
 *
 * The bugs this prevents: a second input that is decided on the run as it was before the first input, and undoes the first;
 * work that is due while every loop sleeps; and a modelled ledger that decides more kindly than Postgres, so that bugs pass the
 * simulation. Both ledgers call this.
 */
import type { RunId, StepName } from "@longshore/contract/ids.ts";
import type { AnchorInput } from "../anchor/lifecycle.ts";
import type { AttemptInput } from "../attempt/input.ts";
import { advance, type Advancing } from "./advance.ts";
import type { Anchor, Attempt, AttemptState, Run, RunRecord, RunState, Stray, Told } from "./record.ts";
import { attemptIn } from "./record.ts";
import { lineChange } from "./concurrency.ts";
import { EARLIER, isOutOfTheWay } from "./steps.ts";

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
  return a.attempts === b.attempts && a.anchors === b.anchors && names.every((name) => a.run[name] === b.run[name]);
}

/** Returns the attempts that a change touched, each with its state before. */
export function movedAttempts({ before, after }: Change): readonly (readonly [was: Attempt | undefined, is: Attempt])[] {
  return after.attempts.flatMap((is) => {
    const was = before && attemptIn(before, is.step, is.n);
    return was === is ? [] : [[was, is] as const];
  });
}

/** Returns the attempts that a change brought out of the next attempt's way, or back into it. */
function turned({ before, after }: Change, isOut: boolean): readonly Attempt[] {
  return after.attempts.filter((is) => {
    const was = before && attemptIn(before, is.step, is.n);
    return was !== undefined && isOutOfTheWay(was) !== isOut && isOutOfTheWay(is) === isOut;
  });
}

const isAfterOneOf = ({ step, n }: Attempt, earlier: readonly Attempt[]): boolean =>
  earlier.some((it) => it.step === step && it.n < n);

/**
 * A retry waits until every earlier attempt is out of its way. If this change brought one out of the way, the retry is due. If
 * it brought one back, a retry whose create was not sent waits again.
 */
export function turnNext(change: Change, at: Advancing): Change {
  const [cleared, doubted] = [turned(change, true), turned(change, false)];
  const input: AttemptInput = { kind: "noPlace", reason: EARLIER, considered: [], retryAtMs: at.nowMs };
  const { after, ...rest } = change.after.attempts
    .filter((it) => it.state === "ready" && isAfterOneOf(it, doubted))
    .reduce((so, { step, n }) => andThen(so, advance(so.after, { kind: "attempt", step, n, input }, at)), change);
  const attempts = after.attempts.map((it) => {
    const isNext = it.state === "waiting" && isAfterOneOf(it, cleared);
    return isNext ? { ...it, dueMs: Math.max(at.nowMs, it.notes.notBeforeMs ?? 0) } : it;
  });
  return { ...rest, after: cleared.length === 0 ? after : { ...after, attempts } };
}

export interface Entry {
  readonly run: RunId;
  readonly step: StepName;
  readonly n: number;
  readonly input: AttemptInput;
  /** What the same turn learned of the anchor that owns the attempt's Job. */
  readonly anchor?: AnchorInput;
}

/** What the sweep learned of an anchor. */
export interface AnchorEntry {
  readonly run: RunId;
  readonly number: number;
  readonly input: AnchorInput;
}

/** Returns the anchors that a change touched. */
export const movedAnchors = ({ before, after }: Change): readonly Anchor[] =>
  after.anchors === before?.anchors ? [] : (after.anchors ?? []).filter((it) => !before?.anchors?.includes(it));

/** Returns the anchors that a change forgot: they are gone, and a newer one was booked. */
export const forgottenAnchors = ({ before, after }: Change): readonly Anchor[] =>
  after.anchors === before?.anchors
    ? []
    : (before?.anchors ?? []).filter((was) => !after.anchors?.some(({ number }) => number === was.number));

/** `attempt`: the attempt as it is now. "unknown": the ledger has no such attempt. */
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
  for (const { step, n, input, anchor } of entries) {
    const before = attemptIn(change.after, step, n);
    if (before === undefined) {
      recorded.push({ kind: "unknown" });
      continue;
    }
    const advanced = advance(change.after, { kind: "attempt", step, n, input }, at);
    change = andThen(change, advanced);
    const number = before.notes.anchor;
    if (anchor !== undefined && number !== undefined)
      change = andThen(change, advance(change.after, { kind: "anchor", number, input: anchor }, at));
    const attempt = attemptIn(change.after, step, n) ?? before;
    const kind = advanced.illegal ? "illegal" : attempt === before ? "stayed" : "moved";
    recorded.push({ kind, attempt, runState: change.after.run.state });
  }
  return { change: turnNext(change, at), recorded };
}

/** All entries are of this run. */
export function applyToAnchors(record: RunRecord, entries: readonly AnchorEntry[], at: Advancing): Change {
  const change = entries.reduce(
    (so, { number, input }) => andThen(so, advance(so.after, { kind: "anchor", number, input }, at)),
    unchanged(record),
  );
  return turnNext(change, at);
}

export const WORK_KINDS = ["waiting", "ready", "claimed", "live", "closing", "ended", "outbox", "strays", "notices"] as const;
export type WorkKind = (typeof WORK_KINDS)[number];

/** A change to one of these states is work at once. A change to claimed or live is not: their work comes with a timer. */
const KIND_MADE: Readonly<Partial<Record<AttemptState, WorkKind>>> = {
  waiting: "waiting",
  ready: "ready",
  closing: "closing",
  ended: "ended",
};

/**
 * The kinds of work that are due when the timer of an attempt in this state has passed. A claim that ran out is made again, or
 * its Job is looked for once the claim's fence has passed.
 */
export const KINDS_DUE: Readonly<Partial<Record<AttemptState, readonly WorkKind[]>>> = {
  ready: ["ready"],
  claimed: ["ready", "claimed"],
  live: ["live"],
  closing: ["closing"],
  ended: ["ended"],
};

/** Returns the kinds of work that these changes made due now. */
export function workMadeBy(changes: readonly Change[], nowMs: number): readonly WorkKind[] {
  const kinds = new Set<WorkKind>();
  for (const change of changes) {
    if (change.told.length > 0) kinds.add("outbox");
    const isSweepDue = movedAnchors(change).some(
      ({ state, dueMs }) => state === "sweeping" && dueMs !== undefined && dueMs <= nowMs,
    );
    if (change.strays.length > 0 || isSweepDue) kinds.add("strays");
    if (lineChange(change) === "left") kinds.add("waiting"); // the next in line may be let in
    for (const [, { state, dueMs }] of movedAttempts(change)) {
      const kind = KIND_MADE[state];
      if (kind !== undefined && dueMs !== undefined && dueMs <= nowMs) kinds.add(kind);
    }
  }
  return [...kinds];
}

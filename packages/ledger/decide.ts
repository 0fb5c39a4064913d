/**
 * What a batch means for runs that are under their locks: pure, and the same on Postgres and in the model.
 *
 * The bug this prevents: a model that passes the simulation because it decides more kindly than the ledger does.
 */
import type { RunId, StepName } from "@longshore/contract/ids.ts";
import type { Problem } from "@longshore/contract/problem.ts";
import { admit, TOMBSTONE_MS, type Verdict } from "@longshore/domain/run/admit.ts";
import { advance, type Advancing } from "@longshore/domain/run/advance.ts";
import type { Attempt, Run, RunRecord, Stray, Told } from "@longshore/domain/run/record.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { type Claiming, type Entry, type GroupState, type Intake, type Judge, type Recorded, UNSERVED_MS } from "./port.ts";
import { NO_PLAN } from "./postgres/rows.ts";

/** One run's change within a transaction: several inputs, applied one after the other, and written at once. */
export interface Change {
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

interface Step {
  readonly record: RunRecord;
  readonly told: readonly Told[];
  readonly strays: readonly Stray[];
}

/** `change`, and then this. A step that changed nothing gives the same record back. */
function then(change: Change, { record, told, strays }: Step): Change {
  const { generation } = record.run;
  const same = told.length === 0 && sameRecord(change.after, record);
  return {
    before: change.before,
    after: same ? change.after : record,
    told: [...change.told, ...told.map((it) => ({ told: it, generation }))],
    strays: [...change.strays, ...strays],
  };
}

/** The tables return a new run object whatever happens; its fields tell whether something did. */
function sameRecord(a: RunRecord, b: RunRecord): boolean {
  const names = Object.keys(a.run) as (keyof Run)[];
  return a.attempts === b.attempts && names.every((name) => a.run[name] === b.run[name]);
}

// ── Inputs of attempts ──────────────────────────────────────────────────────────────────────────────────────────────

export interface Decided {
  readonly change: Change;
  readonly recorded: readonly Recorded[];
}

export function decideEntries(record: RunRecord, entries: readonly Entry[], at: Advancing): Decided {
  let change = unchanged(record);
  const recorded: Recorded[] = [];
  for (const { step, n, input } of entries) {
    const before = attemptIn(change.after, step, n);
    if (before === undefined) {
      recorded.push({ kind: "unknown" });
      continue;
    }
    const advanced = advance(change.after, { kind: "attempt", step, n, input }, at);
    change = then(change, advanced);
    const attempt = attemptIn(change.after, step, n) ?? before;
    const kind = advanced.illegal ? "illegal" : attempt === before ? "stayed" : "moved";
    recorded.push({ kind, attempt, runState: change.after.run.state });
  }
  return { change: wakeNext(change, at.nowMs), recorded };
}

export const attemptIn = ({ attempts }: RunRecord, step: StepName, n: number): Attempt | undefined =>
  attempts.find((it) => it.step === step && it.n === n);

/** A retry waits until nothing is left of the attempt before it; that moment is now. */
function wakeNext({ before, after, told, strays }: Change, nowMs: number): Change {
  const gone = after.attempts.filter(
    ({ state, step, n }) => state === "done" && before !== undefined && attemptIn(before, step, n)?.state !== "done",
  );
  if (gone.length === 0) return { before, after, told, strays };
  const attempts = after.attempts.map((it) => {
    const isNext = it.state === "waiting" && gone.some(({ step, n }) => step === it.step && n === it.n - 1);
    return isNext ? { ...it, dueMs: Math.max(nowMs, it.notes.notBeforeMs ?? 0) } : it;
  });
  return { before, after: { ...after, attempts }, told, strays };
}

// ── Placing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How long a retry rests whose predecessor is not done; `wakeNext` is what wakes it, this is for when that was missed. */
const PREDECESSOR_CHECK_MS = 30_000;

export interface Candidate {
  readonly run: RunId;
  readonly step: StepName;
  readonly n: number;
}

export interface DecidedPlaces {
  readonly changes: ReadonlyMap<RunId, Change>;
  readonly placed: number;
  readonly told: number;
  readonly claimed: readonly Candidate[];
}

/** Judges one after the other, each with the slots and the room that the ones before it left. */
export function decidePlaces(
  candidates: readonly Candidate[],
  records: ReadonlyMap<RunId, RunRecord>,
  groups: readonly GroupState[],
  judge: Judge,
  at: Advancing,
  claiming: Claiming | undefined,
): DecidedPlaces {
  const changes = new Map<RunId, Change>();
  const claimed: Candidate[] = [];
  const room = new Map(claiming?.room);
  let free = groups;
  let placed = 0;
  let told = 0;
  for (const { run, step, n } of candidates) {
    const record = records.get(run);
    if (record === undefined) continue;
    const change = changes.get(run) ?? unchanged(record);
    const attempt = attemptIn(change.after, step, n);
    const closed =
      attempt?.state === "ready"
        ? closedBy(
            groups.find((it) => it.name === attempt.group),
            at.nowMs,
          )
        : undefined;
    if (closed !== undefined) {
      changes.set(run, then(change, advance(change.after, { kind: "attempt", step, n, input: closed }, at)));
      told++;
      continue;
    }
    if (attempt?.state !== "waiting" || attempt.dueMs === undefined || attempt.dueMs > at.nowMs) continue;
    const previous = attemptIn(change.after, step, n - 1);
    if (previous !== undefined && previous.state !== "done" && at.nowMs < attempt.notes.waitUntilMs) {
      changes.set(run, later(change, attempt, Math.min(attempt.notes.waitUntilMs, at.nowMs + PREDECESSOR_CHECK_MS)));
      continue;
    }
    const judged =
      previous !== undefined && previous.state !== "done"
        ? ({ kind: "waitExpired" } as const)
        : judge(attempt, change.after.run, free, at.nowMs);
    const after = then(change, advance(change.after, { kind: "attempt", step, n, input: judged }, at));
    changes.set(run, after);
    if (judged.kind === "placed" && attemptIn(after.after, step, n)?.state === "ready") {
      placed++;
      const left = room.get(judged.group) ?? 0;
      const isClaimed = claiming !== undefined && left > 0;
      const inLine = isClaimed ? 0 : 1;
      free = free.map((it) =>
        it.name === judged.group ? { ...it, slotsUsed: it.slotsUsed + 1, inLine: it.inLine + inLine } : it,
      );
      if (!isClaimed) continue;
      const input = { kind: "claimDue", by: claiming.by, untilMs: at.nowMs + claiming.forMs } as const;
      changes.set(run, then(after, advance(after.after, { kind: "attempt", step, n, input }, at)));
      room.set(judged.group, left - 1);
      claimed.push({ run, step, n });
    } else if (after.told.length > change.told.length) told++;
  }
  return { changes, placed, told, claimed };
}

/** Why a group takes nothing any more, as what is said to attempts in its line; what is on the wire goes on. */
export function closedBy(group: GroupState | undefined, nowMs: number): Extract<AttemptInput, { kind: "noPlace" }> | undefined {
  if (group === undefined) return undefined;
  const { name, paused, servedAtMs } = group;
  const unserved = servedAtMs === undefined || nowMs - servedAtMs >= UNSERVED_MS;
  if (!paused && !unserved) return undefined;
  const [reason = "", why = ""] = paused ? ["GroupsPaused", "It is paused."] : ["NoGroup", "No launcher serves it any more."];
  return { kind: "noPlace", reason, considered: [{ group: name, verdict: "skipped", why }], retryAtMs: nowMs };
}

function later(change: Change, attempt: Attempt, dueMs: number): Change {
  const attempts = change.after.attempts.map((it) => (it === attempt ? { ...it, dueMs } : it));
  return { ...change, after: { ...change.after, attempts } };
}

// ── Commands ────────────────────────────────────────────────────────────────────────────────────────────────────────

export type Answer =
  | { readonly kind: "write"; readonly change: Change }
  | { readonly kind: "duplicate" }
  | { readonly kind: "refuse"; readonly problems: readonly Problem[] };

/** Can this admission bring a run's row into being? */
export const creates = ({ admission }: Intake): boolean =>
  admission.kind === "run" || (admission.kind === "cancel" && (admission.generation === undefined || admission.generation === 1));

/** These are the same command again by their id; a request is by its run's id and content. */
export const isRemembered = ({ admission: { kind } }: Intake): boolean =>
  kind === "cancel" || kind === "restart" || kind === "abandon";

/** `existing`: the run under its lock, whoever's it is. */
export function decideIntake(existing: Change | undefined, intake: Intake, at: Advancing): Answer {
  if (intake.admission.kind === "invalid") return { kind: "refuse", problems: intake.admission.problems };
  const found = existing?.after;
  // Operators answer for everybody's runs.
  const foreign = found !== undefined && found.run.tenant !== intake.tenant && intake.admission.kind !== "abandon";
  const isStone = found?.run.state === "tombstone";
  const worn = isStone && at.nowMs - found.run.acceptedAtMs >= TOMBSTONE_MS;
  if (foreign && !worn && !(isStone && intake.admission.kind === "run")) return ofAnother(intake);

  const visible = worn || foreign ? undefined : found;
  const admission =
    intake.admission.kind === "run"
      ? { ...intake.admission, run: { ...intake.admission.run, nowMs: at.nowMs } }
      : intake.admission;
  return answer(admit(visible, admission, at), existing, intake, at);
}

function answer(verdict: Verdict, existing: Change | undefined, intake: Intake, at: Advancing): Answer {
  switch (verdict.kind) {
    case "duplicate":
    case "refuse":
      return verdict;
    case "tombstone": {
      const record = { run: tombstone(intake, verdict.cancel, at.nowMs), attempts: [] };
      return { kind: "write", change: { before: existing?.before, after: record, told: [], strays: [] } };
    }
    case "write": {
      const change = then(existing ?? { before: undefined, after: verdict.record, told: [], strays: [] }, verdict);
      return { kind: "write", change: wakeNext(change, at.nowMs) };
    }
  }
}

/** That somebody else's run exists is nobody's business but theirs, as far as that can be hidden. */
function ofAnother({ admission }: Intake): Answer {
  const [code, message] =
    admission.kind === "run"
      ? ["IdempotencyConflict", "This id is taken; use another one, for example with a prefix of your own."]
      : ["RunUnknown", "No run has this id."];
  return { kind: "refuse", problems: [{ path: "/data/run", code, message }] };
}

function tombstone({ run, tenant, source }: Intake, cancel: Run["cancel"], nowMs: number): Run {
  if (run === undefined) throw new TypeError("a cancel without a run's id is not an admission");
  return {
    id: run, tenant, source, digest: "", state: "tombstone", outcome: undefined, generation: 1, seq: 0, group: undefined, cancel,
    plan: NO_PLAN, steps: {}, acceptedAtMs: nowMs, endedAtMs: undefined,
  }; // biome-ignore format: a value read as one
}

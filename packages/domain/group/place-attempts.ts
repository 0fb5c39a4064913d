/**
 * Places many waiting attempts at once, one after the other, each with the slots and the room that the earlier ones left.
 *
 * The bugs this prevents: a thousand runs that all see the first group's last free slot; and a slot that goes to a run because
 * it is due, past a more urgent run whose timer has not come or that was not read. Both ledgers call this while no other placer
 * can count or take slots.
 */
import type { GroupName, RunId, StepName } from "@longshore/contract/ids.ts";
import { leavable, pinnedTo } from "../anchor/of-run.ts";
import type { InputOf } from "../attempt/input.ts";
import { advance, type Advancing } from "../run/advance.ts";
import { andThen, type Change, unchanged } from "../run/change.ts";
import { isLetIn, letIn, outside } from "../run/concurrency.ts";
import { type Attempt, attemptIn, type RunRecord } from "../run/record.ts";
import { heldBack, type HeldBack } from "../run/steps.ts";
import { judgeAttempt, type Judgement, takesMore, unserved } from "./choose-group.ts";
import { type Group, isUnserved, NO_STORAGE, type Placer } from "./group.ts";

export interface Candidate {
  readonly run: RunId;
  readonly step: StepName;
  readonly n: number;
  readonly priority: number;
  /** The run's key: runs that were accepted later have greater ones. */
  readonly accepted: number;
}

/** The order in which attempts take slots: by priority, then by acceptance, whatever their timers say. */
export const byTurn = (a: Candidate, b: Candidate): number =>
  b.priority - a.priority || a.accepted - b.accepted || compare(a.step, b.step) || a.n - b.n;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * A list of candidates that a ledger reads for one purpose, with a bound.
 *
 * `fresh`: due attempts that were not judged since they began to wait: any group may take them. `due`: attempts to judge again,
 * for a new reason or because their wait is over. `withdrawn`: attempts whose group launches them no more. `entering`: attempts of
 * runs that leave the line of their concurrency key, due or not. A list of groups:
 * attempts that wait for room in exactly these groups, due or not. `fresh` and the lists of groups hold the first attempts by
 * turn.
 */
export interface Line {
  readonly of: "fresh" | "due" | "withdrawn" | "entering" | readonly GroupName[];
  readonly candidates: readonly Candidate[];
  /** There may be more such candidates than were read. */
  readonly isCut: boolean;
}

export const lineOf = (of: Line["of"], candidates: readonly Candidate[], most: number): Line => ({
  of,
  candidates: candidates.toSorted(byTurn),
  isCut: candidates.length >= most,
});

/** The free slots of each group that takes attempts now. */
export type Openings = ReadonlyMap<GroupName, number>;

export const openingsOf = (groups: readonly Group[], placer: Placer, nowMs: number): Openings =>
  new Map(
    groups.flatMap((it) => (takesMore(it, placer, nowMs) ? [[it.name, it.settings.limits.jobs - it.slotsUsed] as const] : [])),
  );

/** Returns how many attempts to read that wait for room in these groups: more could not be placed. */
export const mostFor = (waitsFor: readonly GroupName[], openings: Openings, most: number): number =>
  Math.min(
    most,
    waitsFor.reduce((sum, name) => sum + (openings.get(name) ?? 0), 0),
  );

export interface Placing {
  readonly lines: readonly Line[];
  readonly records: ReadonlyMap<RunId, RunRecord>;
  readonly groups: readonly Group[];
  /** The runs that may be let in now, though a limit for their concurrency key holds others back. */
  readonly entering: ReadonlySet<RunId>;
  readonly placer: Placer;
  /** No more attempts than this are placed. */
  readonly most: number;
  readonly claiming: Claiming | undefined;
}

export interface Claiming {
  readonly by: string;
  readonly forMs: number;
  /** The number of attempts of each group that the caller can still claim. */
  readonly room: ReadonlyMap<GroupName, number>;
}

export interface PlacedAttempts {
  readonly changes: ReadonlyMap<RunId, Change>;
  readonly placed: number;
  /** The number of attempts that found no group, and have a new reason. */
  readonly told: number;
  readonly claimed: readonly Candidate[];
  /** Something was decided, and there may be more to decide. */
  readonly more: boolean;
}

export function placeAttempts(placing: Placing, at: Advancing): PlacedAttempts {
  const { lines, groups, claiming } = placing;
  const round: Round = {
    ...placing, at, changes: new Map(), claimed: [], room: new Map(claiming?.room), free: groups, placed: 0, told: 0,
  }; // biome-ignore format: a value read as one
  const isStopped = inTurn(lines).some((candidate) => {
    const isOver = endsBefore(round, candidate);
    if (!isOver) decide(round, candidate);
    return isOver;
  });
  const { changes, placed, told, claimed } = round;
  const isLeft = ({ of, isCut }: Line): boolean => isCut && (typeof of === "string" || takesAnyOf(round, of));
  return { changes, placed, told, claimed, more: changes.size > 0 && (isStopped || lines.some(isLeft)) };
}

/** One round of placing: the attempts placed so far, and the slots and storage that they left for the next ones. */
interface Round extends Placing {
  readonly at: Advancing;
  readonly changes: Map<RunId, Change>;
  readonly claimed: Candidate[];
  /** The number of attempts of each group that can still be claimed. */
  readonly room: Map<GroupName, number>;
  /** The groups, with the slots that are taken now. */
  free: readonly Group[];
  placed: number;
  told: number;
}

function takesAnyOf({ free, placer, at }: Round, of: Line["of"]): boolean {
  const takes = (it: Group): boolean => takesMore(it, placer, at.nowMs);
  if (of === "fresh") return free.some(takes);
  return typeof of !== "string" && free.some((it) => of.includes(it.name) && takes(it));
}

/** The unread attempts of a cut line come before this candidate, so it may not take a slot that one of them could take. */
function endsBefore(round: Round, candidate: Candidate): boolean {
  const isAhead = ({ of, candidates, isCut }: Line): boolean => {
    const last = candidates.at(-1);
    return isCut && last !== undefined && byTurn(last, candidate) < 0 && takesAnyOf(round, of);
  };
  return round.placed >= round.most || round.lines.some(isAhead);
}

function decide(round: Round, candidate: Candidate): void {
  const { changes, records, entering, free, placer, at } = round;
  const { run, step, n } = candidate;
  const record = records.get(run);
  if (record === undefined) return;
  const before = unbound(entered(changes.get(run) ?? unchanged(record), entering, at.nowMs), candidate, free, placer, at);
  const attempt = attemptIn(before.after, step, n);
  const input = attempt && inputFor(attempt, before.after, free, placer, at.nowMs);
  if (attempt === undefined || input === undefined) return;
  if (input.kind === "heldBack") return void changes.set(run, lookedAtAgain(before, attempt, input.untilMs));
  const change = andThen(before, advance(before.after, { kind: "attempt", step, n, input }, at));
  if (input.kind !== "placed" && change.told.length > before.told.length) round.told++;
  changes.set(run, input.kind === "placed" ? take(round, candidate, input, before.after, change) : change);
}

/** Books the slots and the storage. Claims the attempt at once if its group has room for one more create. */
function take(
  round: Round,
  candidate: Candidate,
  { group, slots }: InputOf<"placed">,
  before: RunRecord,
  placed: Change,
): Change {
  const { claiming, room, claimed, at } = round;
  const left = room.get(group) ?? 0;
  const isClaimed = claiming !== undefined && left > 0;
  const bytes = pinnedTo(before) === undefined ? (before.run.plan.storage?.anchor?.bytes ?? 0) : 0;
  round.placed++;
  round.free = round.free.map((it) => (it.name === group ? withOneMore(it, isClaimed, bytes, slots) : it));
  if (!isClaimed) return placed;
  const { step, n } = candidate;
  room.set(group, left - 1);
  claimed.push(candidate);
  const claim = { kind: "claimDue", by: claiming.by, untilMs: at.nowMs + claiming.forMs } as const;
  return andThen(placed, advance(placed.after, { kind: "attempt", step, n, input: claim }, at));
}

/** A run that is let in stays so, even if no group can take it now: else the next in line would pass it. */
function entered(change: Change, entering: ReadonlySet<RunId>, nowMs: number): Change {
  const { run } = change.after;
  if (run.plan.concurrency === undefined || !entering.has(run.id) || isLetIn(change.after)) return change;
  return { ...change, after: letIn(change.after, nowMs) };
}

/**
 * A run is bound to the group of its volumes only once they are there. If that group cannot take it and another one can, what was
 * made of them is given up: else it would wait for a group that is paused, or away, where nothing of it exists.
 */
function unbound(change: Change, { step, n }: Candidate, groups: readonly Group[], placer: Placer, at: Advancing): Change {
  const record = change.after;
  const [attempt, anchor] = [attemptIn(record, step, n), leavable(record)];
  if (attempt?.state !== "waiting" || anchor === undefined) return change;
  const { anchors: _, ...free } = record;
  const kindOf = (of: RunRecord) => inputFor(attempt, of, groups, placer, at.nowMs)?.kind;
  if (kindOf(record) === "placed" || kindOf(free) !== "placed") return change;
  return andThen(change, advance(record, { kind: "anchor", number: anchor.number, input: { kind: "noRoom" } }, at));
}

/** Returns each candidate once, by turn. A candidate that waits for room and is also due is in two lines. */
function inTurn(lines: readonly Line[]): readonly Candidate[] {
  const all = lines.flatMap(({ candidates }) => candidates).toSorted(byTurn);
  return all.filter((it, index) => {
    const before = all[index - 1];
    return before === undefined || byTurn(before, it) !== 0;
  });
}

/** `undefined`: nothing is decided about the attempt now; it was moved meanwhile, or its time has not come. */
function inputFor(
  attempt: Attempt,
  record: RunRecord,
  groups: readonly Group[],
  placer: Placer,
  nowMs: number,
): Judgement | HeldBack | undefined {
  if (attempt.state === "ready") {
    const group = groups.find(({ name }) => name === attempt.group);
    return group && withdrawnFrom(group, nowMs);
  }
  const { state, dueMs, waitsFor = [], notes } = attempt;
  if (state !== "waiting" || dueMs === undefined) return undefined;
  const isDue = dueMs <= nowMs;
  if (!isDue && waitsFor.length === 0) return undefined;
  const { concurrency } = record.run.plan;
  if (concurrency !== undefined && !isLetIn(record)) return outside(attempt, concurrency, nowMs);
  const input = heldBack(record, attempt, groups, nowMs) ?? judgeAttempt(attempt, record, groups, placer, nowMs);
  // The attempt was judged only because a group had room, which another attempt took: nothing is new.
  const isOld = input.kind === "noPlace" && input.reason === notes.waiting && String(input.waitsFor) === String(waitsFor);
  return isOld && !isDue ? undefined : input;
}

const withOneMore = (group: Group, isClaimed: boolean, bytes: number, slots = 1): Group => ({
  ...group,
  slotsUsed: group.slotsUsed + slots,
  inLine: (group.inLine ?? 0) + (isClaimed ? 0 : 1),
  ...(bytes > 0 && { storage: { ...NO_STORAGE, ...group.storage, usedBytes: (group.storage?.usedBytes ?? 0) + bytes } }),
});

/**
 * Returns why a group takes nothing any more, as an input for the attempts in its line. Their creates were never sent, so they
 * may go to another group.
 */
export function withdrawnFrom(group: Group, nowMs: number): InputOf<"noPlace"> | undefined {
  const { name, paused } = group;
  if (!paused && !isUnserved(group, nowMs)) return undefined;
  const [reason, why] = paused
    ? (["GroupsPaused", "It is paused."] as const)
    : (["NoGroup", "No launcher serves it any more."] as const);
  const diagnosis = paused ? {} : { diagnosis: unserved([name]) };
  return { kind: "noPlace", reason, considered: [{ group: name, verdict: "skipped", why }], retryAtMs: nowMs, ...diagnosis };
}

function lookedAtAgain(change: Change, attempt: Attempt, dueMs: number): Change {
  const attempts = change.after.attempts.map((it) => (it === attempt ? { ...it, dueMs, waitsFor: undefined } : it));
  return { ...change, after: { ...change.after, attempts } };
}

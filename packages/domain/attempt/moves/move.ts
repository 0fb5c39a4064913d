/**
 * A cell's result in the attempt's table: the new attempt, its news, and the strays that have to go. This file also closes and
 * ends attempts, with the result of each cause.
 *
 * The bug this prevents: a name that becomes free while a create of it may still land. Until the fence has passed, an ended Job
 * keeps its hold. The release loop looks at once: if no Job has the name, it creates an occupant.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { EventData } from "@longshore/contract/messages/event.ts";
import type { Evidence, LogTail, SliceCounts } from "@longshore/contract/messages/fact.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { Attempt, AttemptOutcome, AttemptResult, Cause, Limits, Stray } from "../../run/record.ts";
import { isFenced, isKept, isOpen } from "../../run/record.ts";
import type { InputKind, InputOf } from "../input.ts";

export interface Context {
  readonly nowMs: number;
  readonly limits: Limits;
  /** The step's program has a token, with which it may make pods of its own. */
  readonly hasToken?: boolean;
  /** The number of the step's slices that may fail. Absent for a step of one pod. */
  readonly failedMax?: number | undefined;
}

/** News of an attempt, in order. Its end is told by the step's and the run's tables. */
export type News =
  | {
      readonly kind: "waiting";
      readonly reason: WaitWord;
      readonly considered: EventData<"run.waiting">["considered"];
      readonly diagnosis?: Diagnosis;
    }
  | { readonly kind: "launched"; readonly adopted: boolean }
  | { readonly kind: "started"; readonly evidence: Evidence }
  | { readonly kind: "stalled"; readonly diagnosis: Diagnosis }
  | { readonly kind: "resumed" }
  | { readonly kind: "progressed"; readonly slices: SliceCounts };

/** `attempt` stays the same object if nothing of it changed, and only then. */
export interface Move {
  readonly attempt: Attempt;
  readonly news: readonly News[];
  readonly strays: readonly Stray[];
  readonly illegal: boolean;
}

/** The `in` lets a rule for several inputs serve as a rule for each of them. */
export type Rule<in K extends InputKind> = (attempt: Attempt, input: InputOf<K>, context: Context) => Move;

export const move = (attempt: Attempt, news: readonly News[] = [], strays: readonly Stray[] = []): Move => ({
  attempt,
  news,
  strays,
  illegal: false,
});

export const stay = (attempt: Attempt): Move => move(attempt);
/** An input that an attempt in this state should never get: it is counted and logged, and nothing changes. */
export const illegal = (attempt: Attempt): Move => ({ ...move(attempt), illegal: true });

/** Puts earlier news before the move's own. */
export const after = (news: readonly News[], then: Move): Move =>
  news.length === 0 ? then : { ...then, news: [...news, ...then.news] };

// ── Closing and ending ───────────────────────────────────────────────────────────────────────────────────────────────

export const CAUSES: Readonly<Record<Cause, { readonly result: AttemptResult; readonly diagnosis: Diagnosis }>> = {
  cancel: { result: "cancelled", diagnosis: diagnose("Cancelled", "It was cancelled.") },
  deadline: { result: "failed", diagnosis: diagnose("DeadlineExceeded", "It ran longer than its deadline allows.") },
  startExpired: { result: "failed", diagnosis: diagnose("StartExpired", "Its pod did not start in time.") },
  waitExpired: { result: "failed", diagnosis: diagnose("WaitExpired", "No group could take it within `waitFor`.") },
  refused: { result: "refused", diagnosis: diagnose("Unknown", "The cluster refused it.") },
  nameConflict: { result: "refused", diagnosis: diagnose("NameConflict", "A Job that is not ours holds its name.") },
  external: {
    result: "deleted",
    diagnosis: diagnose("DeletedExternally", "Somebody deleted the Job while it was not finished."),
  },
  elsewhere: { result: "moved", diagnosis: diagnose("Unschedulable", "Its cluster had no node for it.") },
  vanished: {
    result: "lost",
    diagnosis: diagnose("Gone", "The Job vanished before its outcome was read; its group keeps no hold on Jobs."),
  },
};

export function closing(attempt: Attempt, cause: Cause, diagnosis: Diagnosis, { nowMs }: Context): Move {
  return move({
    ...attempt,
    state: "closing",
    cause,
    dueMs: nowMs,
    claimBy: undefined,
    claimUntilMs: undefined,
    notes: { ...attempt.notes, closing: diagnosis },
  });
}

/** For an attempt without a known Job: "unknown" if a create of it was never answered, "no" if every create was refused. */
export const notStarted = ({ started, notes }: Attempt): Attempt["started"] =>
  started === "yes" ? "yes" : notes.unproven === true ? "unknown" : "no";

export interface How {
  readonly diagnosis?: Diagnosis;
  readonly evidence?: Evidence;
  /** Absent: nothing new is known about the start. */
  readonly started?: Attempt["started"];
}

export function endOfCause(attempt: Attempt, context: Context, how: How): Move {
  const { result, diagnosis } = CAUSES[attempt.cause ?? "external"];
  // Work that may have run is repeated only if `retries.on` allows it: "moved" needs proof that nothing started.
  const isProved = result !== "moved" || startedAfter(attempt, how) === "no";
  return end(attempt, isProved ? result : "failed", context, { diagnosis: attempt.notes.closing ?? diagnosis, ...how });
}

/** A "no" that was noted while the pods could be seen outlasts a later "unknown". */
function startedAfter(attempt: Attempt, { started = "unknown" }: How): Attempt["started"] {
  return attempt.started === "yes" || started === "unknown" ? attempt.started : started;
}

/** The log that was read while the pods were there outlasts one that could not be read when they were gone. */
const withLog = (evidence: Evidence, log: LogTail): Evidence =>
  evidence.log === undefined || evidence.log.state === "unavailable" ? { ...evidence, log } : evidence;

/**
 * Ends the attempt; the release loop takes its hold off later. If no cluster can have anything of the attempt, it is done at
 * once.
 */
export function end(attempt: Attempt, result: AttemptResult, { nowMs, hasToken = false }: Context, how: How): Move {
  const { diagnosis } = how;
  const { log, ...others } = attempt.notes;
  const mayHaveChildren = hasToken && attempt.group !== undefined && startedAfter(attempt, how) !== "no";
  const notes = mayHaveChildren ? { ...others, children: true as const } : others;
  const evidence = log === undefined ? how.evidence : withLog({ started: startedAfter(attempt, how), ...how.evidence }, log);
  const outcome: AttemptOutcome = { result, ...(diagnosis && { diagnosis }), ...(evidence && { evidence }), endedAtMs: nowMs };
  const ended: Attempt = {
    ...attempt,
    notes,
    state: "ended",
    outcome,
    started: startedAfter(attempt, how),
    claimBy: undefined,
    claimUntilMs: undefined,
    waitsFor: undefined,
    dueMs: nowMs,
  };
  const isNowhere = attempt.uid === undefined && attempt.occupantUid === undefined && !isOpen(attempt);
  return move(isNowhere ? finish(ended) : ended);
}

/** The next look at an ended attempt: after its fence if a look saw that its name is taken, else at once. */
export const restUntilMs = (attempt: Attempt, nowMs: number): number =>
  isKept(attempt) && isFenced(attempt, nowMs) ? (attempt.fenceUntilMs ?? nowMs) : nowMs;

/**
 * The name of a fenced attempt may be free: looks that began earlier no longer count, also one that is under way. If the attempt
 * rested, it is looked at now.
 */
export function doubted(attempt: Attempt, nowMs: number): Attempt {
  if (attempt.state !== "ended" || !isFenced(attempt, nowMs)) return attempt;
  const notes = { ...attempt.notes, doubtedAtMs: nowMs };
  return { ...attempt, notes, dueMs: isKept(attempt) ? nowMs : attempt.dueMs };
}

/** An attempt with children is not done: nobody would look for them. */
export const finish = (attempt: Attempt): Attempt =>
  attempt.notes.children === true
    ? { ...attempt, unanswered: [] }
    : { ...attempt, state: "done", dueMs: undefined, unanswered: [] };

/** One run as the ledger keeps it and the tables decide on it: plain values, times in milliseconds, nothing of a database. */
import type { Code, Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { CommandData } from "@longshore/contract/command.ts";
import type { EventData, Outcome, RunEventType } from "@longshore/contract/event.ts";
import type { Evidence, Started } from "@longshore/contract/fact.ts";
import type { GroupName, RunId, StepName, TenantName, Uid } from "@longshore/contract/ids.ts";
import type { RetryCause, StepRequest } from "@longshore/contract/request.ts";

/** "tombstone": a cancel that came before its run. */
export const RUN_STATES = ["tombstone", "active", "cancelling", "ended"] as const;
export type RunState = (typeof RUN_STATES)[number];

/** Counts of runs to start from, so that a state without runs counts 0. */
export const noRuns = (): Record<RunState, number> =>
  Object.fromEntries(RUN_STATES.map((state) => [state, 0])) as Record<RunState, number>;

export interface Run {
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly source: string;
  readonly digest: string;
  readonly state: RunState;
  readonly outcome: Outcome | undefined;
  readonly generation: number;
  /** The last event's sequence: 0 before the first. Dense over the run's life. */
  readonly seq: number;
  /** Where its newest attempt was placed, for routing keys. */
  readonly group: GroupName | undefined;
  readonly cancel: Cancel | undefined;
  readonly plan: Plan;
  readonly steps: Readonly<Record<string, Step>>;
  readonly acceptedAtMs: number;
  readonly endedAtMs: number | undefined;
}

export interface Cancel {
  readonly reason?: string | undefined;
  readonly actor?: CommandData<"run.cancel">["actor"];
  readonly graceSeconds?: number | undefined;
}

/** Why an operator gave it up, and who. */
export type GivenUp = Pick<Cancel, "reason" | "actor">;

/** What the tables need to know of a request; the rest of it only the manifest needs. Fixed when the run is accepted. */
export interface Plan {
  /** Short form: one step, and no events about steps. */
  readonly simple: boolean;
  readonly steps: readonly PlannedStep[];
  readonly groups: readonly GroupName[] | undefined;
  readonly priority: number;
  readonly notBeforeMs: number | undefined;
  readonly limits: Limits;
  /** Corrections of the newest restart. */
  readonly with: CommandData<"run.restart">["with"];
  /** Of the message that requested the run: a restart stays in the run's trace. */
  readonly traceparent?: string;
}

export interface PlannedStep {
  readonly name: StepName;
  readonly needs: readonly StepName[];
  readonly when: NonNullable<StepRequest["when"]>;
  readonly outputs: readonly string[];
  /** For the groups' policies. Absent in plans that were made before there were any. */
  readonly image?: string;
}

export interface Limits {
  readonly waitForMs: number;
  readonly startWithinMs: number;
  readonly deadlineMs: number;
  readonly retriesMax: number;
  readonly retriesOn: readonly RetryCause[];
  readonly backoffFirstMs: number;
  readonly backoffMostMs: number;
  readonly keepSucceededMs: number;
  readonly keepFailedMs: number;
  /** Sooner than `startWithin` where waiting longer cannot help. */
  readonly giveUpAfterMs: Readonly<Partial<Record<Code, number>>>;
}

export type StepOutcome = Outcome | "skipped";

export interface Step {
  readonly state: "blocked" | "open" | "ended";
  /** The newest attempt's number; 0 before the first. Goes on over restarts, so that no name is used twice. */
  readonly n: number;
  /** Retries made in this generation. */
  readonly retries: number;
  readonly outcome?: StepOutcome;
  /** Skipped since the run was cancelled, and not by what became of the steps that it needs. */
  readonly skippedBy?: "cancel";
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly diagnosis?: Diagnosis;
}

export const ATTEMPT_STATES = ["waiting", "ready", "claimed", "live", "closing", "ended", "done"] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];
/** Why we are getting rid of a Job; "external" when somebody else began it. */
export type Cause =
  | "cancel"
  | "deadline"
  | "startExpired"
  | "waitExpired"
  | "refused"
  | "nameConflict"
  | "external"
  | "vanished"
  | "elsewhere";

export interface Attempt {
  readonly step: StepName;
  readonly n: number;
  readonly generation: number;
  readonly epoch: number;
  readonly state: AttemptState;
  readonly group: GroupName | undefined;
  /** The Job's: deterministic, so that whoever tries again meets what an earlier try made. */
  readonly name: string;
  readonly priority: number;
  /** When a loop must look at it next. `undefined` exactly when done: nothing unfinished is without a timer. */
  readonly dueMs: number | undefined;
  readonly claimNo: number;
  readonly claimBy: string | undefined;
  readonly claimUntilMs: number | undefined;
  /** Claims whose create may still be on the wire. A set, since an answer applied twice must not lower it twice. */
  readonly unanswered: readonly number[];
  readonly fenceUntilMs: number | undefined;
  readonly occupantUid: Uid | undefined;
  readonly uid: Uid | undefined;
  readonly seenRv: string | undefined;
  readonly started: Started;
  readonly cause: Cause | undefined;
  readonly outcome: AttemptOutcome | undefined;
  readonly notes: Notes;
}

/** "moved": nothing of it started, and the next attempt is made in another group. */
export type AttemptResult = Outcome | "refused" | "deleted" | "moved";

export interface AttemptOutcome {
  readonly result: AttemptResult;
  readonly diagnosis?: Diagnosis;
  readonly evidence?: Evidence;
  readonly endedAtMs: number;
}

/** What the story needs to remember of an attempt: not decided on by other attempts, not asked for by any loop's query. */
export interface Notes {
  /** When it became willing to run: what "waited" counts from. */
  readonly waitsSinceMs: number;
  /** Of the group it was last placed in. */
  readonly namespace?: string;
  /** Its Job carries no hold, as the group wants it: it may vanish before its outcome is read. */
  readonly hold?: false;
  readonly waitUntilMs: number;
  readonly notBeforeMs?: number;
  /** The reason last told in `run.waiting`. */
  readonly waiting?: string;
  readonly avoid?: GroupName;
  readonly considered?: EventData<"run.waiting">["considered"];
  readonly launchedAtMs?: number;
  readonly startedAtMs?: number;
  readonly stall?: Diagnosis;
  readonly stalledAtMs?: number;
  /** Why it is being closed, in words for people. */
  readonly closing?: Diagnosis;
  /** Its recorded Job is provably no more, though creates may still be on the wire. */
  readonly gone?: boolean;
  /** A create of an earlier placement was never answered: that nothing of it ever ran cannot be said any more. */
  readonly unproven?: boolean;
}

export interface RunRecord {
  readonly run: Run;
  readonly attempts: readonly Attempt[];
}

export const attemptIn = ({ attempts }: Pick<RunRecord, "attempts">, step: StepName, n: number): Attempt | undefined =>
  attempts.find((it) => it.step === step && it.n === n);

/** One event to be told: the ledger numbers it under the run's lock. */
export type Told = {
  readonly [T in RunEventType]: { readonly type: T; readonly group: GroupName | undefined; readonly data: EventData<T> };
}[RunEventType];

/**
 * A Job in a cluster that must go, or a hold that must, though no attempt waits for it. "stray": a Job with our proof that
 * is not the attempt's; "release": its outcome was recorded long ago.
 */
export interface Stray {
  readonly kind: "stray" | "release";
  readonly group: GroupName;
  readonly name: string;
  readonly uid: Uid;
  /** Its name stays taken until then: the attempt's fence, or now. */
  readonly holdUntilMs: number;
}

/** A create that nobody waits for any more may still be delivered this long after; then the name may be free. */
export const FENCE_MS = 10 * 60_000;

export const isOpen = (attempt: Attempt): boolean => attempt.unanswered.length > 0;
/** A create may still land: the name must stay taken. */
export const isFenced = (attempt: Attempt, nowMs: number): boolean =>
  isOpen(attempt) && attempt.fenceUntilMs !== undefined && nowMs < attempt.fenceUntilMs;

/** Resource versions of one kind grow; as decimal text they may be longer than a double holds. */
export const isNewer = (rv: string, than: string | undefined): boolean =>
  than === undefined || rv.length > than.length || (rv.length === than.length && rv > than);

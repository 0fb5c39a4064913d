/** One run as the ledger keeps it and the tables decide on it: plain values, times in milliseconds, no types of a database. */
import type { Owner } from "@longshore/contract/request/definition.ts";
import type { ParametersSchema } from "@longshore/contract/request/parameters.ts";
import type { Code, Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { CommandData, Correction } from "@longshore/contract/messages/command.ts";
import type { EventData, Outcome, RunEventType } from "@longshore/contract/messages/event.ts";
import type { Evidence, LogTail, Prepared, SliceCounts, Started } from "@longshore/contract/messages/fact.ts";
import type { DefinitionName, GroupName, RunId, StepName, TenantName, Uid } from "@longshore/contract/ids.ts";
import type { RetryCause, StepRequest } from "@longshore/contract/request/request.ts";
import type { RequestedVolume } from "@longshore/contract/request/volumes.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { Uses } from "../group/policy.ts";

/** "tombstone": a cancel that came before its run. */
export const RUN_STATES = ["tombstone", "active", "cancelling", "ended"] as const;
export type RunState = (typeof RUN_STATES)[number];

export type UnendedState = Exclude<RunState, "ended">;

/** Returns 0 for each state of a run that has not ended: a count begins with it, so that no state is missing. */
export const noRuns = (): Record<UnendedState, number> => ({ tombstone: 0, active: 0, cancelling: 0 });

export interface Run {
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly source: string;
  readonly digest: string;
  readonly state: RunState;
  readonly outcome: Outcome | undefined;
  readonly generation: number;
  /** The last event's sequence, without gaps over the run's life; 0 before the first event. */
  readonly seq: number;
  /** The group of the run's newest placed attempt, for routing keys. */
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

/** Why an operator gave the run up, and which operator. */
export type GivenUp = Pick<Cancel, "reason" | "actor">;

/** The part of a request that the tables need; only the manifest needs the rest. Fixed when the run is accepted. */
export interface Plan {
  /** The request's short form: one step, and no events about steps. */
  readonly simple: boolean;
  readonly steps: readonly PlannedStep[];
  readonly groups: readonly GroupName[] | undefined;
  readonly priority: number;
  readonly notBeforeMs: number | undefined;
  readonly limits: Limits;
  /** The corrections that came with the newest restart, by step. */
  readonly with: Readonly<Record<string, Correction>> | undefined;
  /** The definition that the run was made of, as it was then: its digest tells whether it changed since. */
  readonly definition?: {
    readonly name: DefinitionName;
    readonly digest: string;
    readonly owner?: Owner;
    /** The schemas of the parameters that a restart may correct. */
    readonly parameters?: ParametersSchema["properties"];
    /** The object in the cluster that it is a copy of, as it was when the run was asked for. */
    readonly prepared?: PreparedOf;
  };
  readonly concurrency?: Concurrency;
  /** The parameters that came with the newest restart. */
  readonly withParameters?: Readonly<Record<string, unknown>>;
  /** The names of the parameters that expressions of the request use: a restart may correct these. */
  readonly parameters?: readonly string[];
  /** The outputs of a pipeline that are told at its end, with their expressions. */
  readonly outputs?: Readonly<Record<string, string>>;
  /** The trace of the message that requested the run: a restart stays in that trace. */
  readonly traceparent?: string;
  /** The correlation id of that message: the run's events carry it back. */
  readonly correlationId?: string;
  /** What the volumes need of a group. Absent for a run without volumes. */
  readonly storage?: PlannedStorage;
}

/** `digest` tells what a Job made from the object runs. */
export type PreparedOf = Pick<Prepared, "kind" | "name" | "uid"> & { readonly digest: string };

export interface PlannedAnchor {
  /** The size of all volumes of the run together; 0 if it has none. */
  readonly bytes: number;
  readonly keepSucceededMs: number;
  readonly keepFailedMs: number;
  /** The names of the run's own secret values, and the generation for which they were given. */
  readonly secrets?: { readonly names: readonly string[]; readonly since: number };
}

export interface PlannedStorage {
  /** The claims that are there already, which the group's policy must allow. */
  readonly claims: readonly string[];
  /** The storage classes of volumes that are made; "" is the cluster's default. */
  readonly classes: readonly string[];
  /** Absent if nothing but Jobs is made for the run: then it has no anchor. */
  readonly anchor?: PlannedAnchor;
  /** The parameters in the values of files: with other values a file may become large, and then it needs an anchor. */
  readonly files?: readonly string[];
  /** The volumes with their expressions, and the parameters in these: a restart may correct them. */
  readonly asked?: { readonly volumes: readonly RequestedVolume[]; readonly parameters: Readonly<Record<string, unknown>> };
}

/** How many runs of a tenant with the key may go on at the same time, and whether one more may wait in line. */
export interface Concurrency {
  readonly key: string;
  readonly limit: number;
  readonly then: "queue" | "refuse";
}

export interface PlannedStep {
  readonly name: StepName;
  readonly needs: readonly StepName[];
  readonly when: NonNullable<StepRequest["when"]>;
  readonly outputs: readonly string[];
  /** Outputs that the program writes as annotations of its pod. */
  readonly annotations?: readonly string[];
  /** Whether the step runs at all, as the request says; `known` if that depends on no output. */
  readonly if?: { readonly given: boolean | string; readonly known?: boolean };
  /** What the groups' policies judge, as far as it is known. What depends on an output is judged when the Job is created. */
  readonly uses?: Uses;
  /** Absent for a step of one pod. `count`: how many slices there are, if no output and no restart's parameter says it. */
  readonly slices?: { readonly parallelism: number; readonly failedMax: number; readonly count?: number };
  /** The limits in which the step differs from its run. */
  readonly limits?: Partial<Limits>;
  /** The request has `retries` with a number for this step: its author expects them. */
  readonly retriesAsked?: true;
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
  /** Per diagnosis: the attempt is given up sooner than `startWithin` if waiting longer cannot help. */
  readonly giveUpAfterMs: Readonly<Partial<Record<Code, number>>>;
}

export type StepOutcome = Outcome | "skipped";

export interface Step {
  readonly state: "blocked" | "open" | "ended";
  /** The newest attempt's number; 0 before the first. Restarts do not reset it, so that no name is used twice. */
  readonly n: number;
  /** The number of retries made in this generation. */
  readonly retries: number;
  readonly outcome?: StepOutcome;
  /** Skipped because the run was cancelled, or by its own `if` (then it counts as succeeded), not because of a step that it needs. */
  readonly skippedBy?: "cancel" | "if";
  readonly outputs?: Readonly<Record<string, unknown>>;
  /** Why the text that the container wrote is no output. */
  readonly outputsIgnored?: string;
  readonly diagnosis?: Diagnosis;
}

/** A step that its own `if` skipped counts as done: the steps that need it run. */
export const isSatisfied = ({ outcome, skippedBy }: Step): boolean =>
  outcome === "succeeded" || (outcome === "skipped" && skippedBy === "if");

export const ATTEMPT_STATES = ["waiting", "ready", "claimed", "live", "closing", "ended", "done"] as const;
export type AttemptState = (typeof ATTEMPT_STATES)[number];
/** Why an attempt is closed; "external": somebody else began to delete its Job. */
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
  /**
   * The Job's name. It follows from the attempt alone, so that a create that is tried again meets the Job of an earlier try.
   */
  readonly name: string;
  readonly priority: number;
  /**
   * When a loop must look at the attempt next. `undefined` only for an attempt that is done: every unfinished one has a timer.
   */
  readonly dueMs: number | undefined;
  /**
   * The groups that would take the waiting attempt if they had room, when it was last judged, sorted by name. `undefined`: it was
   * not judged since it began to wait.
   */
  readonly waitsFor: readonly GroupName[] | undefined;
  /** How many slots of its group it takes, if more than one: as many slices run at the same time. */
  readonly slots?: number;
  readonly claimNo: number;
  readonly claimBy: string | undefined;
  readonly claimUntilMs: number | undefined;
  /** Claims whose create may still land. A set, not a count: an answer that is applied twice must not lower a count twice. */
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

/** "moved": nothing of the attempt started, and the next attempt is made in another group. */
export type AttemptResult = Outcome | "refused" | "deleted" | "moved";

export interface AttemptOutcome {
  readonly result: AttemptResult;
  readonly diagnosis?: Diagnosis;
  readonly evidence?: Evidence;
  readonly endedAtMs: number;
}

/** Values that have no column of their own in the ledger, since no loop's query for due work needs them. */
export interface Notes {
  /** When the attempt could first be placed; `seconds.waiting` counts from here. */
  readonly waitsSinceMs: number;
  /** The namespace of the group where the attempt was last placed. */
  readonly namespace?: string;
  /** The attempt's Job carries no hold, as the group wants it: the Job may vanish before its outcome is read. */
  readonly hold?: false;
  /** The attempt was placed in the embedded cluster. */
  readonly embedded?: true;
  readonly waitUntilMs: number;
  readonly notBeforeMs?: number;
  /** The reason that `run.waiting` told last. */
  readonly waiting?: WaitWord;
  readonly avoid?: GroupName;
  /** The run left the line of its concurrency key with this attempt: it counts for the key's limit until it ends. */
  readonly letIn?: true;
  readonly considered?: EventData<"run.waiting">["considered"];
  readonly launchedAtMs?: number;
  readonly startedAtMs?: number;
  readonly stall?: Diagnosis;
  /** How the slices stood when that was told last. */
  readonly slices?: SliceCounts;
  readonly stalledAtMs?: number;
  /** What the program had printed when its Job's deletion was seen, until the attempt ends. */
  readonly log?: LogTail;
  /** Why the attempt is being closed, in words for people. */
  readonly closing?: Diagnosis;
  /** The recorded Job is provably gone, though a create may still land. */
  readonly gone?: boolean;
  /** A create of an earlier placement was never answered, so we can no longer say that nothing of the attempt ever ran. */
  readonly unproven?: boolean;
  /** When a look began that saw the ended attempt's name taken by our Job or occupant, with no pod left to finish. */
  readonly keptAtMs?: number;
  /** Since then the name may be free, so looks that began earlier no longer count. */
  readonly doubtedAtMs?: number;
  /** The number of the anchor that owns the attempt's Job. */
  readonly anchor?: number;
  /** Somebody deleted that anchor, and so the attempt's Job and the run's volumes. */
  readonly anchorGone?: true;
  /** Its program had a token: the pods that it made, its children, may still be there. The step ends when they are gone. */
  readonly children?: true;
}

/**
 * "making": its first creates may be on the wire. "standing": the anchor and all its volumes are there. "kept": the run has ended.
 * "sweeping": it is given up, and everything that it owns goes with it.
 */
export const ANCHOR_STATES = ["making", "standing", "kept", "sweeping", "gone"] as const;
export type AnchorState = (typeof ANCHOR_STATES)[number];

/**
 * The ConfigMap that owns everything else that a run has in a cluster: its volumes and its Jobs. When it is deleted, Kubernetes
 * collects them, and also what is created late under its UID.
 */
export interface Anchor {
  /** Counts the run's anchors: no number is used again, so no name ever meets the deletion of its predecessor. */
  readonly number: number;
  readonly state: AnchorState;
  readonly group: GroupName;
  readonly namespace: string;
  /** The storage that its volumes take of the group. */
  readonly bytes: number;
  readonly uid: Uid | undefined;
  /** A create of the anchor itself may land until then: before that, a 404 shows nothing. */
  readonly fenceUntilMs: number;
  /** When the sweep must look at it next. `undefined` only for an anchor that is gone. */
  readonly dueMs: number | undefined;
}

export interface RunRecord {
  readonly run: Run;
  readonly attempts: readonly Attempt[];
  /** In the order of their numbers. Absent for a run without volumes of its own. */
  readonly anchors?: readonly Anchor[];
}

export const attemptIn = ({ attempts }: Pick<RunRecord, "attempts">, step: StepName, n: number): Attempt | undefined =>
  attempts.find((it) => it.step === step && it.n === n);

/** When the last program of the run's generation ended, as its pod says; `undefined` if nobody saw an end. */
export function finishedAt({ run, attempts }: RunRecord): string | undefined {
  return attempts
    .filter(({ generation }) => generation === run.generation)
    .flatMap(({ outcome }) => outcome?.evidence?.finishedAt ?? [])
    .filter((it) => !Number.isNaN(Date.parse(it)))
    .toSorted((one, other) => Date.parse(one) - Date.parse(other))
    .at(-1);
}

export function finishedAtMs(record: RunRecord): number | undefined {
  const at = finishedAt(record);
  return at === undefined ? undefined : Date.parse(at);
}

/** One event to be told: the ledger numbers the event under the run's lock. */
export type Told = {
  readonly [T in RunEventType]: { readonly type: T; readonly group: GroupName | undefined; readonly data: EventData<T> };
}[RunEventType];

/**
 * A Job that must go, or a hold that must be taken off, though no attempt waits for that. "stray": a Job with our proof that is
 * not the attempt's; "release": the Job's outcome was recorded long ago.
 */
export interface Stray {
  readonly kind: "stray" | "release";
  readonly group: GroupName;
  readonly name: string;
  readonly uid: Uid;
  /** The end of the attempt's fence, or now: until then the Job's name stays taken. */
  readonly holdUntilMs: number;
}

/** A create that no launcher waits for any more may still be delivered for this long; afterwards the name may be free. */
export const FENCE_MS = 10 * 60_000;

export const isOpen = (attempt: Attempt): boolean => attempt.unanswered.length > 0;
/** True while a create may still land: then the name must stay taken. */
export const isFenced = (attempt: Attempt, nowMs: number): boolean =>
  isOpen(attempt) && attempt.fenceUntilMs !== undefined && nowMs < attempt.fenceUntilMs;

/** True if the name of an ended attempt is taken, as far as is known, so that no create of it can land. */
export const isKept = ({ state, notes: { keptAtMs, doubtedAtMs = -Infinity } }: Attempt): boolean =>
  state === "ended" && keptAtMs !== undefined && keptAtMs > doubtedAtMs;

/**
 * True if nothing of an ended attempt can start while its Job has our hold, so that the step's next attempt may start. False
 * without a hold, and if nobody saw how the Job ended.
 */
export const isParked = (attempt: Attempt): boolean =>
  isKept(attempt) && isOver(attempt) && attempt.notes.hold !== false && attempt.outcome?.result !== "lost";

/** True if the attempt's step may follow its outcome. */
export const isOver = ({ outcome, notes }: Attempt): boolean => outcome !== undefined && notes.children !== true;

/** Resource versions of one kind grow. They are compared as decimal text, because they may be too long for a double. */
export const isNewer = (rv: string, than: string | undefined): boolean =>
  than === undefined || rv.length > than.length || (rv.length === than.length && rv > than);

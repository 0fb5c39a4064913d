/**
 * All that the services ask of the ledger: each loop's one question, and where its answer is written.
 *
 * On Postgres it is open.ts; in the simulation model.ts. Both pass conformance.ts. Methods throw `Failure`: "retry" for
 * whatever passes by itself (connection lost, also during COMMIT: the caller asks or says it again), "halt" for what does not.
 * Time is the ledger's own clock everywhere, so that launchers with wrong clocks agree on what is due.
 */
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { Installation, GroupName, RunId, TenantName, Uid } from "@longshore/contract/ids.ts";
import type { EventType, Outcome, RunEventType } from "@longshore/contract/event.ts";
import type { Problem } from "@longshore/contract/problem.ts";
import type { RunRequest } from "@longshore/contract/request.ts";
import type { Placer } from "@longshore/domain/group/group.ts";
import type { RecordedHealth } from "@longshore/domain/group/view.ts";
import type { Claiming } from "@longshore/domain/group/place-attempts.ts";
import type { Intake } from "@longshore/domain/run/answer-command.ts";
import type { Entry, Recorded } from "@longshore/domain/run/apply-inputs.ts";
import type { Attempt, AttemptState, Run, RunRecord, RunState } from "@longshore/domain/run/record.ts";
import type { WorkKind } from "@longshore/domain/run/work-kinds.ts";

export type { Entry, Intake, Recorded, WorkKind };

export interface Ledger extends AsyncDisposable {
  readonly installation: Installation;
  readonly epoch: number;

  // ── Writing down what was said ──
  /** Every item is answered in its place. One transaction for all; a culprit is found by trying one by one. */
  admit(batch: readonly Intake[]): Promise<readonly Admitted[]>;
  /** Applies inputs by the pure tables under the runs' locks: `advance`, its events, its attempts, its strays, or nothing. */
  record(batch: readonly Entry[]): Promise<readonly Recorded[]>;
  /** Counts a delivery that came back too often, before anybody parses it. Returns how often it was counted. */
  suspect(digest: string): Promise<number>;

  // ── Each loop's question ──
  /**
   * Places due waiting attempts by the slots as they are under the groups' locks, and writes for each its group or why it waits on.
   * An attempt that is placed where `claim` has room is claimed in the same stroke and given as work; the others are ready for `claim`.
   */
  place(options: { readonly most: number; readonly placer: Placer; readonly claim?: Claiming }): Promise<Placed>;
  /** Claims ready attempts of a group, and claimed ones whose claim ran out while their fence still stands. */
  claim(options: {
    readonly group: GroupName;
    readonly most: number;
    readonly by: string;
    readonly forMs: number;
  }): Promise<readonly Work[]>;
  /**
   * Attempts in this state that are due. Taking one moves its due time on by `leaseMs`: a crash means that the timer does it
   * again. "claimed" gives those whose fence has passed too: nothing of them can land any more, so a look decides.
   */
  take(options: {
    readonly state: "claimed" | "live" | "closing" | "ended";
    readonly group: GroupName;
    readonly most: number;
    readonly leaseMs: number;
  }): Promise<readonly Work[]>;
  takeStrays(options: {
    readonly group: GroupName;
    readonly most: number;
    readonly leaseMs: number;
  }): Promise<readonly StrayWork[]>;
  /** The stray is gone, or never was ours. */
  settleStray(stray: StrayWork): Promise<void>;
  addStray(stray: Omit<StrayWork, "holdUntilMs">): Promise<void>;

  /** Returns the kinds of work that are due now in these groups. One query serves all their loops; before, each loop polled on its own. */
  due(groups: readonly GroupName[]): Promise<readonly WorkKind[]>;

  // ── The outbox ──
  /** Takes the partitions that are free or ours; the rest are other relays'. Returns those held, until the lease ends. */
  leasePartitions(owner: string, leaseMs: number): Promise<readonly number[]>;
  /**
   * The lowest unsent event of each run in these partitions, except runs named in `busy`. In order of age. What the broker has
   * confirmed since the last time is taken out with the same stroke.
   */
  unsent(options: {
    readonly partitions: readonly number[];
    readonly busy: readonly RunId[];
    readonly most: number;
    readonly sent?: readonly Sent[];
  }): Promise<readonly OutboxEvent[]>;
  sent(events: readonly Sent[]): Promise<void>;
  /** Refusals, and how groups are: no run's story, so no order. */
  unsentNotices(most: number): Promise<readonly Notice[]>;
  sentNotices(ids: readonly string[]): Promise<void>;

  // ── Groups, leases, counting ──
  /**
   * Makes the rows of configured groups exist; changes nothing that `group` commands changed. A group of which the file names
   * another namespace forgets the UID of the old one if nothing of it stands there; else that waits for `acceptGroup`.
   */
  putGroups(groups: readonly ConfiguredGroup[]): Promise<void>;
  groups(): Promise<readonly GroupState[]>;
  /** If its health or the code of its diagnosis changes, the event of that is written in the same transaction: once, whoever says it. */
  setGroup(name: GroupName, change: GroupChange): Promise<void>;
  /** Where GroupMoved was found: gives up what stands there, and trusts the namespace that the next probe finds. One transaction. */
  acceptGroup(name: GroupName): Promise<Accepted>;
  lease(what: string, owner: string, forMs: number): Promise<boolean>;
  /** Everything of this group that may have something on its cluster, for the tally. */
  standing(group: GroupName): Promise<readonly Standing[]>;
  counts(): Promise<Counts>;
  /** Tombstones past their day, notices and suspects of old. Returns how many rows went. */
  prune(most: number): Promise<number>;

  // ── For people ──
  find(run: RunId): Promise<{ readonly record: RunRecord; readonly request: RunRequest } | undefined>;
  list(filter: RunFilter): Promise<readonly RunRow[]>;
  story(run: RunId, after: number, most: number): Promise<readonly StoryEvent[]>;

  /** Yields a kind of work when there may be some: a hint that saves polling, never a promise. */
  changes(signal: AbortSignal): AsyncIterableIterator<WorkKind>;
  now(): Promise<number>;
  /** "Postgres 18.4", and how far its schema is. */
  describe(): Promise<{ readonly product: string; readonly schema: string }>;
}

export type Admitted =
  | { readonly kind: "recorded" }
  | { readonly kind: "duplicate" }
  /** Recorded as a notice to be sent: it needs no further answer. */
  | { readonly kind: "refused"; readonly problems: readonly Problem[] };

export interface Placed {
  readonly placed: number;
  readonly told: number;
  /** As many as were asked for were due, and something was decided of them: there may be more. */
  readonly more: boolean;
  /** Those of the placed that were claimed as well. */
  readonly works: readonly Work[];
}

/** One attempt with all that acting on it needs. */
export interface Work {
  readonly attempt: Attempt;
  readonly run: Pick<Run, "id" | "tenant" | "generation" | "plan" | "cancel">;
  readonly request: RunRequest;
  readonly nowMs: number;
}

export interface StrayWork {
  readonly run: RunId;
  readonly kind: "stray" | "release";
  readonly group: GroupName;
  readonly name: string;
  readonly uid: Uid;
  readonly holdUntilMs: number;
}

/** An event that the broker has. */
export type Sent = Pick<OutboxEvent, "key" | "run" | "sequence">;

export interface OutboxEvent {
  /** The ledger's own name of the run. */
  readonly key: string;
  readonly run: RunId;
  readonly tenant: TenantName;
  readonly sequence: number;
  readonly generation: number;
  readonly epoch: number;
  readonly group: GroupName | undefined;
  readonly type: RunEventType;
  /** The run's. */
  readonly traceparent: string | undefined;
  readonly data: object;
  readonly atMs: number;
}

export interface Notice {
  readonly id: string;
  readonly tenant: TenantName;
  /** Absent of refusals. */
  readonly group: GroupName | undefined;
  readonly type: Exclude<EventType, RunEventType>;
  readonly data: object;
  readonly replyTo: string | undefined;
  readonly atMs: number;
}

/** `lost`: how many runs ended by it. */
export type Accepted = { readonly kind: "accepted"; readonly lost: number } | { readonly kind: "notMoved" };

/**
 * `served`: a launcher says that it still has the group, by the ledger's clock. `namespaceUid`: the first that is said stays, or a
 * probe that began before would undo what a person accepted.
 */
export type GroupChange = Partial<
  Pick<GroupState, "namespaceUid" | "health" | "diagnosis" | "paused" | "watchedAtMs" | "noRoom">
> & { readonly served?: true };

export interface GroupState extends ConfiguredGroup, RecordedHealth {
  readonly paused: boolean;
  readonly slotsUsed: number;
  /** Of those: placed there, and not claimed yet. */
  readonly inLine: number;
  /** Its cluster said so (quota): nothing is placed there before. */
  readonly noRoom: { readonly untilMs: number; readonly diagnosis: Diagnosis } | undefined;
  /** When a launcher last had it in its groups file. */
  readonly servedAtMs: number | undefined;
  readonly everHealthy: boolean;
  readonly watchedAtMs: number | undefined;
}

export interface Standing {
  readonly run: RunId;
  readonly attempt: Attempt;
}

export interface Counts {
  readonly runs: Readonly<Record<RunState, number>>;
  readonly attempts: Readonly<Partial<Record<AttemptState, number>>>;
  readonly outbox: number;
  /** How long the oldest unpublished event waits. */
  readonly outboxOldestMs: number | undefined;
  readonly overdue: number;
  readonly strays: number;
}

export interface RunFilter {
  readonly state?: RunState;
  readonly outcome?: Outcome;
  readonly group?: GroupName;
  readonly before?: string;
  readonly most: number;
}

export interface RunRow {
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly state: RunState;
  readonly outcome: Outcome | undefined;
  readonly group: GroupName | undefined;
  readonly acceptedAtMs: number;
  readonly endedAtMs: number | undefined;
  /** Pass as `before` to go on. */
  readonly cursor: string;
}

export interface StoryEvent {
  readonly sequence: number;
  readonly generation: number;
  readonly group: GroupName | undefined;
  readonly type: EventType;
  readonly data: unknown;
  readonly atMs: number;
}

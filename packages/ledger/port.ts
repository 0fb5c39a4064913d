/**
 * The services' view of the ledger: each loop's one question, and the method that writes its answer.
 *
 * The Postgres ledger is open.ts; the simulation's is model.ts. Both pass conformance.ts. Methods throw `Failure`: "retry" if
 * the failure passes by itself (for example a lost connection, even during COMMIT), so that the caller asks or writes again;
 * "halt" for others. Time is the ledger's own clock everywhere, so that launchers with wrong clocks agree on what is due.
 */
import type { Actor } from "@longshore/contract/messages/command.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { Prepared } from "@longshore/contract/messages/fact.ts";
import type { EventType, Outcome, RunEventType } from "@longshore/contract/messages/event.ts";
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { DefinitionName, GroupName, Installation, RunId, TenantName, Uid } from "@longshore/contract/ids.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { Placer, StorageUsed } from "@longshore/domain/group/group.ts";
import type { Claiming } from "@longshore/domain/group/place-attempts.ts";
import type { RecordedHealth } from "@longshore/domain/group/view.ts";
import type { Intake } from "@longshore/domain/run/admit.ts";
import type { AnchorEntry, Entry, Recorded, WorkKind } from "@longshore/domain/run/change.ts";
import type { InLine } from "@longshore/domain/run/concurrency.ts";
import type { Anchor, Attempt, Run, RunRecord, RunState } from "@longshore/domain/run/record.ts";
import type { Counts, Ends, EndsCounted } from "./counts.ts";

export type { AnchorEntry, Counts, Ends, EndsCounted, Entry, Intake, Recorded, WorkKind };

export interface Ledger extends AsyncDisposable {
  readonly installation: Installation;
  readonly epoch: number;

  // ── Writing down what was said ──
  /**
   * Returns an answer for each item, in the batch's order. One transaction for all. If the batch is refused, each item is tried
   * alone, to find the bad one.
   */
  admit(batch: readonly Intake[]): Promise<readonly Admitted[]>;
  /**
   * Applies inputs to attempts by the pure tables, under the runs' locks. Each change is written with its events, attempts and
   * strays, or not at all.
   */
  record(batch: readonly Entry[]): Promise<readonly Recorded[]>;
  /** Applies what the sweep learned of anchors, in the same way. */
  recordAnchors(batch: readonly AnchorEntry[]): Promise<void>;
  /** Counts a delivery that came back too often, before anybody parses it. Returns the count of this digest. */
  suspect(digest: string): Promise<number>;

  // ── Each loop's question ──
  /**
   * Places waiting attempts while slots are free, under the groups' locks. Of all that could take a slot, due or not, the first
   * by priority and then by acceptance are placed. Writes each attempt's group, or why it still waits (for an attempt that is
   * not due, only a new reason). If `claim` has room for a placed attempt, the attempt is claimed in the same transaction and
   * returned as work; the others are left for the method `claim`.
   */
  place(options: { readonly most: number; readonly placer: Placer; readonly claim?: Claiming }): Promise<Placed>;
  /** Claims ready attempts of a group, and claimed ones whose claim ran out while their fence has not passed. */
  claim(options: {
    readonly group: GroupName;
    readonly most: number;
    readonly by: string;
    readonly forMs: number;
  }): Promise<readonly Work[]>;
  /**
   * Returns due attempts in this state. Taking an attempt moves its due time on by `leaseMs`: after a crash, the timer brings
   * the work again. For "claimed", returns only attempts whose fence has passed too: no create of them can land any more, so a
   * look decides.
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
  /** Returns anchors whose time has come, in the same way. */
  takeAnchors(options: {
    readonly group: GroupName;
    readonly most: number;
    readonly leaseMs: number;
  }): Promise<readonly AnchorWork[]>;
  /** Called if the stray is gone, or never was ours. */
  settleStray(stray: StrayWork): Promise<void>;
  addStray(stray: Omit<StrayWork, "holdUntilMs">): Promise<void>;

  /** Returns the kinds of work that are due now in these groups. One query serves all their loops; before, each loop polled on its own. */
  due(groups: readonly GroupName[]): Promise<readonly WorkKind[]>;

  // ── The outbox ──
  /** Leases the partitions that no other relay holds. Returns the partitions that are ours until the lease ends. */
  leasePartitions(owner: string, leaseMs: number): Promise<readonly number[]>;
  /**
   * Returns the lowest unsent event of each run in these partitions, the oldest first, except for runs named in `busy`. The
   * same statement removes the events in `sent`, which the broker has confirmed since the last call.
   */
  unsent(options: {
    readonly partitions: readonly number[];
    readonly busy: readonly RunId[];
    readonly most: number;
    readonly sent?: readonly Sent[];
  }): Promise<readonly OutboxEvent[]>;
  sent(events: readonly Sent[]): Promise<void>;
  /** Returns refusals, answers to duplicates and changes of groups' health. They belong to no run's story, so their order does not matter. */
  unsentNotices(most: number): Promise<readonly Notice[]>;
  sentNotices(ids: readonly string[]): Promise<void>;

  // ── Groups, leases, counting ──
  /**
   * Adds or updates the rows of configured groups; keeps what `group` commands changed. If the groups file names another
   * namespace for a group, and all attempts that were placed in the old one are done, the group forgets the old UID. If one is
   * not done, the old UID stays until `acceptGroup`.
   */
  putGroups(groups: readonly ConfiguredGroup[]): Promise<void>;
  groups(): Promise<readonly GroupState[]>;
  /**
   * If the group's health or the code of its diagnosis changes, one event of the change is written in the same transaction,
   * even if several launchers report the change.
   */
  setGroup(name: GroupName, change: GroupChange): Promise<void>;
  /** Pauses or resumes a group as a command says, and tells it. False: this command was carried out before, so nothing changed. */
  commandGroup(name: GroupName, change: PauseChange, command: Commanded): Promise<boolean>;
  /**
   * If the group's diagnosis is GroupMoved: gives up the group's attempts in the old namespace, and trusts the namespace that
   * the next probe finds. One transaction.
   */
  acceptGroup(name: GroupName): Promise<Accepted>;
  /**
   * Puts the definitions that a launcher's files hold, in place of all that were put before: of two launchers with different
   * files, the files that changed last count.
   */
  putDefinitions(definitions: readonly Omit<StoredDefinition, "sinceMs">[]): Promise<void>;
  /** Puts what a watcher saw of a prepared object. What is older than what stands there changes nothing. */
  putPrepared(definition: Omit<StoredDefinition, "sinceMs"> & { readonly prepared: PreparedObject }): Promise<void>;
  /** Notes that prepared objects are gone, as far as nothing newer is known of them. Their definitions stay, and cannot be run. */
  losePrepared(gone: PreparedGone): Promise<void>;
  /** Returns all definitions, by name; those in clusters only of groups whose settings look for them. */
  definitions(): Promise<readonly StoredDefinition[]>;
  lease(what: string, owner: string, forMs: number): Promise<boolean>;
  /**
   * Returns what the caller keeps of each attempt of this group that may have something on its cluster. They are read page by
   * page: 20,000 whole attempts would be the largest thing in a launcher's memory.
   */
  standing<T>(group: GroupName, keep: (standing: Standing) => T): Promise<readonly T[]>;
  /** Returns the anchors of this group that are not gone. */
  anchors(group: GroupName): Promise<readonly KnownAnchor[]>;
  /** Counts what is unfinished. Of runs that ended, only the hours are added up. */
  counts(): Promise<Counts>;
  /**
   * Reads the feed on by at most this many events, and counts the ends of runs among them into their hours, all in one statement:
   * each end is counted once and returned to one caller, whoever else counts or dies.
   */
  countEnds(most: number): Promise<EndsCounted>;
  /** Removes tombstones past their day, secret values that no restart can need, and old notices and suspects. Returns how many rows were removed. */
  prune(most: number): Promise<number>;

  // ── For people ──
  find(run: RunId): Promise<{ readonly record: RunRecord; readonly request: RunRequest } | undefined>;
  list(filter: RunFilter): Promise<readonly RunRow[]>;
  /** Returns the runs that go on under a concurrency key and keep others waiting, the oldest first. */
  holders(line: Pick<InLine, "tenant" | "key">, most: number): Promise<readonly RunId[]>;
  story(run: RunId, after: number, most: number): Promise<readonly StoryEvent[]>;

  /** Yields a kind of work when there may be work of that kind: a hint that saves polling, never a promise. */
  changes(signal: AbortSignal): AsyncIterableIterator<WorkKind>;
  now(): Promise<number>;
  /** Returns the product ("Postgres 18.4"), the newest migration of the schema, and the mark of the launchers' key. */
  describe(): Promise<{ readonly product: string; readonly schema: string; readonly keyMark: string | undefined }>;
}

export type Admitted =
  | { readonly kind: "recorded" }
  /** If the command names somebody to answer, a notice is recorded and will be sent. */
  | { readonly kind: "duplicate" }
  /** The refusal is recorded as a notice and will be sent: the caller need not answer. */
  | { readonly kind: "refused"; readonly problems: readonly CommandProblem[] };

export interface Placed {
  readonly placed: number;
  readonly told: number;
  /** True if there may be more to decide, and at least one attempt was decided. */
  readonly more: boolean;
  /** The placed attempts that were claimed as well. */
  readonly works: readonly Work[];
}

/** One attempt, with everything that a loop needs to act on it. */
export interface Work {
  readonly attempt: Attempt;
  readonly run: Pick<Run, "id" | "tenant" | "generation" | "plan" | "steps" | "cancel">;
  readonly request: RunRequest;
  readonly nowMs: number;
  /** The run's own secret values, sealed, as long as the ledger keeps them. */
  readonly sealed?: string;
  /** The anchor that owns the attempt's Job. */
  readonly anchor?: Anchor;
}

export type KnownAnchor = Pick<Anchor, "number" | "state" | "namespace"> & { readonly run: RunId };

/** `isClear`: every attempt that it owns is done. */
export interface AnchorWork {
  readonly run: RunId;
  readonly anchor: Anchor;
  readonly isClear: boolean;
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

/** An event that the broker has confirmed. */
export type Sent = Pick<OutboxEvent, "key" | "run" | "sequence">;

export interface OutboxEvent {
  /** The run's key in the ledger. */
  readonly key: string;
  readonly run: RunId;
  readonly tenant: TenantName;
  readonly sequence: number;
  readonly generation: number;
  readonly epoch: number;
  readonly group: GroupName | undefined;
  readonly type: RunEventType;
  /** The traceparent of the run's request. */
  readonly traceparent: string | undefined;
  /** The correlation id of the message that requested the run. */
  readonly correlationId: string | undefined;
  readonly data: object;
  readonly atMs: number;
}

export interface Notice {
  readonly id: string;
  readonly tenant: TenantName;
  /** Absent if the notice is about a command. */
  readonly group: GroupName | undefined;
  readonly type: Exclude<EventType, RunEventType>;
  readonly data: object;
  readonly replyTo: string | undefined;
  /** The correlation id of the command that this answers. */
  readonly correlationId: string | undefined;
  readonly atMs: number;
}

/** `lost`: how many runs ended because of the acceptance. */
export type Accepted = { readonly kind: "accepted"; readonly lost: number } | { readonly kind: "notMoved" };

/**
 * `served`: true if a launcher still has the group in its file; the ledger adds the time. False if it is known that no launcher
 * has it: nothing is placed in the group from now on. `namespaceUid`: a recorded value stays, since a probe that began earlier
 * would otherwise undo what a person accepted.
 */
export type GroupChange = Partial<
  Pick<GroupState, "namespaceUid" | "health" | "diagnosis" | "paused" | "watchedAtMs" | "noRoom">
> & {
  readonly served?: boolean;
  /** With `paused`: who paused the group, and what for. The ledger adds the time. */
  readonly pause?: Omit<Pause, "sinceMs">;
  /** What a tally has just found; the ledger adds the time. */
  readonly tally?: Omit<TallyTold, "atMs">;
};

export type PauseChange = Required<Pick<GroupChange, "paused">> & Pick<GroupChange, "pause">;

/** A command by the marks that tell whether it came before. */
export type Commanded = Pick<Intake, "tenant" | "source" | "command">;

export interface Pause {
  readonly sinceMs: number;
  /** Absent if the command line paused the group. */
  readonly actor?: Actor | undefined;
  readonly reason?: string | undefined;
  /** The group is to become empty. Nothing else depends on it. */
  readonly drain?: boolean | undefined;
}

/** The newest comparison of ledger and cluster. */
export interface TallyTold {
  readonly atMs: number;
  /** Jobs and anchors in the cluster with our marks that the ledger does not know. */
  readonly unknown: number;
}

export interface GroupState extends ConfiguredGroup, RecordedHealth {
  readonly paused: boolean;
  readonly pause?: Pause | undefined;
  readonly tally?: TallyTold | undefined;
  readonly slotsUsed: number;
  /** Attempts among `slotsUsed` that are placed in the group and not claimed yet. */
  readonly inLine: number;
  readonly storage: StorageUsed;
  /** The group's cluster reported no room (quota): nothing is placed in the group before `untilMs`. */
  readonly noRoom: { readonly untilMs: number; readonly diagnosis: Diagnosis } | undefined;
  /** When a launcher last had the group in its groups file. */
  readonly servedAtMs: number | undefined;
  readonly everHealthy: boolean;
  readonly watchedAtMs: number | undefined;
}

export interface StoredDefinition {
  /** Changes with the content. */
  readonly digest: string;
  readonly body: Definition;
  /** Since when it has this content. */
  readonly sinceMs: number;
  /** Absent for a file's definition. */
  readonly prepared?: PreparedObject;
}

/** The Job or CronJob in a cluster that a definition describes. */
export interface PreparedObject
  extends Pick<Prepared, "group" | "kind" | "name" | "uid" | "resourceVersion" | "suspended" | "active"> {
  readonly schedule?: string | undefined;
  readonly lastStartedAt?: string | undefined;
  readonly lastSucceededAt?: string | undefined;
  /** Why it cannot be run; empty if it can. */
  readonly problems: readonly string[];
  readonly goneAtMs?: number | undefined;
}

/** One object, or all of a kind but those that a whole listing showed. */
export interface PreparedGone extends Pick<Prepared, "group" | "kind" | "resourceVersion"> {
  readonly uids: { readonly only: Prepared["uid"] } | { readonly allBut: readonly Prepared["uid"][] };
}

export interface Standing {
  readonly run: RunId;
  readonly attempt: Attempt;
}

export interface RunFilter {
  readonly state?: RunState;
  readonly outcome?: Outcome;
  /** Only runs whose newest event is one of these. */
  readonly newest?: readonly RunEventType[];
  /** Only runs whose id begins and ends like this. */
  readonly like?: { readonly begins: string; readonly ends: string };
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
  /** The definition that the run was made of. */
  readonly definition: DefinitionName | undefined;
  readonly acceptedAtMs: number;
  /** When the run's last restart was taken; until then, when the run was accepted. */
  readonly begunAtMs: number;
  readonly endedAtMs: number | undefined;
  /** When the run's last program ended, as its pod says: long before `endedAtMs` if nobody watched then. */
  readonly finishedAtMs: number | undefined;
  /** `undefined` for a tombstone, which has no story. */
  readonly newest: NewestEvent | undefined;
  /** Pass this as `before` to get the next page. */
  readonly cursor: string;
}

/**
 * The newest event of a run's story, with the particulars that tell a person whether to act. In an active pipeline, a stall or a
 * wait that still lasts goes before newer events of other steps.
 */
export interface NewestEvent {
  readonly type: RunEventType;
  readonly reason?: string;
  readonly code?: string;
  readonly exitCode?: number;
}

export interface StoryEvent {
  readonly sequence: number;
  readonly generation: number;
  readonly group: GroupName | undefined;
  readonly type: EventType;
  readonly data: unknown;
  readonly atMs: number;
}

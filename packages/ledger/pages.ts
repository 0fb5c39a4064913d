/**
 * The console's view of the ledger: what pages show, who is signed in, and who did what. It writes nothing but sign-ins and deeds.
 *
 * Runs change by commands over the broker alone, so that whoever may see the console's database role can still change no run.
 * Every question about runs takes the asker's reach, and is answered as if all other runs did not exist.
 */
import type { Actor } from "@longshore/contract/messages/command.ts";
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { DefinitionName, GroupName, Installation, RunId } from "@longshore/contract/ids.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import type { Asker, Reach } from "@longshore/domain/access/access.ts";
import type { Counts, Ends, Ledger, OutboxEvent, RunRow, StoredDefinition } from "./port.ts";

export type Person = Actor;

export interface Pages extends AsyncDisposable, Pick<Ledger, "definitions" | "find" | "groups" | "story" | "now"> {
  readonly installation: Installation;
  /** The definition of this name, if a launcher has put one. */
  definition(name: string): Promise<StoredDefinition | undefined>;
  /** The newest runs of each of these definitions, the newest first. Of those out of reach, how they went is told all the same. */
  recent(
    definitions: readonly DefinitionName[],
    how: { readonly most: number; readonly reach: Reach },
  ): Promise<ReadonlyMap<DefinitionName, readonly RecentRun[]>>;
  /** How the newest runs of each of these definitions went, whoever may see them. */
  howItWent(definitions: readonly DefinitionName[]): Promise<ReadonlyMap<DefinitionName, HowItWent>>;
  /** The newest ends of this definition's runs, the newest run first. */
  endings(definition: DefinitionName, reach: Reach): Promise<readonly RecentEnding[]>;
  /** How runs ended in each of the newest `most` hours, whoever may see them, as far as that was counted. */
  hours(most: number): Promise<readonly HourOfEnds[]>;
  /** True if there is such a run and the asker reaches it. */
  isReached(run: RunId, reach: Reach): Promise<boolean>;
  search(search: RunSearch): Promise<FoundRuns>;
  /** The runs, the newest first, that a deed on many would be done to. */
  matching(match: RunMatch): Promise<readonly MatchingRun[]>;
  /** Why the newest request of this run was refused, if one was in the last week. */
  refusal(run: RunId): Promise<Refusal | undefined>;
  /** What is in each group that has anything. For operators alone, whose reach does not count: a group is nobody's. */
  atWork(): Promise<ReadonlyMap<GroupName, AtWork>>;
  /** False while no launcher runs: nobody acts on what stands in the ledger. */
  hasLauncher(): Promise<boolean>;
  /** How the whole is. For operators alone. */
  health(): Promise<LedgerHealth>;
  /** Refused requests of the last week, the newest first, of the tenants whose runs the asker reaches without a limit. */
  refusals(how: {
    readonly reach: Reach;
    readonly before?: string | undefined;
    readonly most: number;
  }): Promise<readonly RefusedRequest[]>;
  readonly events: ToldEvents;
  readonly signIns: SignIns;
  readonly tokens: Tokens;
  readonly audit: Audit;
}

/** Attempts in one group. */
export interface AtWork {
  /** Counted by their state: none of them, and the group is empty. */
  readonly left: Readonly<Record<"ready" | "claimed" | "live" | "closing" | "ended", number>>;
  /** Jobs that are over and still have our hold; `oldestMs`: when the first of them ended. */
  readonly finishedHolds: { readonly count: number; readonly oldestMs: number | undefined };
  /** Those that wait, and were passed over by this group: it was full, paused or ill. */
  readonly waiting: { readonly count: number; readonly sinceMs: number | undefined };
}

export interface Waiting {
  /** `undefined`: nobody has judged it yet. */
  readonly reason: WaitWord | undefined;
  readonly count: number;
  readonly sinceMs: number;
  /** The run that waits longest. */
  readonly oldest: RunId;
}

export interface LedgerHealth {
  readonly counts: Counts;
  /** The processes that hold a lease, by the names that they gave themselves. */
  readonly launchers: readonly string[];
  readonly waiting: readonly Waiting[];
  /**
   * What became of the newest deed that was answered: "anonymous", the launcher left the person's name out; "refused", it takes no
   * such command from us. `undefined`: there was none.
   */
  readonly deeds: "named" | "anonymous" | "refused" | undefined;
}

/** Of the newest runs that have ended. */
export interface HowItWent {
  /** Those that succeeded, failed or were lost. */
  readonly n: number;
  readonly succeeded: number;
  /** Those that succeeded and whose programs' time is known. */
  readonly timed: number;
  /** Half of these took no longer. */
  readonly halfWithinMs: number | undefined;
  /** 95 of 100 of these took no longer. */
  readonly mostWithinMs: number | undefined;
  readonly lastSuccessMs: number | undefined;
}

export interface RecentEnding {
  /** Absent for a run that the asker may not see. */
  readonly id: RunId | undefined;
  readonly outcome: Outcome;
  /** From the first start of a program to the last end of one; absent if nothing ran. */
  readonly lastedMs: number | undefined;
  readonly endedAtMs: number;
}

export interface HourOfEnds extends Omit<Ends, "group"> {
  readonly atMs: number;
}

export interface Refusal {
  readonly atMs: number;
  readonly problems: readonly CommandProblem[];
}

export interface RefusedRequest extends Refusal {
  /** Absent if it could not be read. */
  readonly run: string | undefined;
  /** The id of the message that was refused. */
  readonly command: string;
  readonly cursor: string;
}

interface Reading {
  readonly most: number;
  readonly see: Reach;
  /** What a program printed is left out of events of all other runs. */
  readonly log: Reach;
}

/** Events as they were published, for programs. */
export interface ToldEvents {
  /** The events of a run behind this one, in order. */
  ofRun(run: RunId, how: Reading & { readonly after: number }): Promise<readonly OutboxEvent[]>;
  /** Where the feed ends now: what is recorded from now on stands behind this place. */
  end(): Promise<FeedPlace>;
  /** Looks at `most` events behind the place. `resync`: the place is none of this server's; `place` is its end. */
  feed(
    after: FeedPlace,
    how: Reading,
  ): Promise<
    | { readonly kind: "read"; readonly events: readonly FedEvent[]; readonly place: FeedPlace }
    | { readonly kind: "resync"; readonly place: FeedPlace }
  >;
}

export interface FedEvent {
  readonly event: OutboxEvent;
  readonly place: FeedPlace;
}

/** A place in the feed: behind this event of this transaction. */
export interface FeedPlace {
  readonly epoch: number;
  readonly xid: string;
  /** The run's key in the ledger. */
  readonly run: string;
  readonly sequence: number;
}

export interface RunSearch {
  readonly reach: Reach;
  /** Only runs that the asker asked for. */
  readonly mine?: boolean | undefined;
  readonly definition?: string | undefined;
  /** A label or a parameter of the run. */
  readonly tag?: { readonly name: string; readonly value: string } | undefined;
  /** The beginning of a run's id, or the whole name of one of its Jobs. */
  readonly begins?: string | undefined;
  /** The code of the diagnosis with which the run ended. */
  readonly code?: string | undefined;
  /** Where a run was placed is told to operators alone: the reach of those runs that the asker operates. */
  readonly group?: { readonly name: string; readonly reach: Reach } | undefined;
  /** "active": those that have not ended. */
  readonly outcome?: Outcome | "active" | undefined;
  readonly before?: string | undefined;
  readonly most: number;
}

export interface RunMatch extends Omit<RunSearch, "before"> {
  readonly state: "active" | "ended";
  /** Only runs that are in these reaches, too. */
  readonly also: readonly [Reach, Reach];
  /** Only runs up to this cursor: those that came later are not meant. */
  readonly upTo?: string | undefined;
}

export interface MatchingRun {
  readonly id: RunId;
  readonly generation: number;
  readonly cursor: string;
}

export interface FoundRuns {
  readonly rows: readonly RunRow[];
  /** Pass it as `before` to look further back; absent if there is no more. */
  readonly before: string | undefined;
  /** Only runs since then were looked through: there may be more, and the rows may be fewer than `most`. */
  readonly searchedBackToMs?: number;
}

export interface RecentRun extends Pick<RunRow, "id" | "state" | "outcome" | "acceptedAtMs" | "endedAtMs" | "newest"> {
  /** False for a run that the asker may not see. */
  readonly isReached: boolean;
  readonly by: Person | undefined;
  readonly definition: DefinitionName;
  /** How long its programs ran, from the first start to the end. */
  readonly startedAtMs: number | undefined;
}

/** Links and sessions. Only hashes are kept: whoever reads the table can sign in with nothing of it. */
export interface SignIns {
  /** Keeps a link that may be used once, until `forMs` have passed. */
  offer(link: Uint8Array, person: Asker, forMs: number): Promise<void>;
  /** Uses the link up and begins a session. `undefined`: there is no such link, or it was used, or it is too old. */
  redeem(link: Uint8Array, session: Uint8Array, forMs: number): Promise<Asker | undefined>;
  /** Begins a session of somebody whom another than us has named. */
  begin(session: Uint8Array, person: Asker, forMs: number): Promise<void>;
  /** Returns whose session it is. */
  whose(session: Uint8Array): Promise<Asker | undefined>;
  end(session: Uint8Array): Promise<void>;
}

/** Tokens of programs. Only hashes are kept, as of sessions. */
export interface Tokens {
  /** False: there is a token of this name already. */
  add(name: string, token: Uint8Array, forMs: number): Promise<boolean>;
  list(): Promise<readonly TokenRow[]>;
  remove(name: string): Promise<boolean>;
  /** Returns which token it is, also if it has expired. */
  which(token: Uint8Array): Promise<TokenRow | undefined>;
}

export interface TokenRow {
  readonly name: string;
  readonly madeAtMs: number;
  readonly untilMs: number;
  /** By the ledger's clock, as all else of tokens. */
  readonly isExpired: boolean;
}

export type Deed = "run" | "stop" | "restart" | "pause" | "drain" | "resume";

/** The deeds of people. A row is written before the command is sent, so that no deed lacks its row. */
export interface Audit {
  note(deed: { readonly person: Asker; readonly deed: Deed; readonly about: string; readonly command: string }): Promise<void>;
  /** Somebody asked for what they may not do. The same, asked again within a minute, is one row. */
  deny(deed: { readonly person: Asker; readonly deed: string; readonly about: string }): Promise<void>;
  list(how: { readonly before?: string; readonly most: number }): Promise<readonly AuditRow[]>;
}

export interface AuditRow {
  readonly atMs: number;
  readonly person: Asker;
  readonly deed: string;
  readonly about: string;
  /** open: the launcher has not answered yet. */
  readonly state: "open" | "done" | "refused" | "denied";
  readonly cursor: string;
}

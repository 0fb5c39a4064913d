/** The ledger's counts: runs that are under way, and ends, which are counted once and then only added up. */
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import type { AttemptState, UnendedState } from "@longshore/domain/run/record.ts";

/** The number of runs that ended in the same way. The code and the blame are "" for an end that needs no diagnosis. */
export interface Ends {
  readonly group: GroupName | undefined;
  readonly outcome: Outcome;
  readonly code: string;
  readonly blame: string;
  readonly n: number;
}

/** `more`: there may be more to count. */
export interface EndsCounted {
  readonly ends: readonly Ends[];
  readonly more: boolean;
}

export interface Counts {
  readonly runs: Readonly<Record<UnendedState, number>>;
  /** How often a run ended, as far as that was counted: a restarted run ended more than once. */
  readonly ends: number;
  /** Without those that are done. */
  readonly attempts: Readonly<Partial<Record<AttemptState, number>>>;
  readonly outbox: number;
  /** How long the oldest unpublished event has waited. */
  readonly outboxOldestMs: number | undefined;
  readonly overdue: number;
  readonly strays: number;
  /** Anchors that are not gone. */
  readonly anchors: number;
  /** True while any partition of the outbox is leased, so for the rest of its lease after the last launcher ended, too. */
  readonly hasLauncher: boolean;
}

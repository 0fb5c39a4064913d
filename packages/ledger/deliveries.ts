/**
 * The recorder's view of the ledger: what each sink was told of each run, and what it has to be told next.
 *
 * On Postgres it is postgres/deliveries.ts; for tests in virtual time it is testing/deliveries-model.ts. Both pass
 * testing/conformance-deliveries.ts. As in port.ts, methods throw `Failure`, and time is the ledger's own clock.
 *
 * A *sink* is an address that is told events. A *line* is what one sink is told of one run, in order.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { OutboxEvent, WorkKind } from "./port.ts";

export interface Deliveries extends AsyncDisposable {
  /** Adds what is missing. A new sink is told the events that are recorded from now on. */
  putSinks(names: readonly string[]): Promise<void>;
  /**
   * Takes a sink for this owner, or keeps it. Of several recorders one serves a sink at a time: two of them would send two
   * events of a run at once.
   */
  hold(sink: string, owner: string, forMs: number): Promise<"held" | "of another" | "stopped">;
  letGo(sink: string, owner: string): Promise<void>;
  /**
   * Reads events from the sink's cursor on: their runs' lines become due, and the cursor moves. Events of a transaction that may
   * still grow are left for later. Resolves to true if there may be more.
   */
  advance(sink: string, owner: string, most: number): Promise<boolean>;
  /** Returns lines and parked requests that are due, except for runs named in `busy`. */
  due(sink: string, options: { readonly most: number; readonly busy: readonly string[] }): Promise<readonly Delivery[]>;
  /** Resolves to false, and writes nothing, if the sink is not the owner's any more. */
  settle(sink: string, owner: string, delivery: Delivery, change: Settled): Promise<boolean>;
  /** The sink is told nothing more until a person says so. */
  stop(sink: string, owner: string, why: Refusal): Promise<void>;
  /**
   * Yields when events were recorded: a hint that saves waiting for the next poll, never a promise. An event may be readable only
   * after its hint.
   */
  changes(signal: AbortSignal): AsyncIterableIterator<WorkKind>;

  // ── For people ──
  states(): Promise<readonly SinkState[]>;
  parked(options: { readonly sink?: string; readonly most: number }): Promise<readonly Parked[]>;
  /** What is parked becomes due again, in the sink or in one run of it; a stopped sink goes on. Returns how much that is. */
  retry(sink: string, run?: RunId): Promise<number>;
  /** Gives up what is parked: it is never sent. Returns how much that is. */
  drop(sink: string, run?: RunId): Promise<number>;
  /** Removes a sink that no recorder serves, with all that is known of it. Resolves to false if one serves it. */
  forget(sink: string): Promise<boolean>;
}

export interface Delivery {
  /** The run's key in the ledger. */
  readonly key: string;
  readonly run: RunId;
  /**
   * All up to this number were told. Of the event after it, the first `rule` rules were. For a parked request: the event before
   * the parked one.
   */
  readonly sequence: number;
  readonly rule: number;
  /** True for a parked request that is sent again: only this rule of the first event, and then no other. */
  readonly isAgain: boolean;
  /** How often it failed in a row. */
  readonly tries: number;
  /** How long it has failed; 0 before the first failure. */
  readonly failingMs: number;
  /** The next events, at most `EVENTS_MOST`. */
  readonly events: readonly OutboxEvent[];
}

/** An event may hold 64 KiB of log, and many lines are read at once. */
export const EVENTS_MOST = 8;

/** Why something was not told. */
export interface Refusal {
  /** "404", "ETIMEDOUT", "TemplateFailed". */
  readonly code: string;
  readonly sentence: string;
}

export type Settled =
  /** Told up to here. `parked`: the request before this place was refused, is kept for a person, and the line goes on. */
  | {
      readonly kind: "told";
      readonly sequence: number;
      readonly rule: number;
      readonly parked?: Place & { readonly why: Refusal };
    }
  | { readonly kind: "failed"; readonly why: Refusal; readonly againInMs: number }
  /** Nothing more of this line is told until a person says so. */
  | { readonly kind: "parked"; readonly why: Refusal };

export interface Place {
  readonly sequence: number;
  readonly rule: number;
}

export interface SinkState {
  readonly name: string;
  readonly owner: string | undefined;
  readonly stopped: Refusal | undefined;
  /** Lines that have something to tell. */
  readonly waiting: number;
  /** How long the oldest event that a line has to tell waits. */
  readonly oldestMs: number;
  /** How long the oldest event waits that the feed has not read: an open transaction anywhere on the server holds it back. */
  readonly behindMs: number;
  readonly parkedLines: number;
  readonly parkedRequests: number;
  /** The last failure of a line that waits to be tried again. */
  readonly failure: Refusal | undefined;
}

export interface Parked extends Place {
  readonly sink: string;
  readonly run: RunId;
  readonly kind: "request" | "line";
  readonly why: Refusal;
  /** When the request was parked; of a line, when it first failed. */
  readonly atMs: number;
}

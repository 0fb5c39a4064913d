/**
 * Returns the events of each run once each and in order, although the broker may repeat and reorder them.
 *
 * The failures this prevents: an application that books an order twice because `run.succeeded` came twice, or calls a run
 * running because `run.started` came after its end; and one run whose events are missing, for which all other runs wait.
 */
import type { ReceivedEvent, TypedEvent } from "@longshore/contract/messages/envelope.ts";

/**
 * Apply these events in this order, and save the last sequence of each run together with what you applied; then settle the
 * deliveries of all of them.
 */
export interface HeardInOrder {
  readonly kind: "told";
  readonly events: readonly TypedEvent[];
  /**
   * Present if too many events waited, or one too long: the run's events from `from` to `to` did not come and are waited for no
   * longer. `events` are then of this run, which may be another one than the run that you just heard of.
   */
  readonly missed?: { readonly run: string; readonly from: number; readonly to: number };
}

export type Heard =
  | HeardInOrder
  /** The event was told before, or the count began after it, or it was given up: settle the delivery and go on. */
  | { readonly kind: "repeat" }
  /** The event is kept in memory until `waitsFor` has come. If you settle the delivery now, a crash loses the event. */
  | { readonly kind: "early"; readonly waitsFor: number };

export interface StoryOptions {
  /**
   * Returns the run's last sequence number that you applied, from wherever you saved it. 0 says that number 1 must come first;
   * `undefined`, that the count begins with the first event that is heard. Without this function each run begins so.
   */
  readonly lastApplied?: (run: string) => number | undefined;
  /**
   * At most this many early events are kept, over all runs. One more, and the run that has waited longest goes on without the
   * events that it misses.
   */
  readonly heldMax?: number;
  /** The time in milliseconds, such as `Date.now`. Without it no wait is too long. */
  readonly now?: () => number;
  /** A run that waits for this long for the events that it misses goes on without them, if you call `overdue`. */
  readonly waitMaxMs?: number;
  /**
   * At most this many runs without early events are remembered. The run that was heard least recently is forgotten; its next
   * event asks `lastApplied` again.
   */
  readonly runsMax?: number;
  /** At most this many ids of events that belong to no run, such as refusals, are remembered. */
  readonly noticesMax?: number;
}

interface Line {
  readonly run: string;
  last: number;
  /** Since when the run waits for the event that follows `last`, if there are early ones. */
  sinceMs: number;
  readonly early: Map<number, TypedEvent>;
}

export interface Story {
  hear(event: ReceivedEvent): Heard;
  /**
   * Returns the events of the runs that have waited longer than `waitMaxMs`. Call it every few seconds: nothing that is heard
   * of other runs ends such a wait.
   */
  overdue(): readonly HeardInOrder[];
}

export function story(options: StoryOptions = {}): Story {
  const {
    lastApplied = () => undefined,
    heldMax = 1000,
    now = () => 0,
    waitMaxMs = 60_000,
    runsMax = 100_000,
    noticesMax = 10_000,
  } = options;
  /** Runs without early events by their `source`; the one that was heard least recently comes first. */
  const lines = new Map<string, Line>();
  /** Runs with early events; the one that has waited longest comes first. */
  const waiting = new Map<string, Line>();
  const notices = new Set<string>();
  let held = 0;

  return {
    hear(received) {
      const event = received as TypedEvent;
      return event.sequence === undefined ? hearNotice(event) : hearEvent(event, event.sequence, now());
    },
    overdue: () => {
      const nowMs = now();
      const late = [...waiting].filter(([, { sinceMs }]) => nowMs - sinceMs >= waitMaxMs);
      return late.map(([source, line]) => goOn(source, line, nowMs));
    },
  };

  function hearNotice(event: TypedEvent): Heard {
    if (notices.has(event.id)) return { kind: "repeat" };
    notices.add(event.id);
    forgetOldest(notices, noticesMax);
    return { kind: "told", events: [event] };
  }

  /** `source` names the installation and the run: two installations may have runs with the same id. */
  function hearEvent(event: TypedEvent, sequence: number, nowMs: number): Heard {
    const { source, subject: run = source } = event;
    const line = waiting.get(source) ??
      lines.get(source) ?? { run, last: lastApplied(run) ?? sequence - 1, sinceMs: nowMs, early: new Map<number, TypedEvent>() };
    const hadEarly = line.early.size > 0;
    const heard = place(line, event, sequence);
    // The wait begins anew with each event that is missing.
    if (heard.kind === "told" || !hadEarly) line.sinceMs = nowMs;
    keep(source, line);
    return heard.kind === "early" && held > heldMax ? giveUpOldest(heard, nowMs) : heard;
  }

  function place(line: Line, event: TypedEvent, sequence: number): Heard {
    const waitsFor = line.last + 1;
    // Within one installation, run and sequence fix an event's id. So an event with a sequence that was told is a repeat.
    if (sequence < waitsFor || line.early.has(sequence)) return { kind: "repeat" };
    line.early.set(sequence, event);
    held++;
    return sequence > waitsFor ? { kind: "early", waitsFor } : { kind: "told", events: following(line) };
  }

  /** Takes the early events that follow the last one that was told. */
  function following(line: Line): readonly TypedEvent[] {
    const events: TypedEvent[] = [];
    for (let next = line.early.get(line.last + 1); next !== undefined; next = line.early.get(line.last + 1)) {
      line.last++;
      line.early.delete(line.last);
      events.push(next);
    }
    held -= events.length;
    return events;
  }

  /**
   * An event that never comes, such as one from before the queue was bound, would otherwise hold the others for ever: their
   * deliveries stay unsettled, and at the broker's bound nothing more is delivered.
   */
  function giveUpOldest(heard: Heard, nowMs: number): Heard {
    const [oldest] = waiting;
    return oldest === undefined ? heard : goOn(...oldest, nowMs);
  }

  function goOn(source: string, line: Line, nowMs: number): HeardInOrder {
    const from = line.last + 1;
    line.last = Math.min(...line.early.keys()) - 1;
    const missed = { run: line.run, from, to: line.last };
    const events = following(line);
    line.sinceMs = nowMs;
    waiting.delete(source);
    keep(source, line);
    return { kind: "told", events, missed };
  }

  function keep(source: string, line: Line): void {
    lines.delete(source);
    if (line.early.size > 0) return void waiting.set(source, line);
    waiting.delete(source);
    lines.set(source, line);
    forgetOldest(lines, runsMax);
  }
}

function forgetOldest(ids: Set<string> | Map<string, unknown>, most: number): void {
  for (const id of ids.keys()) {
    if (ids.size <= most) return;
    ids.delete(id);
  }
}

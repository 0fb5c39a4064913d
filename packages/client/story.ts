/**
 * Returns the events of each run once each and in order, although the broker may repeat and reorder them.
 *
 * The failure this prevents: an application that books an order twice because `run.succeeded` came twice, or calls a run
 * running because `run.started` came after its end.
 */
import type { ReceivedEvent, TypedEvent } from "@longshore/contract/envelope.ts";

export type Heard =
  /**
   * Apply these events in this order, and save the last one's sequence together with what you applied; then settle the
   * delivery.
   */
  | { readonly kind: "told"; readonly events: readonly TypedEvent[] }
  /** The event was told before: settle the delivery and go on. */
  | { readonly kind: "repeat" }
  /** The event is kept in memory until `waitsFor` has come. If you settle the delivery now, a crash loses the event. */
  | { readonly kind: "early"; readonly waitsFor: number }
  /** The event is not kept, since too many wait already: give the delivery back to the broker. */
  | { readonly kind: "full"; readonly waitsFor: number };

export interface StoryOptions {
  /** Returns the run's last sequence number that you applied, from wherever you saved it; 0 if you never heard of the run. */
  readonly lastApplied?: (run: string) => number;
  /** At most this many early events are kept, over all runs. */
  readonly heldMax?: number;
  /**
   * At most this many runs are remembered. The run that was heard least recently is forgotten; its next event asks
   * `lastApplied` again.
   */
  readonly runsMax?: number;
  /** At most this many ids of events that belong to no run, such as refusals, are remembered. */
  readonly noticesMax?: number;
}

interface Line {
  last: number;
  readonly early: Map<number, TypedEvent>;
}

export interface Story {
  hear(event: ReceivedEvent): Heard;
}

export function story(options: StoryOptions = {}): Story {
  const { lastApplied = () => 0, heldMax = 1000, runsMax = 100_000, noticesMax = 10_000 } = options;
  const lines = new Map<string, Line>();
  const notices = new Set<string>();
  let held = 0;

  return {
    hear(received) {
      const event = received as TypedEvent;
      return event.sequence === undefined ? hearNotice(event) : hearEvent(event, event.sequence);
    },
  };

  function hearNotice(event: TypedEvent): Heard {
    if (notices.has(event.id)) return { kind: "repeat" };
    notices.add(event.id);
    forgetOldest(notices, noticesMax);
    return { kind: "told", events: [event] };
  }

  function hearEvent(event: TypedEvent, sequence: number): Heard {
    const line = lineOf(event);
    const next = line.last + 1;
    // Within one installation, run and sequence fix an event's id. So an event with a sequence that was told is a repeat.
    if (sequence < next || line.early.has(sequence)) return { kind: "repeat" };
    if (sequence > next) {
      if (held >= heldMax) return { kind: "full", waitsFor: next };
      line.early.set(sequence, event);
      held++;
      return { kind: "early", waitsFor: next };
    }
    const events = [event];
    for (let early = line.early.get(next + 1); early !== undefined; early = line.early.get(next + events.length)) {
      line.early.delete(next + events.length);
      events.push(early);
    }
    held -= events.length - 1;
    line.last += events.length;
    return { kind: "told", events };
  }

  /** `source` names the installation and the run: two installations may have runs with the same id. */
  function lineOf({ source, subject }: TypedEvent): Line {
    const line = lines.get(source) ?? { last: lastApplied(subject ?? source), early: new Map<number, TypedEvent>() };
    lines.delete(source);
    lines.set(source, line);
    for (const [oldest, { early }] of lines) {
      if (lines.size <= runsMax) break;
      held -= early.size;
      lines.delete(oldest);
    }
    return line;
  }
}

function forgetOldest(ids: Set<string>, most: number): void {
  for (const id of ids) {
    if (ids.size <= most) return;
    ids.delete(id);
  }
}

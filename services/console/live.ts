/**
 * Tells open pages that something changed, as soon as the broker says so.
 *
 * The failure this prevents: a page that shows what a message said and the ledger does not. A message is only a reason to look:
 * what is shown is read from the ledger. While the broker is away, and for messages that never come, streams look by themselves.
 */
import type { Broker } from "@longshore/broker/port.ts";
import { readEvent, type TypedEvent } from "@longshore/contract/messages/envelope.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";

export interface Live {
  /** Calls back at each change of this run, or of any run. Returns the function that ends it. */
  on(run: string | undefined, changed: (event: TypedEvent) => void): () => void;
  /** False while the broker's events are not heard. */
  isHeard(): boolean;
  /** Follows the broker until the signal aborts. */
  follow(signal: AbortSignal): Promise<void>;
}

const IN_FLIGHT = 256;

interface LiveOptions {
  readonly broker: Pick<Broker, "follow" | "status">;
  readonly clock: Clock;
  readonly log: Log;
}

export function openLive({ broker, clock, log }: LiveOptions): Live {
  const listeners = new Map<string | undefined, Set<(event: TypedEvent) => void>>();
  let isHeard = false;
  const tell = (event: TypedEvent): void => {
    const run = "run" in event.data ? event.data.run : undefined;
    const ofAll = listeners.get(undefined) ?? [];
    const ofRun = run === undefined ? [] : (listeners.get(run) ?? []);
    for (const changed of [...ofAll, ...ofRun]) changed(event);
  };
  return {
    isHeard: () => isHeard && broker.status().kind === "connected",
    on(run, changed) {
      const set = listeners.get(run) ?? new Set();
      listeners.set(run, set.add(changed));
      return () => {
        set.delete(changed);
        if (set.size === 0 && listeners.get(run) === set) listeners.delete(run);
      };
    },
    async follow(signal) {
      const pause = backOff(clock);
      for (let failures = 1; !signal.aborted; failures++) {
        try {
          const events = await broker.follow("#", { inFlightMax: IN_FLIGHT, signal });
          isHeard = true;
          for await (const delivery of events) {
            failures = 0;
            const read = readEvent(delivery.body);
            if (read.kind === "event") tell(read.event);
            await delivery.ack();
          }
        } catch (error) {
          if (signal.aborted) return;
          log.warn("the broker's events are not heard; pages look by themselves meanwhile", {
            error: error instanceof Error ? error.message : String(error),
          });
        }
        isHeard = false;
        if (!signal.aborted) await pause(failures, signal);
      }
    },
  };
}

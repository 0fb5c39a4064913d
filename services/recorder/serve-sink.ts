/**
 * One sink's loop: holds the sink, reads the feed, and tells what is due, many runs at once.
 *
 * The bug this prevents: two recorders that tell one run's events at once. The sink is ours until a time that the ledger knows,
 * and no request begins that could last longer.
 */
import { isTransient } from "@longshore/contract/problems/problem.ts";
import type { Delivery } from "@longshore/ledger/deliveries.ts";
import { every, lingering, type Loop } from "@longshore/runtime/loop.ts";
import { deliver } from "./deliver.ts";
import type { Parts, Sink } from "./parts.ts";

const FEED_MOST = 1_000;
/** Requests that are out when the program is to stop may still be answered. */
const LINGER_MS = 10_000;
/** A ledger that records hundreds of events a second is asked for them this often at most, and no event waits longer. */
const GATHER_MS = 50;

/** Wakes all sinks when the ledger says that events were recorded. Without such a word, each still looks once in `pollMs`. */
export function listen({ clock, ledger, sinks }: Pick<Parts, "clock" | "ledger" | "sinks">): Loop {
  return async (signal) => {
    for await (const _ of ledger.changes(signal)) {
      await clock.sleep(GATHER_MS, signal);
      for (const { wakeUp } of sinks) wakeUp.wake();
    }
  };
}

export function serveSink(parts: Parts, sink: Sink): Loop {
  const { clock, log, ledger, owner, timing, pause } = parts;
  const { name, breaker, timeoutMs, wakeUp } = sink;
  const leaseMs = timing.leaseMs ?? 3 * timeoutMs;
  const inFlight = new Map<string, Promise<void>>();
  const bugs: unknown[] = [];
  let heldUntilMs = 0;

  /** If more than the whole lease seems left, the clock was set back, and what is left is unknown. */
  const restMs = (): number => (heldUntilMs - clock.now() > leaseMs ? 0 : heldUntilMs - clock.now());
  const isSurelyOurs = (): boolean => restMs() >= Math.min(timeoutMs, leaseMs / 2);

  async function hold(): Promise<boolean> {
    if (restMs() > (leaseMs * 2) / 3) return true;
    const began = clock.now();
    const held = await ledger.hold(name, owner, leaseMs);
    heldUntilMs = held === "held" ? began + leaseMs : 0;
    return held === "held";
  }

  /** Resolves to true if there may be more to do at once. */
  async function turn(stop: AbortSignal, requests: AbortSignal): Promise<boolean> {
    if (!(await hold())) return false;
    const more = await ledger.advance(name, owner, FEED_MOST);
    const room = breaker.room(inFlight.size);
    const due = room === 0 ? [] : await ledger.due(name, { most: room, busy: [...inFlight.keys()] });
    for (const delivery of due) begin(delivery, stop, requests);
    if (bugs.length > 0) throw bugs[0];
    return more;
  }

  function begin(delivery: Delivery, stop: AbortSignal, signal: AbortSignal): void {
    const may = (): boolean => !stop.aborted && isSurelyOurs();
    const done = deliver(parts, sink, { delivery, may, signal })
      .then((isOurs) => {
        if (!isOurs) heldUntilMs = 0;
      })
      .catch((error: unknown) => {
        // The ledger could not write it down: the line is still due, and the same request is sent again.
        if (isTransient(error))
          log.warn("what was told could not be recorded", { sink: name, run: delivery.run, error: error.message });
        else bugs.push(error);
      })
      .finally(() => {
        inFlight.delete(delivery.key);
        wakeUp.wake();
      });
    inFlight.set(delivery.key, done);
  }

  return async (signal) => {
    let failures = 0;
    const requests = lingering(signal, { clock, ms: LINGER_MS });
    await every({ clock, ms: timing.pollMs, signal, wakeUp }, async () => {
      try {
        while (!signal.aborted && (await turn(signal, requests.signal)));
        failures = 0;
      } catch (error) {
        if (!isTransient(error)) throw error;
        failures++;
        log.warn("a sink's loop waits and tries again", { sink: name, failures, code: error.code, error: error.message });
        await pause(failures, signal);
      }
    });
    await Promise.all(inFlight.values());
    requests.release();
    // Else the next recorder would wait until the lease is over. If the ledger is away now, it does.
    await ledger.letGo(name, owner).catch((error: unknown) => log.debug("the sink could not be let go", { sink: name, error }));
  };
}

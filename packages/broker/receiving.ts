/**
 * Shared by all adapters for receiving: one iterator gives the lanes the messages of all connections, one connection after
 * another.
 *
 * The bugs this prevents: a callback that throws into the library (amqplib then closes the connection), a lane that waits for
 * ever after the end, messages that no lane took and that are forgotten at the end, and a receiver that gives up when its queue
 * cannot be consumed for a while.
 */
import { Failure, type Problem } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, linked } from "@longshore/runtime/loop.ts";
import type { Delivery } from "./port.ts";
import type { Session, Sessions } from "./session.ts";

const PROBLEMS_BYTES_MAX = 32 * 1024;

export interface Receiver<T = Delivery> {
  readonly deliveries: AsyncIterableIterator<T>;
  /** Resolves when messages are taken for the first time, or the receiver ended before. Rejects if we may not take them. */
  readonly begun: Promise<void>;
  close(): Promise<void>;
}

/** The pieces of a receiver that is not started yet. */
export interface Receiving<T> {
  readonly inHand: DeliveryQueue<T>;
  readonly begun: PromiseWithResolvers<void>;
  readonly stop: AbortSignal;
  readonly start: <S extends Session>(sessions: Sessions<S>, takes: Takes<S>) => Receiver<T>;
}

interface Takes<S extends Session> {
  /** Called for each session in turn. Returns when the session is over or `stop` aborts; is called again if it throws. */
  readonly consume: (session: S) => Promise<void>;
  readonly onEnd?: (() => Promise<void>) | undefined;
}

export function receiving<T>({ clock, log }: { readonly clock: Clock; readonly log: Log }, signal: AbortSignal): Receiving<T> {
  const stop = linked(signal);
  const inHand = deliveryQueue<T>(() => stop.abort());
  const begun = Promise.withResolvers<void>();
  begun.promise.catch(() => undefined); // only followers await this; a queue's receiver goes on trying
  const pause = backOff(clock, { firstMs: 50, mostMs: 5_000 });
  stop.signal.addEventListener("abort", () => inHand.end(), { once: true });

  async function run<S extends Session>(sessions: Sessions<S>, { consume, onEnd }: Takes<S>): Promise<void> {
    for (let failures = 0; !stop.signal.aborted; ) {
      const session = await sessions.current(stop.signal);
      if (session === undefined) break;
      try {
        await consume(session);
        failures = 0;
      } catch (error) {
        if (stop.signal.aborted) break;
        if (error instanceof Failure && error.disposition === "halt") begun.reject(error);
        log.warn("a queue could not be consumed", { error });
        await pause(++failures, stop.signal);
      }
    }
    inHand.end();
    begun.resolve();
    await onEnd?.();
    stop.release();
  }

  return {
    inHand,
    begun,
    stop: stop.signal,
    start: (sessions, takes) => {
      const running = Promise.resolve().then(() => run(sessions, takes)); // the caller gets the receiver before the run can end
      const close = async () => {
        stop.abort();
        await running;
      };
      return { deliveries: inHand.items, begun: begun.promise, close };
    },
  };
}

export interface DeliveryQueue<T> {
  give(item: T): void;
  /** Removes and returns the messages that no lane took yet. */
  drop(): readonly T[];
  /** Ends the iteration for lanes that wait now and for those that ask later. Idempotent. */
  end(): void;
  readonly items: AsyncIterableIterator<T>;
}

/** The queue has no bound of its own: the broker's prefetch bounds it. */
export function deliveryQueue<T>(onReturn: () => void): DeliveryQueue<T> {
  let ready: T[] = [];
  const waiting: ((result: IteratorResult<T>) => void)[] = [];
  let over = false;
  const done: IteratorResult<T> = { done: true, value: undefined };

  function end(): void {
    over = true;
    for (const tell of waiting.splice(0)) tell(done);
  }

  const items: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => items,
    next: () => {
      if (over) return Promise.resolve(done);
      const [value] = ready.splice(0, 1);
      if (value !== undefined) return Promise.resolve({ done: false, value });
      return new Promise((resolve) => waiting.push(resolve));
    },
    return: () => {
      end();
      onReturn();
      return Promise.resolve(done);
    },
  };

  return {
    items,
    end,
    give: (item) => {
      const tell = over ? undefined : waiting.shift();
      if (tell) tell({ done: false, value: item });
      else ready.push(item);
    },
    drop: () => {
      const dropped = ready;
      ready = [];
      return dropped;
    },
  };
}

/** Maps each item when a lane takes it, not before. */
export function mapped<A, B>(source: AsyncIterableIterator<A>, map: (item: A) => B | Promise<B>): AsyncIterableIterator<B> {
  const items: AsyncIterableIterator<B> = {
    [Symbol.asyncIterator]: () => items,
    next: async () => {
      const next = await source.next();
      return next.done === true ? { done: true, value: undefined } : { done: false, value: await map(next.value) };
    },
    return: async () => {
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return items;
}

/** Acks each message before its listener gets it, since no broadcast is delivered again. */
export function settledDeliveries(deliveries: AsyncIterableIterator<Delivery>): AsyncIterableIterator<Uint8Array> {
  return mapped(deliveries, async (it) => {
    await it.ack();
    return it.body;
  });
}

/** Lets a message be settled once: a second settlement could land on a message that was delivered again. */
export function settlement(what: string, after: () => void): (work: () => Promise<void> | void) => Promise<void> {
  let done = false;
  return async (work) => {
    if (done) throw new Error(`${what} was settled twice`);
    done = true;
    await work();
    after();
  };
}

/** Returns as many problems of a quarantined message as fit into a header, as text. */
export function problemsText(problems: readonly Problem[], written = (json: string): string => json): string {
  for (let count = problems.length; count > 0; count = Math.floor(count / 2)) {
    const text = written(JSON.stringify(problems.slice(0, count)));
    if (Buffer.byteLength(text) <= PROBLEMS_BYTES_MAX) return text;
  }
  return written(JSON.stringify(problems.slice(0, 1)).slice(0, PROBLEMS_BYTES_MAX / 8));
}

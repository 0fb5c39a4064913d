/**
 * The pieces that every loop is made of: running together, repeating, waiting to be woken, backing off, batching.
 *
 * The bugs this prevents: a loop that died while its process looks healthy, a wait that outlives its abort, and a queue that
 * grows without bound. `linked` replaces `AbortSignal.any`, whose signal asks all its sources each time that `aborted` is read;
 * loops read it all the time.
 */
import { type Clock, onAbort } from "./clock.ts";

/** How a program ended. "stopped": it was asked to, and did so in order. "finished": its work was done. */
export type ProgramEnd = { readonly kind: "stopped" } | { readonly kind: "finished"; readonly exitCode: number };

export type Loop = (signal: AbortSignal) => Promise<void>;

/**
 * Runs the loops until the signal aborts and all of them have ended. The first loop that throws, or that returns unasked, stops
 * the others; when they have ended, an error that names that loop is thrown.
 */
export async function together(signal: AbortSignal, loops: Readonly<Record<string, Loop>>): Promise<ProgramEnd> {
  const stop = linked(signal);
  const failures: Error[] = [];

  await Promise.all(
    Object.entries(loops).map(async ([name, loop]) => {
      try {
        await loop(stop.signal);
        if (stop.signal.aborted) return;
        failures.push(new Error(`the loop "${name}" returned although nobody had asked it to stop`));
      } catch (error) {
        if (isAbort(error, stop.signal)) return;
        const why = error instanceof Error ? error.message : String(error);
        failures.push(new Error(`the loop "${name}" failed: ${why}`, { cause: error }));
      }
      stop.abort(failures[0]);
    }),
  );
  stop.release();

  const [first, ...others] = failures;
  if (first === undefined) return { kind: "stopped" };
  if (others.length === 0) throw first;
  throw new AggregateError(failures, failures.map((it) => it.message).join("; "), { cause: first.cause });
}

/** The errors of `signal.throwIfAborted()` and of aborted calls of Node: an orderly end, not a failure. */
function isAbort(error: unknown, signal: AbortSignal): boolean {
  return signal.aborted && (error === signal.reason || (error instanceof Error && error.name === "AbortError"));
}

/** A signal that follows another signal and can be aborted by itself. */
export interface Linked {
  readonly signal: AbortSignal;
  abort(reason?: unknown): void;
  /** Stops following the other signal. */
  release(): void;
}

export function linked(signal: AbortSignal): Linked {
  const own = new AbortController();
  const follow = () => own.abort(signal.reason);
  if (signal.aborted) follow();
  const release = onAbort(signal, follow);
  return { signal: own.signal, abort: (reason) => own.abort(reason), release };
}

/** A signal that aborts this long after another: for requests that are under way when the program is told to stop. */
export function lingering(signal: AbortSignal, { clock, ms }: { readonly clock: Clock; readonly ms: number }) {
  const own = new AbortController();
  let callOff: (() => void) | undefined;
  const follow = () => {
    callOff = clock.alarm(ms, () => own.abort(signal.reason));
  };
  if (signal.aborted) follow();
  const stopFollowing = onAbort(signal, follow);
  return {
    signal: own.signal,
    release: () => {
      stopFollowing();
      callOff?.();
    },
  };
}

export interface WakeUp {
  /** If nobody waits, the next wait returns at once, so that a wake-up between two waits is not lost. */
  wake(): void;
  /** Waits until somebody calls `wake`, the time has passed, or the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<"woken" | "passed" | "aborted">;
}

export function wakeUp(clock: Clock): WakeUp {
  let woken = false;
  const waiting = new Set<() => void>();
  return {
    wake() {
      woken = waiting.size === 0;
      for (const wake of waiting) wake(); // each removes itself from `waiting`
    },
    wait: (ms, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve("aborted");
        if (woken) {
          woken = false;
          return resolve("woken");
        }
        const end = (how: "woken" | "passed" | "aborted") => {
          callOff();
          waiting.delete(wake);
          stopListening();
          resolve(how);
        };
        const wake = () => end("woken");
        const callOff = clock.alarm(ms, () => end("passed"));
        const stopListening = onAbort(signal, () => end("aborted"));
        waiting.add(wake);
      }),
  };
}

export interface Every {
  readonly clock: Clock;
  /** The pause from the end of one turn to the start of the next, varied by a tenth so that replicas do not run in step. */
  readonly ms: number;
  readonly signal: AbortSignal;
  /** Being woken cuts the pause short. */
  readonly wakeUp?: WakeUp;
}

/** Does the work again and again, one turn at a time, until the signal aborts. An error of the work ends the loop. */
export async function every(
  { clock, ms, signal, wakeUp: woken = wakeUp(clock) }: Every,
  work: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  if (!(ms > 0)) throw new RangeError(`a loop needs a pause above 0 ms, or it is a spin: ${ms}`);
  while (!signal.aborted) {
    await work(signal);
    await woken.wait(ms * (0.9 + 0.2 * clock.random()), signal);
  }
}

export type Pause = (failures: number, signal: AbortSignal) => Promise<void>;

/**
 * Waits longer after each failure in a row: first `firstMs`, then twice as long each time, at most `mostMs`. Half of each wait
 * is random.
 */
export function backOff(
  clock: Clock,
  { firstMs = 100, mostMs = 30_000 }: { readonly firstMs?: number; readonly mostMs?: number } = {},
): Pause {
  return (failures, signal) => {
    const ceiling = Math.min(mostMs, firstMs * 2 ** Math.min(30, Math.max(0, failures - 1)));
    return clock.sleep(ceiling * (0.5 + 0.5 * clock.random()), signal);
  };
}

/** If work ran this long without an error, the next failure counts as the first. */
const WELL_MS = 60_000;

interface Lasting {
  readonly clock: Clock;
  readonly pause: Pause;
  /** True if this error passes by itself; other errors are thrown. Called for each error, so that the caller can log it. */
  readonly passes: (error: unknown, failures: number) => boolean;
}

/** Starts the work again whenever it ends, with longer pauses while it keeps ending soon. */
export function again({ clock, pause, passes }: Lasting, work: Loop): Loop {
  return async (signal) => {
    for (let failures = 0; !signal.aborted; await pause(failures, signal)) {
      const began = clock.now();
      try {
        await work(signal);
      } catch (error) {
        if (signal.aborted) return;
        if (!passes(error, failures)) throw error;
      }
      failures = clock.now() - began > WELL_MS ? 1 : failures + 1;
    }
  };
}

export class TimeUp extends Error {
  override readonly name = "TimeUp";
}

/** Bounds one piece of work: when the time is up its signal aborts and `TimeUp` is thrown, even if the work goes on. */
export async function within<R>(
  { clock, ms, signal, what }: Omit<Every, "wakeUp"> & { readonly what: string },
  work: (signal: AbortSignal) => Promise<R>,
): Promise<R> {
  const bounded = linked(signal);
  let callOff = (): void => undefined;
  try {
    return await new Promise<R>((resolve, reject) => {
      callOff = clock.alarm(ms, () => {
        const late = new TimeUp(`${what} took longer than ${ms} ms`);
        bounded.abort(late);
        reject(late);
      });
      work(bounded.signal).then(resolve, reject);
    });
  } finally {
    callOff();
    bounded.release();
  }
}

interface BatchOptions {
  /** Most items in one call. */
  readonly most: number;
  /**
   * The most items that may wait beside the batch in flight. If one more comes, its caller is refused: the callers lack a
   * bound.
   */
  readonly waitingMost?: number;
}

/**
 * Lets each caller hand over one item and await its result, and handles many items in one call. While a batch is in flight, the
 * next one fills; no batch waits for more items. If a batch throws, each of its callers gets that error.
 */
export function batch<I, R>(
  { most, waitingMost = 10_000 }: BatchOptions,
  run: (items: readonly I[]) => Promise<readonly R[]>,
): (item: I) => Promise<R> {
  interface Waiting {
    readonly item: I;
    readonly done: (result: R) => void;
    readonly failed: (error: unknown) => void;
  }
  let waiting: Waiting[] = [];
  let working = false;

  return (item) =>
    new Promise<R>((done, failed) => {
      if (waiting.length >= waitingMost)
        throw new RangeError(`${waitingMost} items wait for a batch of ${most}: the callers need a lower bound`);
      waiting.push({ item, done, failed });
      if (!working) void drain();
    });

  async function drain(): Promise<void> {
    working = true;
    await Promise.resolve(); // items that are handed over in the same turn go together
    while (waiting.length > 0) {
      const taken = waiting.slice(0, most);
      waiting = waiting.slice(most);
      await one(taken);
    }
    working = false;
  }

  async function one(taken: readonly Waiting[]): Promise<void> {
    try {
      const results = await run(taken.map((it) => it.item));
      if (results.length !== taken.length) throw new Error(`a batch of ${taken.length} items gave ${results.length} results`);
      for (const [index, result] of results.entries()) taken[index]?.done(result);
    } catch (error) {
      for (const it of taken) it.failed(error);
    }
  }
}

/**
 * Works on a source's items in `most` lanes; each lane takes its next item when the last is done. If a lane throws, the source
 * is told to end, each other lane finishes its item and takes no more, and then the error is thrown.
 */
export async function lanes<I>(
  most: number,
  source: (signal: AbortSignal) => AsyncIterable<I>,
  work: (item: I, signal: AbortSignal) => Promise<unknown>,
  signal: AbortSignal,
): Promise<void> {
  const stop = linked(signal);
  const failures: unknown[] = [];
  try {
    const items = source(stop.signal)[Symbol.asyncIterator]();
    await Promise.all(
      Array.from({ length: most }, () =>
        lane(items).catch((error: unknown) => {
          failures.push(error);
          stop.abort(error);
        }),
      ),
    );
    await items.return?.();
  } finally {
    stop.release();
  }
  if (failures.length > 0) throw failures[0];

  async function lane(items: AsyncIterator<I>): Promise<void> {
    while (failures.length === 0) {
      const next = await items.next();
      if (next.done === true) return;
      await work(next.value, stop.signal);
    }
  }
}

/**
 * A clock for tests and the simulation, which stands still until `pass` moves it.
 *
 * The bug this prevents: a test that waits for real minutes, or whose order of events depends on the machine. Everything that
 * one sleeper starts has run before the next wakes, so that the order depends on the times alone.
 */
import { type Clock, sleepBy } from "../clock.ts";
import { popTimed, pushTimed } from "../soonest.ts";

export interface StepsClock extends Clock {
  /** Lets this much time pass and wakes sleepers in order. Everything that one starts has run before the next wakes. */
  pass(ms: number): Promise<void>;
  /** Returns the number of sleepers. */
  sleepers(): number;
}

export interface StepsClockOptions {
  readonly nowMs?: number;
  readonly chance?: number;
  /** Used instead of `chance`, which is always the same. */
  readonly random?: () => number;
  /** If nothing under this clock waits for a socket or a file, only one step in this many needs a turn of the event loop. */
  readonly stepsPerTurn?: number;
}

interface Sleeper {
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it rang or was called off; the entry then stays in the heap until its time. */
  ring: (() => void) | undefined;
}

export function stepsClock(options: StepsClockOptions = {}): StepsClock {
  const { nowMs = 0, chance = 0.5, random = () => chance, stepsPerTurn = 1 } = options;
  let now = nowMs;
  let order = 0;
  let sleeping = 0;
  let steps = 0;
  const heap: Sleeper[] = [];

  function alarm(ms: number, ring: () => void): () => void {
    const sleeper: Sleeper = { atMs: now + Math.max(0, ms), order: order++, ring };
    sleeping++;
    pushTimed(heap, sleeper);
    return () => void take(sleeper);
  }

  /** Returns the sleeper's ring, once. */
  function take(sleeper: Sleeper): (() => void) | undefined {
    const { ring } = sleeper;
    if (ring !== undefined) sleeping--;
    sleeper.ring = undefined;
    return ring;
  }

  return {
    now: () => now,
    random,
    sleepers: () => sleeping,
    alarm,
    sleep: sleepBy(alarm),
    async pass(ms) {
      const until = now + ms;
      await settled();
      for (let next = heap[0]; next !== undefined && next.atMs <= until; next = heap[0]) {
        popTimed(heap);
        const ring = take(next);
        if (ring === undefined) continue;
        now = next.atMs;
        rung(ring);
        await (++steps % stepsPerTurn === 0 ? settled() : promisesSettled());
      }
      now = until;
    },
  };
}

/** An error in one ring becomes an unhandled rejection. It stops neither the clock nor the sleepers that are due after it. */
function rung(ring: () => void): void {
  try {
    ring();
  } catch (error) {
    void Promise.reject(error instanceof Error ? error : new Error(String(error)));
  }
}

/** Resolves after everything that was due in this turn has run: promises settle before a macrotask begins. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Resolves when no promise is left to settle: a tick that is requested while promises settle runs after the last of them. */
function promisesSettled(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

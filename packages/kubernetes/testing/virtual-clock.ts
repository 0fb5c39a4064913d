/**
 * A clock for tests: its time stands still while any work can go on, then jumps to the end of the next sleep.
 *
 * The bug this prevents: tests that wait for real minutes, or that pass because the machine was fast.
 */
import { type Clock, sleepBy } from "@longshore/runtime/clock.ts";

export interface VirtualClock extends Clock {
  /** The length of each sleep that came to its end, in order. */
  readonly slept: readonly number[];
}

export function virtualClock({
  startMs = 1_000_000,
  random = () => 0.5,
}: {
  startMs?: number;
  random?: () => number;
} = {}): VirtualClock {
  const sleepers = new Set<{ readonly atMs: number; readonly wake: () => void }>();
  const slept: number[] = [];
  let nowMs = startMs;
  let scheduled = false;

  // Work that waits for nothing runs in microtasks; an immediate runs after them.
  function schedule(): void {
    if (scheduled || sleepers.size === 0) return;
    scheduled = true;
    setImmediate(() => {
      scheduled = false;
      const [first] = [...sleepers].sort((a, b) => a.atMs - b.atMs);
      if (first) {
        nowMs = Math.max(nowMs, first.atMs);
        first.wake();
      }
      schedule();
    });
  }

  function alarm(ms: number, ring: () => void): () => void {
    const wake = () => {
      sleepers.delete(sleeper);
      slept.push(ms);
      ring();
    };
    const sleeper = { atMs: nowMs + ms, wake };
    sleepers.add(sleeper);
    schedule();
    return () => void sleepers.delete(sleeper);
  }

  return { slept, now: () => nowMs, random, alarm, sleep: sleepBy(alarm) };
}

/** A clock that stands still: for tests with real sockets that do not test time limits. */
export function standingClock(atMs: number): Clock {
  const alarm = () => () => undefined;
  return { now: () => atMs, random: () => 0.5, alarm, sleep: sleepBy(alarm) };
}

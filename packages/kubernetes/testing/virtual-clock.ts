/**
 * A clock for tests: time stands still while anything can still happen, then jumps to the next thing that waits for it.
 *
 * The bug this prevents: tests that wait for real minutes, or that pass because the machine was fast.
 */
import type { Clock } from "@longshore/runtime/clock.ts";

export interface VirtualClock extends Clock {
  /** How long each sleep that came to its end was, in order. */
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

  // Whatever happens without waiting happens in microtasks; an immediate runs when those are done.
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

  return {
    slept,
    now: () => nowMs,
    random,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const done = () => {
          sleepers.delete(sleeper);
          signal?.removeEventListener("abort", done);
          resolve();
        };
        const wake = () => {
          slept.push(ms);
          done();
        };
        const sleeper = { atMs: nowMs + ms, wake };
        sleepers.add(sleeper);
        signal?.addEventListener("abort", done, { once: true });
        schedule();
      }),
  };
}

/** A clock that stands: for tests with real sockets, whose bounds are not what is tested. */
export function standingClock(atMs: number): Clock {
  return {
    now: () => atMs,
    random: () => 0.5,
    sleep: (_ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) resolve();
        else signal?.addEventListener("abort", () => resolve(), { once: true });
      }),
  };
}

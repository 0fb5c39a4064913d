/**
 * For tests and the simulation: a clock that stands still until somebody turns it.
 *
 * The bug this prevents: a test that waits for real minutes, or one whose order of events depends on the machine. Between two
 * sleepers everything that follows from the first has run, so that what happens depends on nothing but the numbers.
 */
import type { Clock } from "./clock.ts";

export interface StepsClock extends Clock {
  /** Lets so much time pass, waking sleepers in order, each with all that follows from it before the next. */
  pass(ms: number): Promise<void>;
  /** How many sleep now. */
  sleepers(): number;
}

export interface StepsClockOptions {
  readonly nowMs?: number;
  readonly chance?: number;
  /** Instead of always the same `chance`. */
  readonly random?: () => number;
}

interface Sleeper {
  readonly atMs: number;
  readonly order: number;
  /** Undefined once it was woken by its signal: then it only waits to be taken off the heap. */
  wake: (() => void) | undefined;
}

export function stepsClock({ nowMs = 0, chance = 0.5, random = () => chance }: StepsClockOptions = {}): StepsClock {
  let now = nowMs;
  let order = 0;
  let sleeping = 0;
  const heap: Sleeper[] = [];

  return {
    now: () => now,
    random,
    sleepers: () => sleeping,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = () => {
          sleeper.wake = undefined;
          sleeping--;
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        const sleeper: Sleeper = { atMs: now + Math.max(0, ms), order: order++, wake };
        sleeping++;
        push(heap, sleeper);
        signal?.addEventListener("abort", wake, { once: true });
      }),
    async pass(ms) {
      const until = now + ms;
      await settled();
      for (let next = heap[0]; next !== undefined && next.atMs <= until; next = heap[0]) {
        pop(heap);
        if (next.wake === undefined) continue;
        now = next.atMs;
        next.wake();
        await settled();
      }
      now = until;
    },
  };
}

/** After all that was due in this turn has run: promises settle before a macrotask begins. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const before = (a: Sleeper, b: Sleeper): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

function push(heap: Sleeper[], sleeper: Sleeper): void {
  let hole = heap.push(sleeper) - 1;
  while (hole > 0) {
    const parent = (hole - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !before(sleeper, above)) break;
    heap[hole] = above;
    hole = parent;
  }
  heap[hole] = sleeper;
}

function pop(heap: Sleeper[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let hole = 0;
  for (;;) {
    const left = heap[2 * hole + 1];
    const right = heap[2 * hole + 2];
    const child = right !== undefined && left !== undefined && before(right, left) ? 2 * hole + 2 : 2 * hole + 1;
    const below = heap[child];
    if (below === undefined || !before(below, last)) break;
    heap[hole] = below;
    hole = child;
  }
  heap[hole] = last;
}

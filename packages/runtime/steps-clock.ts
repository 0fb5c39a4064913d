/** For tests: a clock that stands still until somebody turns it. */
import type { Clock } from "./clock.ts";

export interface StepsClock extends Clock {
  /** Lets so much time pass, waking sleepers in order, each with all that follows from it before the next. */
  pass(ms: number): Promise<void>;
  /** How many sleep now. */
  sleepers(): number;
}

export function stepsClock({ nowMs = 0, chance = 0.5 }: { readonly nowMs?: number; readonly chance?: number } = {}): StepsClock {
  let now = nowMs;
  const sleeping = new Set<{ readonly at: number; readonly wake: () => void }>();

  return {
    now: () => now,
    random: () => chance,
    sleepers: () => sleeping.size,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal?.aborted) return resolve();
        const wake = () => {
          sleeping.delete(sleeper);
          signal?.removeEventListener("abort", wake);
          resolve();
        };
        const sleeper = { at: now + Math.max(0, ms), wake };
        sleeping.add(sleeper);
        signal?.addEventListener("abort", wake, { once: true });
      }),
    async pass(ms) {
      const until = now + ms;
      await settled();
      for (let next = soonest(); next !== undefined && next.at <= until; next = soonest()) {
        now = next.at;
        next.wake();
        await settled();
      }
      now = until;
    },
  };

  function soonest() {
    return [...sleeping].toSorted((a, b) => a.at - b.at)[0];
  }
}

/** After all that was due in this turn has run: promises settle before a macrotask begins. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

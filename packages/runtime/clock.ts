/**
 * Time and chance as values, so that loops can run under a clock that the simulation turns.
 *
 * The bug this prevents: a test that passes because the machine was fast. Nothing outside this file and the adapters'
 * sockets calls `Date.now`, `setTimeout` or `Math.random`.
 */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after so long, or at once when the signal aborts. Never rejects: the caller's loop looks at its signal. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** In [0, 1), for jitter only. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal?.addEventListener("abort", done, { once: true });
    }),
};

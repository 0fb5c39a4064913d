/**
 * Time and chance as values, so that the simulation can set the clock of the loops, and no test passes because the machine was
 * fast. Nothing outside this file and the adapters' sockets calls `Date.now`, `setTimeout` or `Math.random`.
 */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls `ring` once after this time. Returns a function that calls it off. */
  alarm(ms: number, ring: () => void): () => void;
  /** Resolves after this time, or at once when the signal aborts. Never rejects: the caller looks at its signal. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** In [0, 1), for jitter only. */
  random(): number;
}

const ends = new WeakMap<AbortSignal, Set<() => void>>();

/**
 * Calls `end` when the signal aborts. Returns a function that calls it off. All callers share one listener of the signal: a loop
 * waits on one signal for ever, and a listener that is added and removed costs more than the wait itself.
 */
export function onAbort(signal: AbortSignal, end: () => void): () => void {
  const shared = ends.get(signal) ?? new Set();
  if (!ends.has(signal)) {
    ends.set(signal, shared);
    signal.addEventListener("abort", () => shared.forEach((it) => it()), { once: true });
  }
  shared.add(end);
  return () => void shared.delete(end);
}

/** Resolves when the signal aborts, also if it has done so already. */
export const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => (signal.aborted ? resolve() : void onAbort(signal, resolve)));

/** Makes a clock's `sleep` from its `alarm`. */
export function sleepBy(alarm: Clock["alarm"]): Clock["sleep"] {
  return (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const done = () => {
        callOff();
        stopListening?.();
        resolve();
      };
      const callOff = alarm(ms, done);
      const stopListening = signal && onAbort(signal, done);
    });
}

const alarm: Clock["alarm"] = (ms, ring) => {
  const timer = setTimeout(ring, ms);
  return () => clearTimeout(timer);
};

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  alarm,
  sleep: sleepBy(alarm),
};

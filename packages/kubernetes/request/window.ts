/**
 * How many requests may be with one cluster at once: fewer while the cluster is slow or says 429, more again while it is well.
 *
 * The bug this prevents: a cluster that is already too slow gets as many requests as a fast one, and everything that waits for
 * the cluster waits without end and in no order.
 */
import { throttled } from "./throttled.ts";

export interface Window {
  /** If a place is free and no caller waits, takes the place and returns the function that gives it back. */
  enterNow(): (() => void) | undefined;
  /**
   * Resolves in order of arrival. Throws an "unsent" of our own (throttled.ts) if too many wait already, or if the signal
   * aborts.
   */
  enter(name: string, signal: AbortSignal): Promise<() => void>;
  shrink(): void;
  grow(): void;
  load(): { readonly window: number; readonly inFlight: number; readonly waiting: number };
}

export function openWindow({ most, waitingMax }: { readonly most: number; readonly waitingMax: number }): Window {
  let size = most;
  let inFlight = 0;
  const waiting = new Set<() => void>(); // in order of arrival

  function admit(): void {
    while (inFlight < Math.floor(size)) {
      const [next] = waiting;
      if (next === undefined) return;
      waiting.delete(next);
      inFlight++;
      next();
    }
  }

  function leaveOnce(): () => void {
    let left = false;
    return () => {
      if (left) return;
      left = true;
      inFlight--;
      admit();
    };
  }

  return {
    enterNow() {
      if (waiting.size > 0 || inFlight >= Math.floor(size)) return undefined;
      inFlight++;
      return leaveOnce();
    },
    enter(name, signal) {
      if (signal.aborted) return Promise.reject(throttled(`The request to ${name} was given up before its turn came.`));
      if (waiting.size >= waitingMax) return Promise.reject(throttled(`${waitingMax} requests wait for ${name} already.`));
      return new Promise((resolve, reject) => {
        const go = () => {
          signal.removeEventListener("abort", giveUp);
          resolve(leaveOnce());
        };
        const giveUp = () => {
          waiting.delete(go);
          reject(throttled(`So many requests are with ${name} that this one's turn did not come in time.`));
        };
        waiting.add(go);
        signal.addEventListener("abort", giveUp, { once: true });
        admit();
      });
    },
    shrink() {
      size = Math.max(1, size / 2);
    },
    grow() {
      // The window grows by one place for each windowful of requests that went well.
      size = Math.min(most, size + 1 / size);
      admit();
    },
    load: () => ({ window: Math.floor(size), inFlight, waiting: waiting.size }),
  };
}

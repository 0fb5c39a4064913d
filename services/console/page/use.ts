/** Answers of the console that stay on the screen while the page asks for them again. */
import { useEffect, useRef, useState } from "preact/hooks";
import { ask, type Problem, Refusal, stream } from "./api.ts";

export interface Asked<T> {
  readonly value: T | undefined;
  readonly problem: Problem | undefined;
  /** Since when nothing new was heard: what is shown may be old. */
  readonly staleSinceMs: number | undefined;
  /** True once an answer takes long enough for a person to notice. */
  readonly isSlow: boolean;
}

const SLOW_MS = 300;

/** What no event tells, such as how long ago a watcher was heard, is asked for this often. */
export const LOOK_MS = 10_000;

/**
 * Asks once. A run's stream then brings each new view of it; that of all runs says only that something changed, and so this asks
 * again. `everyMs`: it also asks again by itself, while the page is seen.
 */
export function useAnswer<T>(
  path: string,
  query: Readonly<Record<string, string>>,
  run?: string,
  everyMs?: number,
): Asked<T> & { readonly look: () => void } {
  const [state, set] = useState<Asked<T>>({ value: undefined, problem: undefined, staleSinceMs: undefined, isSlow: false });
  const key = JSON.stringify([path, query, run]);
  const current = useRef(key);
  const again = useRef<() => void>(() => undefined);
  useEffect(() => {
    current.current = key;
    const slow = setTimeout(() => set((it) => ({ ...it, isSlow: it.value === undefined })), SLOW_MS);
    const mine = (): boolean => current.current === key;
    const take = (value: T): void => set({ value, problem: undefined, staleSinceMs: undefined, isSlow: false });
    let isTold = false; // an answer that comes after a view of the open stream may be older than that view
    const look = (): Promise<void> =>
      ask<T>(path, query).then(
        (value) => {
          if (mine() && !isTold) take(value);
        },
        (error: unknown) => {
          if (!mine() || !(error instanceof Refusal)) return;
          const { problem } = error;
          const passes = problem.status === 0 || problem.status >= 500;
          set((it) =>
            passes && it.value !== undefined
              ? { ...it, staleSinceMs: it.staleSinceMs ?? Date.now() }
              : { ...it, problem, isSlow: false },
          );
        },
      );
    void look();
    again.current = () => void look();
    const timer = everyMs === undefined ? undefined : setInterval(() => !document.hidden && void look(), everyMs);
    const end = stream(
      "/v1/changes",
      run === undefined ? {} : { run },
      {
        run: (view) => {
          if (!mine()) return;
          isTold = true;
          take(JSON.parse(view) as T);
        },
        changed: () => void (mine() && look()),
      },
      (isLive) => {
        if (!mine()) return;
        isTold = false;
        if (isLive) void look();
        else set((it) => ({ ...it, staleSinceMs: it.staleSinceMs ?? Date.now() }));
      },
    );
    return () => {
      clearTimeout(slow);
      clearInterval(timer);
      end();
    };
  }, [key]);
  return { ...state, look: () => again.current() };
}

/** The time, once a second: durations that still grow. */
export function useNow(isRunning: boolean): number {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    if (!isRunning) return undefined;
    const timer = setInterval(() => set(Date.now()), 1_000);
    return () => clearInterval(timer);
  }, [isRunning]);
  return now;
}

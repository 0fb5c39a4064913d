/**
 * What rings when there may be something to do, and whoever listens.
 *
 * The bug this prevents: a listener that is slower than the rings and grows without bound.
 */
import type { Bell } from "./port.ts";

export const BELLS: readonly Bell[] = ["waiting", "ready", "claimed", "live", "closing", "ended", "outbox", "strays", "notices"];

export type Listeners = Set<(bells: readonly Bell[]) => void>;

/** Rings that nobody fetched yet are kept as a set: there is nothing to gain from the same hint twice. */
export function listener(listeners: Listeners, signal: AbortSignal): AsyncIterableIterator<Bell> {
  const rung = new Set<Bell>();
  let wake: (() => void) | undefined;
  const hear = (bells: readonly Bell[]): void => {
    for (const bell of bells) rung.add(bell);
    wake?.();
  };
  const stop = (): void => {
    listeners.delete(hear);
    wake?.();
  };
  if (!signal.aborted) listeners.add(hear);
  signal.addEventListener("abort", stop, { once: true });

  const bells: AsyncIterableIterator<Bell> = {
    [Symbol.asyncIterator]: () => bells,
    next: async () => {
      while (rung.size === 0 && listeners.has(hear)) await new Promise<void>((resolve) => (wake = resolve));
      const [bell] = rung;
      if (bell === undefined || signal.aborted) return { done: true, value: undefined };
      rung.delete(bell);
      return { done: false, value: bell };
    },
    return: async () => {
      signal.removeEventListener("abort", stop);
      stop();
      return { done: true, value: undefined };
    },
  };
  return bells;
}

/**
 * The ledger's hints of new work, and their listeners.
 *
 * The bug this prevents: a listener that is slower than the hints, whose queue grows without bound.
 */
import type { WorkKind } from "@longshore/domain/run/change.ts";

export type Listeners = Set<(kinds: readonly WorkKind[]) => void>;

/** Keeps the hints that the listener has not fetched yet as a set: a hint that comes twice is kept once. */
export function workHints(listeners: Listeners, signal: AbortSignal): AsyncIterableIterator<WorkKind> {
  const announced = new Set<WorkKind>();
  let wake: (() => void) | undefined;
  const hear = (kinds: readonly WorkKind[]): void => {
    for (const kind of kinds) announced.add(kind);
    wake?.();
  };
  const stop = (): void => {
    listeners.delete(hear);
    wake?.();
  };
  if (!signal.aborted) listeners.add(hear);
  signal.addEventListener("abort", stop, { once: true });

  const kinds: AsyncIterableIterator<WorkKind> = {
    [Symbol.asyncIterator]: () => kinds,
    next: async () => {
      while (announced.size === 0 && listeners.has(hear)) await new Promise<void>((resolve) => (wake = resolve));
      const [kind] = announced;
      if (kind === undefined || signal.aborted) return { done: true, value: undefined };
      announced.delete(kind);
      return { done: false, value: kind };
    },
    return: async () => {
      signal.removeEventListener("abort", stop);
      stop();
      return { done: true, value: undefined };
    },
  };
  return kinds;
}

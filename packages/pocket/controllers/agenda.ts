/**
 * The cluster's plans for later, one for each key, over one clock.
 *
 * The bugs this prevents: a forgotten timer that acts on an object that was replaced meanwhile (a new plan replaces the earlier
 * plan of its key), and an order that depends on the machine (plans for the same millisecond run in the order in which they
 * were made).
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { popTimed, pushTimed } from "@longshore/runtime/soonest.ts";

export interface Agenda {
  /** Keeps the earlier of the two if the key has an entry. */
  soon(key: string, inMs: number, work: () => void): void;
  /** Replaces the key's entry. */
  at(key: string, whenMs: number, work: () => void): void;
  cancel(key: string): void;
  stop(): void;
}

interface Entry {
  readonly key: string;
  readonly atMs: number;
  readonly order: number;
  readonly work: () => void;
}

/** A timer of the machine takes at most 2^31 ms; a longer wait is split. */
const LONGEST_SLEEP_MS = 3_600_000;

export function createAgenda(clock: Clock): Agenda {
  const heap: Entry[] = [];
  const byKey = new Map<string, Entry>();
  let order = 0;
  let callOff = (): void => undefined;
  let sleepsUntilMs = Number.POSITIVE_INFINITY;
  let stopped = false;
  let running = false;

  function at(key: string, whenMs: number, work: () => void): void {
    if (stopped) return;
    const entry = { key, atMs: whenMs, order: order++, work };
    byKey.set(key, entry);
    pushTimed(heap, entry);
    if (!running && whenMs < sleepsUntilMs) rest();
  }

  /** Sleeps until the next entry is due; an earlier entry that comes meanwhile starts a new sleep. */
  function rest(): void {
    callOff();
    sleepsUntilMs = Number.POSITIVE_INFINITY;
    let next = heap[0];
    while (next !== undefined && byKey.get(next.key) !== next) {
      popTimed(heap);
      next = heap[0];
    }
    if (next === undefined || stopped) return;
    const now = clock.now();
    sleepsUntilMs = Math.min(next.atMs, now + LONGEST_SLEEP_MS);
    callOff = clock.alarm(Math.max(0, sleepsUntilMs - now), runDue);
  }

  function runDue(): void {
    running = true;
    const now = clock.now();
    // Runs only the entries that were there when the alarm came. A new entry for "now" waits for the next alarm, so that other
    // I/O comes in between.
    const most = heap.length;
    try {
      for (let n = 0; n < most; n++) {
        const next = heap[0];
        if (next === undefined || next.atMs > now) break;
        popTimed(heap);
        if (byKey.get(next.key) !== next) continue;
        byKey.delete(next.key);
        next.work();
      }
    } finally {
      running = false;
      rest();
    }
  }

  return {
    at,
    soon: (key, inMs, work) => {
      const whenMs = clock.now() + inMs;
      const standing = byKey.get(key);
      if (standing === undefined || standing.atMs > whenMs) at(key, whenMs, work);
    },
    cancel: (key) => {
      byKey.delete(key);
    },
    stop: () => {
      stopped = true;
      byKey.clear();
      heap.length = 0;
      callOff();
    },
  };
}

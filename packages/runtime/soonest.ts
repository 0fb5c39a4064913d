/**
 * A binary heap by time: gives the entry that is due soonest, and among equals the one that came first.
 *
 * The bug this prevents: a list of timers that is searched or sorted anew for each of ten thousand entries.
 */

export interface Timed {
  readonly atMs: number;
  /** Grows with each entry: if two entries have the same time, the older comes first, so that a simulation can be replayed. */
  readonly order: number;
}

const before = (a: Timed, b: Timed): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

/** `heap[0]` is the soonest. */
export function pushTimed<T extends Timed>(heap: T[], entry: T): void {
  let hole = heap.push(entry) - 1;
  while (hole > 0) {
    const parent = (hole - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !before(entry, above)) break;
    heap[hole] = above;
    hole = parent;
  }
  heap[hole] = entry;
}

/** Removes the soonest entry. */
export function popTimed<T extends Timed>(heap: T[]): void {
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

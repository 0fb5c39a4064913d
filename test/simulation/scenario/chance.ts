/**
 * Chance from a seed: the same seed, the same numbers, on every machine.
 *
 * The bug this prevents: a failure that was seen once and never again.
 */
export interface Chance {
  /** A number in [0, 1). */
  random(): number;
  /** A whole number; both ends are included. */
  between(from: number, to: number): number;
  pick<T>(items: readonly [T, ...T[]]): T;
  /** True with this probability. */
  is(probability: number): boolean;
}

/** sfc32, seeded by the characters of the text. */
export function chanceOf(seed: string): Chance {
  let [a, b, c, d] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, hashOf(seed)];
  function next(): number {
    const t = (((a + b) | 0) + d) | 0;
    d = (d + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + t) | 0;
    return (t >>> 0) / 0x1_0000_0000;
  }
  for (let n = 0; n < 12; n++) next();
  return {
    random: next,
    between: (from, to) => from + Math.floor(next() * (to - from + 1)),
    pick: (items) => items[Math.floor(next() * items.length)] ?? items[0],
    is: (probability) => next() < probability,
  };
}

/** FNV-1a. */
export function hashOf(text: string, from = 0x811c9dc5): number {
  let hash = from;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

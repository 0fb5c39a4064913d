/** Figures for people and for machines: rounded, and printed in the same words as the line of JSON that ends a bench. */

export const rounded = (value: number, digits: number): number => Number(value.toFixed(digits));

/** Divides each sum by `count`. */
export const each = (sums: Readonly<Record<string, number>>, count: number, digits: number): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(sums).map(([name, sum]) => [name, rounded(sum / count, digits)]));

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly most: number;
}

export function percentiles(values: readonly number[]): Percentiles {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number): number => rounded(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0, 1);
  return { p50: at(0.5), p99: at(0.99), most: at(1) };
}

/** Returns one line for each figure: "cpuMsPerRun      launcher 1.20  watcher 0.80". */
export function told(figures: object): readonly string[] {
  return Object.entries(figures).map(([name, value]) => `${name.padEnd(32)} ${textOf(value)}`);
}

function textOf(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  if (Array.isArray(value)) return value.map(String).join(", ");
  return Object.entries(value)
    .map(([name, it]) => `${name} ${typeof it === "object" ? `(${textOf(it)})` : String(it)}`)
    .join("  ");
}

/** Durations and quantities as people write them, and as numbers. In code the unit stands in the name. */
import { z } from "zod";

const UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/;
const LONGEST_MS = 366 * UNITS.d;

/** Turns "15m" into milliseconds; returns undefined for a text that is no duration, or one longer than a year. */
export function durationMs(text: string): number | undefined {
  const [, count, unit] = DURATION.exec(text) ?? [];
  if (count === undefined || unit === undefined) return undefined;
  const ms = Number(count) * UNITS[unit as keyof typeof UNITS];
  return ms <= LONGEST_MS ? ms : undefined;
}

/** Writes a duration with the largest unit that needs no fraction: "90m", not "1.5h". */
export function durationText(ms: number): string {
  const [unit, size] = Object.entries(UNITS)
    .toSorted(([, one], [, other]) => other - one)
    .find(([, size]) => ms % size === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

const NO_UNIT = 'A duration is a text with its unit, such as "30s".';
const durationRule = 'A duration is a whole number and ms, s, m, h or d, such as "15m".';

/** Stays text in the received message, since the digest is taken of that text; code that needs a number calls `durationMs`. */
export const Duration = z
  .string({ error: ({ input }) => (typeof input === "number" ? NO_UNIT : undefined) })
  .regex(DURATION, durationRule)
  .refine((text) => !DURATION.test(text) || durationMs(text) !== undefined, "A duration is at most 366d.")
  .meta({ title: "duration" });

const SUFFIXES: Readonly<Record<string, number>> = {
  n: 1e-9, u: 1e-6, m: 1e-3, "": 1, k: 1e3, M: 1e6, G: 1e9, T: 1e12, P: 1e15, E: 1e18,
  Ki: 2 ** 10, Mi: 2 ** 20, Gi: 2 ** 30, Ti: 2 ** 40, Pi: 2 ** 50, Ei: 2 ** 60,
}; // biome-ignore format: a table
const QUANTITY = /^(\d{1,15}(?:\.\d{1,9})?)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$/;

/**
 * Returns a Kubernetes quantity as a number of its base unit; undefined for a text that is no quantity, is negative, or is
 * beyond 2^63.
 */
export function quantity(text: string): number | undefined {
  const [, digits, suffix = ""] = QUANTITY.exec(text) ?? [];
  if (digits === undefined) return undefined;
  const value = Number(digits) * (SUFFIXES[suffix] ?? Number.NaN);
  return value < 2 ** 63 ? value : undefined;
}

const quantityRule = 'A quantity is a number and perhaps a suffix, such as "500m", "2" or "1Gi"; it is not negative.';

/** "2GB" is how people write it, and no quantity of Kubernetes. */
function withoutBytes(text: unknown): string | undefined {
  const [, amount, letter = ""] = typeof text === "string" ? (/^(\d{1,15})\s?([kKMGTPE])i?B$/.exec(text) ?? []) : [];
  if (amount === undefined) return undefined;
  const [decimal, binary] = [letter.replace("K", "k"), letter.toUpperCase()];
  return `A quantity has no "B" at its end: write ${amount}${decimal} or ${amount}${binary}i.`;
}

const NOT_A_TEXT = 'A quantity is a text, and of memory or a size it has its unit, such as "512Mi".';

export const Quantity = z
  .string({ error: ({ input }) => (typeof input === "number" ? NOT_A_TEXT : undefined) })
  .regex(QUANTITY, { error: ({ input }) => withoutBytes(input) ?? quantityRule })
  .refine((text) => !QUANTITY.test(text) || quantity(text) !== undefined, "A quantity is less than 2^63.")
  .meta({ title: "quantity" });

/** A size below this is a size whose unit was forgotten: Kubernetes would take "512" as 512 bytes. */
const BYTES_LEAST = 2 ** 20;

/** An amount of memory or storage. */
export const Bytes = Quantity.refine(
  (text) => {
    const bytes = /^[\d.]+[num]?$/.test(text) ? quantity(text) : undefined;
    return bytes === undefined || bytes === 0 || bytes >= BYTES_LEAST;
  },
  {
    error: ({ input }) =>
      `As Kubernetes reads it, "${String(input)}" is less than 1 MiB; did you mean "${Number.parseInt(String(input))}Mi"?`,
  },
).meta({ title: "quantity" });

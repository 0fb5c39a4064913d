/**
 * The setting of a scenario's troubles, and the few draws that all troubles share.
 *
 * The bug this prevents: troubles that do not fit their scenario, such as the crash of a launcher that the scenario does not
 * have.
 */
import type { Chance } from "./chance.ts";
import { cancelOf } from "./orders.ts";
import type { Planned, Service } from "./scenario.ts";

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;

export interface Setting {
  readonly chance: Chance;
  readonly chaosMs: number;
  readonly clusters: readonly string[];
  readonly groups: readonly string[];
  readonly launchers: number;
  readonly watchers: number;
  /** The runs that upstream asks for, and when. */
  readonly runs: readonly { readonly run: string; readonly atMs: number }[];
}

/**
 * The troubles that a scenario must have, by name, and no others; absent: drawn from the seed. A planted bug names those that
 * show it, so that no change of other draws makes its seed useless.
 */
export type Only = readonly string[] | undefined;

/** The named entry of a table. Absent: `drawn` says whether one of them is drawn, and which. */
export function chosen<T extends { readonly name: string }>(
  of: readonly [T, ...T[]],
  only: Only,
  draw: () => T | undefined,
): T | undefined {
  return only === undefined ? draw() : of.find(({ name }) => only.includes(name));
}

export type Family = (setting: Setting) => readonly Planned[];

export const one = <T>(chance: Chance, items: readonly T[]): T => {
  const item = items[Math.floor(chance.random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to choose from");
  return item;
};

export const times = (n: number, make: () => Planned): readonly Planned[] => Array.from({ length: n }, make);
export const when = ({ chance, chaosMs }: Setting): number => chance.between(0, Math.floor(chaosMs * 0.9));
export const duration = (chance: Chance): number =>
  chance.pick([2 * SECOND, 15 * SECOND, 40 * SECOND, 2 * MINUTE, 6 * MINUTE, 14 * MINUTE, 60 * MINUTE]);

export function victim({ chance, launchers, watchers }: Setting): { readonly service: Service; readonly index: number } {
  const service = chance.is(0.65) ? "launcher" : "watcher";
  return { service, index: chance.between(0, (service === "launcher" ? launchers : watchers) - 1) };
}

export const canceled = (run: string, atMs: number): Planned => ({
  atMs,
  kind: "publish",
  asked: cancelOf(`x-${run}-${Math.floor(atMs)}`, run),
});

/** Crashes all watchers, so that nobody watches. */
export const blind = ({ watchers }: Setting, atMs: number, downMs: number): readonly Planned[] =>
  Array.from({ length: watchers }, (_, index) => ({ atMs, kind: "crash", service: "watcher", index, downMs }));

/**
 * Plots around the health of a group: its address answers nothing for a moment, answers only some launchers, refuses their
 * writes, or leads to another cluster. Each plot replaces all other troubles of its scenario.
 *
 * The bug this prevents: a rule of the group's table that no scenario needs. In all other scenarios a namespace is replaced
 * only after its deletion, so a Job that is called gone from there is really gone.
 */
import type { Chance } from "./chance.ts";
import type { Planned } from "./scenario.ts";
import { blind, chosen, MINUTE, one, type Only, SECOND, type Setting } from "./setting.ts";

export interface GroupPlot {
  readonly deeds: readonly Planned[];
  readonly endMs: number;
  /** How many changes between healthy and unhealthy may be told of the group. */
  readonly turnsMost: number;
}

type Plot = (setting: Setting) => GroupPlot;

/** Enough for two probes of a launcher, which come every 30 s at most. */
const NOTICED_MS = 60 * SECOND;

/**
 * The ledger takes the namespace's UID from the first answer, even another cluster's: plots that need the right UID begin
 * later.
 */
const NAMED_MS = 5 * SECOND;

const way = (cluster: string, launcher: number | "all", to: "nowhere" | "another", atMs: number, forMs: number): Planned => ({
  atMs, kind: "way", cluster, launcher, to, forMs,
}); // biome-ignore format: one value

/** A create lands while its launcher sees another cluster, or none. */
const lateCreate = ({ chance }: Setting, cluster: string, atMs: number): readonly Planned[] =>
  chance.is(0.5)
    ? []
    : [{ atMs, kind: "cluster", cluster, forMs: 20 * SECOND, fault: { on: "create", chance: 0.7, trouble: { kind: "delayed", byMs: chance.between(20, 500) * SECOND } } }]; // biome-ignore format: one value

/** After an outage another cluster answers. It has a namespace of the same name, and accepts our credential. */
const astrayAfterOutage: Plot = (it) => {
  const { chance } = it;
  const cluster = one(chance, it.clusters);
  const startMs = Math.max(NAMED_MS, one(chance, it.runs).atMs + chance.between(-30, 60) * SECOND);
  const outMs = NOTICED_MS + chance.between(0, 60) * SECOND;
  const astrayMs = chance.pick([chance.between(5, 30) * SECOND, chance.between(2, 15) * MINUTE]);
  const endMs = startMs + outMs + astrayMs;
  const crash: Planned = {
    atMs: startMs + outMs + astrayMs / 2,
    kind: "crash",
    service: "launcher",
    index: 0,
    downMs: 5 * SECOND,
  };
  return {
    deeds: [
      ...lateCreate(it, cluster, Math.max(0, startMs - 2 * SECOND)),
      way(cluster, "all", "nowhere", startMs, outMs),
      way(cluster, "all", "another", startMs + outMs, astrayMs),
      ...(chance.is(0.4) ? [crash] : []),
    ],
    endMs,
    turnsMost: 8,
  };
};

/**
 * A create lands, its answer is lost, and nobody watches. When its fence has passed, another cluster answers, which has no such
 * Job.
 */
const doubtAstray: Plot = (it) => {
  const { chance } = it;
  const [cluster = "a"] = it.clusters; // the cluster on which runs are placed first, if there are two
  const { atMs } = one(chance, it.runs);
  const lost = { on: "create", trouble: { kind: "lost after writing" } } as const;
  const outMs = 10 * MINUTE + chance.between(0, 60) * SECOND;
  const endMs = atMs + 30 * SECOND + outMs + 3 * MINUTE;
  return {
    deeds: [
      { atMs: Math.max(0, atMs - SECOND), kind: "cluster", cluster, forMs: 30 * SECOND, fault: lost },
      ...blind(it, Math.max(0, atMs - SECOND), endMs - atMs),
      way(cluster, "all", "nowhere", atMs + 30 * SECOND, outMs),
      way(cluster, "all", "another", atMs + 30 * SECOND + outMs, 3 * MINUTE),
    ],
    endMs,
    turnsMost: 8,
  };
};

/** While no launcher runs, the groups' address begins to lead to another cluster. The ledger still calls the groups healthy. */
const startedAstray: Plot = (it) => {
  const { chance } = it;
  const cluster = one(chance, it.clusters);
  const atMs = Math.max(NAMED_MS, one(chance, it.runs).atMs) + chance.between(0, 5_000);
  const downMs = chance.between(5, 90) * SECOND;
  const astrayMs = downMs + chance.between(1, 10) * MINUTE;
  return {
    deeds: [
      ...lateCreate(it, cluster, Math.max(0, atMs - 4 * SECOND)),
      ...Array.from(
        { length: it.launchers },
        (_, index): Planned => ({ atMs, kind: "crash", service: "launcher", index, downMs }),
      ),
      way(cluster, "all", "another", atMs + SECOND, astrayMs),
    ],
    endMs: atMs + SECOND + astrayMs,
    turnsMost: 8,
  };
};

/** One launcher cannot reach a cluster that all others reach. */
const oneCutOff: Plot = (it) => {
  const { chance, launchers } = it;
  const atMs = chance.between(0, 2) * MINUTE;
  const forMs = chance.between(10, 30) * MINUTE;
  const deeds = launchers < 2 ? [] : [way(one(chance, it.clusters), chance.between(0, 1), "nowhere", atMs, forMs)];
  return { deeds, endMs: atMs + forMs, turnsMost: 4 };
};

/** The API server answers reads, and refuses the token for creates. */
const createsRefused: Plot = (it) => {
  const { chance } = it;
  const forMs = 20 * MINUTE;
  const fault = { on: "create", trouble: { kind: "status", status: 401 } } as const;
  return { deeds: it.clusters.map((cluster) => ({ atMs: chance.between(0, 10) * SECOND, kind: "cluster", cluster, forMs, fault })), endMs: forMs, turnsMost: 36 }; // biome-ignore format: one value
};

/** Now and then one read is lost, and never two in a row. */
const readsLost: Plot = (it) => {
  const { chance } = it;
  const fault = { on: "get", times: 1, trouble: { kind: "unsent" } } as const;
  const atMs = Array.from({ length: 30 }, (_, n) => (60 + 20 * n + chance.between(0, 8)) * SECOND);
  return { deeds: atMs.flatMap((atMs) => it.clusters.map((cluster) => ({ atMs, kind: "cluster", cluster, forMs: 10 * SECOND, fault }) as const)), endMs: 11 * MINUTE, turnsMost: 2 }; // biome-ignore format: one value
};

const PLOTS: readonly [Plot, ...Plot[]] = [
  astrayAfterOutage,
  astrayAfterOutage,
  doubtAstray,
  doubtAstray,
  startedAstray,
  oneCutOff,
  createsRefused,
  readsLost,
];

export const GROUP_PLOTS = PLOTS.map(({ name }) => name);

/** Draws from a chance of its own, so that a change here leaves all other scenarios as they are. */
export const groupPlot = (chance: Chance, setting: Omit<Setting, "chance">, only?: Only): GroupPlot | undefined =>
  chosen(PLOTS, only, () => (chance.is(0.1) ? chance.pick(PLOTS) : undefined))?.({ ...setting, chance });

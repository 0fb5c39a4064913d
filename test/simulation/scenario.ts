/**
 * From a seed to a plan: what upstream asks for, how each pod behaves, and what goes wrong when.
 *
 * The bug this prevents: a failure that cannot be told or repeated. A plan is plain values, made before anything runs.
 */
import type { Fault } from "@longshore/pocket/faults.ts";
import type { PodScript } from "@longshore/pocket/scripted.ts";
import { type Chance, chanceOf } from "./chance.ts";
import type { BrokerTrouble } from "./broker.ts";
import type { LedgerTrouble } from "./lines.ts";
import { scriptFor } from "./behaviour.ts";
import { type Asked, cancelOf, orders } from "./orders.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

export interface PlannedGroup {
  readonly name: string;
  readonly cluster: string;
  readonly namespace: string;
  readonly jobsMax: number;
}

export type Service = "launcher" | "watcher";

/** What others do to a cluster; on which Job is drawn when its time has come. */
export type Meddling =
  | { readonly kind: "delete Job"; readonly propagation: "Foreground" | "Background" | "Orphan" }
  | { readonly kind: "strip hold" }
  | { readonly kind: "strip hold and delete Job" }
  | { readonly kind: "remove label" }
  | { readonly kind: "delete pod" }
  | { readonly kind: "compact" }
  | { readonly kind: "cut streams" }
  | { readonly kind: "silence streams" }
  | { readonly kind: "delete namespace" }
  /** Somebody's own Job under the name that one of ours will want, with our labels and without a proof that fits. */
  | { readonly kind: "take name"; readonly run: string; readonly step: string; readonly proof: string | undefined }
  /** The whole Job again under another name, as whoever exports and applies it: with its proof and its hold. */
  | { readonly kind: "copy Job" };

export type Deed =
  | { readonly kind: "publish"; readonly asked: Asked }
  | { readonly kind: "crash" | "stop"; readonly service: Service; readonly index: number; readonly downMs: number }
  | { readonly kind: "crash at"; readonly service: Service; readonly index: number; readonly point: string; readonly pass: number; readonly downMs: number }
  | { readonly kind: "freeze"; readonly service: Service; readonly index: number; readonly forMs: number }
  | { readonly kind: "broker"; readonly trouble: Partial<BrokerTrouble>; readonly forMs: number }
  | { readonly kind: "broker down" | "broker frozen"; readonly forMs: number }
  | { readonly kind: "drop connections" }
  | { readonly kind: "ledger"; readonly trouble: Partial<LedgerTrouble>; readonly forMs: number }
  | { readonly kind: "cluster"; readonly cluster: string; readonly fault: Fault; readonly forMs: number }
  | { readonly kind: "meddle"; readonly cluster: string; readonly meddling: Meddling }
  | { readonly kind: "pause"; readonly group: string; readonly forMs: number }; // biome-ignore format: one a line

export type Planned = Deed & { readonly atMs: number };

export interface Scenario {
  readonly seed: number;
  readonly groups: readonly PlannedGroup[];
  readonly clusters: readonly string[];
  readonly launchers: number;
  readonly watchers: number;
  readonly pollMs: number;
  readonly skewMs: { readonly launcher: readonly number[]; readonly cluster: number };
  /** Small, so that queues and batches of more than one form. */
  readonly lanes: number;
  readonly deeds: readonly Planned[];
  readonly chaosMs: number;
  readonly script: (of: { readonly run: string; readonly step: string; readonly attempt: number }) => PodScript;
}

export function scenarioOf(seed: number): Scenario {
  const chance = chanceOf(`scenario ${seed}`);
  const clusters = chance.is(0.4) ? ["a", "b"] : ["a"];
  const groups = clusters.map((cluster) => ({ name: `group-${cluster}`, cluster, namespace: "batch", jobsMax: chance.pick([1, 2, 5, 20]) }));
  const launchers = chance.pick([1, 2, 2]);
  const watchers = chance.pick([1, 1, 2]);
  const chaosMs = chance.pick([MINUTE, 3 * MINUTE, 6 * MINUTE, 12 * MINUTE, 25 * MINUTE]);
  const skew = (): number => (chance.is(0.15) ? chance.between(-60, 60) * MINUTE : 0);
  const wanted = groups.map(({ name }) => name);
  const publishes = orders(chance, { chaosMs, groups: wanted });
  const runs = publishes.flatMap((it) => (it.kind === "publish" && it.asked.kind === "run" ? [{ run: it.asked.run, atMs: it.atMs }] : []));
  const setting: Setting = { chance, chaosMs, clusters, groups: wanted, launchers, watchers, runs };
  const families = Array.from({ length: chance.between(0, 4) }, () => chance.pick(FAMILIES));
  const plotted = chance.is(0.5) ? chance.pick(PLOTS)(setting) : [];
  const troubles = [...families.flatMap((family) => family(setting)), ...plotted];
  return {
    seed,
    groups,
    clusters,
    launchers,
    watchers,
    pollMs: chance.pick([4_000, 12_000, 30_000, 30_000]),
    skewMs: { launcher: Array.from({ length: launchers }, skew), cluster: skew() },
    lanes: chance.pick([1, 3, 8]),
    deeds: [...publishes, ...troubles].toSorted((a, b) => a.atMs - b.atMs),
    chaosMs: Math.max(chaosMs, ...plotted.map(({ atMs }) => Math.min(atMs + 14 * MINUTE, chaosMs + 14 * MINUTE))),
    script: scriptFor(seed),
  };
}

interface Setting {
  readonly chance: Chance;
  readonly chaosMs: number;
  readonly clusters: readonly string[];
  readonly groups: readonly string[];
  readonly launchers: number;
  readonly watchers: number;
  /** When upstream asks for which. */
  readonly runs: readonly { readonly run: string; readonly atMs: number }[];
}

type Family = (setting: Setting) => readonly Planned[];

const one = <T>(chance: Chance, items: readonly T[]): T => {
  const item = items[Math.floor(chance.random() * items.length)];
  if (item === undefined) throw new RangeError("nothing to choose from");
  return item;
};

const times = (n: number, make: () => Planned): readonly Planned[] => Array.from({ length: n }, make);
const when = ({ chance, chaosMs }: Setting): number => chance.between(0, Math.floor(chaosMs * 0.9));
const duration = (chance: Chance): number =>
  chance.pick([2 * SECOND, 15 * SECOND, 40 * SECOND, 2 * MINUTE, 6 * MINUTE, 14 * MINUTE, 60 * MINUTE]);

function victim({ chance, launchers, watchers }: Setting): { readonly service: Service; readonly index: number } {
  const service = chance.is(0.65) ? "launcher" : "watcher";
  return { service, index: chance.between(0, (service === "launcher" ? launchers : watchers) - 1) };
}

const LAUNCHER_POINTS = ["afterCommit", "beforePost", "afterPost", "afterRecord", "afterPublish"] as const;
const WATCHER_POINTS = ["beforeFact", "afterFact"] as const;

const crashes: Family = (it) =>
  times(it.chance.between(1, 4), () => ({ atMs: when(it), kind: it.chance.is(0.85) ? "crash" : "stop", ...victim(it), downMs: duration(it.chance) }));

const crashesAtLines: Family = (it) =>
  times(it.chance.between(1, 4), () => {
    const { service, index } = victim(it);
    const point = service === "launcher" ? it.chance.pick(LAUNCHER_POINTS) : it.chance.pick(WATCHER_POINTS);
    return { atMs: when(it), kind: "crash at", service, index, point, pass: it.chance.between(1, 3), downMs: duration(it.chance) };
  });

const freezes: Family = (it) =>
  times(it.chance.between(1, 3), () => ({ atMs: when(it), kind: "freeze", ...victim(it), forMs: it.chance.pick([5 * SECOND, 25 * SECOND, 60 * SECOND, 3 * MINUTE]) }));

const brokerTroubles: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const forMs = duration(chance);
    const trouble = chance.pick<Partial<BrokerTrouble>>([
      { loseConfirm: 0.3 },
      { losePublish: 0.3 },
      { duplicate: 0.6, shuffle: 8 },
      { shuffle: 10, delayMs: [0, 20_000] },
      { unrouted: 0.4 },
      { loseConfirm: 0.2, losePublish: 0.2, duplicate: 0.4, shuffle: 6, delayMs: [0, 3_000] },
    ]);
    return { atMs: when(it), kind: "broker", trouble, forMs };
  });
};

const brokerOutages: Family = (it) =>
  times(it.chance.between(1, 3), (): Planned => {
    const kind = it.chance.pick(["broker down", "broker frozen", "drop connections", "drop connections"] as const);
    return kind === "drop connections" ? { atMs: when(it), kind } : { atMs: when(it), kind, forMs: duration(it.chance) };
  });

const ledgerTroubles: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const trouble = chance.pick<Partial<LedgerTrouble>>([
      { lost: 0.3 },
      { lost: 0.15, refused: 0.15 },
      { refused: 1 },
      { delayMs: [0, 8_000] },
      { lost: 0.1, delayMs: [0, 30_000] },
      { deaf: 1 },
    ]);
    return { atMs: when(it), kind: "ledger", trouble, forMs: duration(chance) };
  });
};

/** The answer to a write is lost, or the write lands long after its sender gave it up. */
const doubtfulWrites: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const on = chance.pick(["create", "create", "create", "patch", "delete"] as const);
    const trouble = chance.pick<Fault["trouble"]>([
      { kind: "lost after writing" },
      { kind: "lost before writing" },
      { kind: "delayed", byMs: chance.between(1, 30) * SECOND },
      { kind: "delayed", byMs: chance.between(30, 590) * SECOND },
      { kind: "delayed", byMs: chance.between(30, 590) * SECOND },
      { kind: "delayed", byMs: chance.pick([595, 605, 640, 900]) * SECOND },
      { kind: "slow", byMs: chance.between(5, 40) * SECOND },
    ]);
    const fault: Fault = { on, trouble, chance: chance.pick([0.3, 0.7, 1]), ...(chance.is(0.5) && { times: chance.between(1, 3) }) };
    return { atMs: chance.is(0.5) ? 0 : when(it), kind: "cluster", cluster: one(chance, it.clusters), fault, forMs: duration(chance) };
  });
};

const refusals: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const status = chance.pick([401, 403, 429, 429, 500, 503] as const);
    const on = chance.pick(["any", "create", "create", "patch", "delete", "get", "list", "watch"] as const);
    const fault: Fault = { on, chance: chance.pick([0.3, 1]), trouble: { kind: "status", status, ...(status === 429 && { retryAfterSeconds: chance.between(1, 20) }) } };
    return { atMs: when(it), kind: "cluster", cluster: one(chance, it.clusters), fault, forMs: duration(chance) };
  });
};

const unreachable: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 2), () => {
    const trouble = chance.pick<Fault["trouble"]>([{ kind: "unsent" }, { kind: "lost before writing" }, { kind: "slow", byMs: 30_000 }]);
    return { atMs: when(it), kind: "cluster", cluster: one(chance, it.clusters), fault: { on: "any", trouble }, forMs: duration(chance) };
  });
};

const badViews: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 4), () => {
    const afterMs = chance.between(0, 60) * SECOND;
    const trouble = chance.pick<Fault["trouble"]>([
      { kind: "stale", versions: chance.between(1, 40) },
      { kind: "cut", afterMs },
      { kind: "silent", afterMs },
      { kind: "garbage", afterMs },
      { kind: "expired", as: "stream", afterMs },
    ]);
    const on = trouble.kind === "stale" ? "list" : "watch";
    return { atMs: chance.is(0.5) ? 0 : when(it), kind: "cluster", cluster: one(chance, it.clusters), fault: { on, trouble, chance: 0.7 }, forMs: duration(chance) };
  });
};

const deletions: Family = (it) =>
  times(it.chance.between(1, 4), () => {
    const propagation = it.chance.pick(["Foreground", "Background", "Orphan"] as const);
    return { atMs: when(it), kind: "meddle", cluster: one(it.chance, it.clusters), meddling: { kind: "delete Job", propagation } };
  });

const meddlings: Family = (it) =>
  times(it.chance.between(1, 4), () => {
    const meddling = it.chance.pick<Meddling>([
      { kind: "strip hold" },
      { kind: "strip hold and delete Job" },
      { kind: "remove label" },
      { kind: "delete pod" },
      { kind: "compact" },
      { kind: "cut streams" },
      { kind: "silence streams" },
    ]);
    return { atMs: when(it), kind: "meddle", cluster: one(it.chance, it.clusters), meddling };
  });

/** Before the run asks for it, or just after; its steps are named in orders.ts. */
const forgeries: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const cluster = one(chance, it.clusters);
    if (chance.is(0.5)) return { atMs: when(it), kind: "meddle", cluster, meddling: { kind: "copy Job" } };
    const step = chance.pick(["main", "main", "first", "work"]);
    const meddling = { kind: "take name", run: `run-${chance.between(1, 3)}`, step, proof: chance.pick([undefined, "forged"]) } as const;
    return { atMs: chance.is(0.7) ? 0 : when(it), kind: "meddle", cluster, meddling };
  });
};

const endOfNamespace: Family = (it) => [{ atMs: when(it), kind: "meddle", cluster: one(it.chance, it.clusters), meddling: { kind: "delete namespace" } }];

const pauses: Family = (it) => times(1, () => ({ atMs: when(it), kind: "pause", group: one(it.chance, it.groups), forMs: duration(it.chance) }));

// ── Plots: several things that go wrong at the moment that matters ────────────────────────────────────────────────────

const canceled = (run: string, atMs: number): Planned => ({ atMs, kind: "publish", asked: cancelOf(`x-${run}-${Math.floor(atMs)}`, run) });

const blind = ({ watchers }: Setting, atMs: number, downMs: number): readonly Planned[] =>
  Array.from({ length: watchers }, (_, index) => ({ atMs, kind: "crash", service: "watcher", index, downMs }));

/** A create is on the wire for minutes, while later ones are refused, nobody watches, and the run is given up. */
const lateCreate: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const byMs = chance.pick([chance.between(15, 60), chance.between(60, 300), chance.between(300, 598)]) * SECOND;
  const late: Planned = { atMs: Math.max(0, atMs - 500), kind: "cluster", cluster, forMs: 25 * SECOND, fault: { on: "create", times: chance.between(1, 2), trouble: { kind: "delayed", byMs } } };
  const then = (afterMs: number, trouble: Fault["trouble"], forMs: number): Planned => ({ atMs: atMs + afterMs, kind: "cluster", cluster, forMs, fault: { on: "create", trouble } });
  const status = chance.pick([429, 429, 403, 500] as const);
  return [
    late,
    ...(chance.is(0.7) ? [then(15 * SECOND, { kind: "status", status, ...(status === 429 && { retryAfterSeconds: 1 }) }, chance.pick([30 * SECOND, 2 * MINUTE, 12 * MINUTE]))] : []),
    ...(chance.is(0.2) ? [then(15 * SECOND, { kind: "lost before writing" }, chance.pick([2 * MINUTE, 12 * MINUTE]))] : []),
    ...(chance.is(0.6) ? blind(it, atMs + chance.between(0, 10) * SECOND, chance.pick([2 * MINUTE, 14 * MINUTE])) : []),
    ...(chance.is(0.5) ? [canceled(run, atMs + chance.between(1, 120) * SECOND)] : []),
    ...(chance.is(0.3) ? [{ atMs: atMs + 10 * SECOND, kind: "ledger", trouble: { lost: 0.4 }, forMs: 2 * MINUTE } as const] : []),
    // By then the fence has passed, and the attempt may go elsewhere.
    ...(chance.is(0.5) ? it.groups.slice(0, 1).map((group) => ({ atMs: atMs + chance.between(20, 610) * SECOND, kind: "pause", group, forMs: 20 * MINUTE }) as const) : []),
    ...(chance.is(0.3) ? [{ atMs: atMs + chance.between(0, 40) * SECOND, kind: "crash", ...victim(it), downMs: chance.pick([5, 60]) * SECOND } as const] : []),
  ];
};

/** A create lands in the last seconds of its fence, while a look that began before is still on its way, and no occupant can be had. */
const lastSeconds: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const fault = (fromMs: number, forMs: number, of: Fault): Planned => ({ atMs: Math.max(0, atMs + fromMs), kind: "cluster", cluster, forMs, fault: of });
  return [
    fault(-500, 10 * SECOND, { on: "create", times: 1, trouble: { kind: "delayed", byMs: chance.between(598, 619) * SECOND } }),
    fault(-400, 13 * MINUTE, { on: "create", trouble: { kind: "status", status: 429, retryAfterSeconds: 1 } }),
    fault(590 * SECOND, 40 * SECOND, { on: "get", resource: "jobs", trouble: { kind: "slow", byMs: chance.between(6, 13) * SECOND } }),
    canceled(run, atMs + chance.between(1, 18) * SECOND),
  ];
};

/** One create is late and the next one refused, and the ledger's answers are lost: what was said is said again. */
const answeredTwice: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const fault = (of: Fault): Planned => ({ atMs: Math.max(0, atMs - 500), kind: "cluster", cluster: one(chance, it.clusters), forMs: MINUTE, fault: { on: "create", ...of } });
  return [
    fault({ on: "create", times: 1, trouble: { kind: "delayed", byMs: chance.between(25, 400) * SECOND } }),
    fault({ on: "create", trouble: { kind: "status", status: chance.pick([403, 403, 429] as const) } }),
    { atMs: atMs + 15 * SECOND, kind: "ledger", trouble: { lost: 0.5 }, forMs: MINUTE },
  ];
};

/** A create lands and nobody sees it before its fence has passed; then the group takes nothing more. */
const unseenUntilTheFence: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const fault = (forMs: number, of: Fault): Planned => ({ atMs: Math.max(0, atMs - 500), kind: "cluster", cluster, forMs, fault: of });
  return [
    fault(MINUTE, { on: "create", times: 1, trouble: { kind: "delayed", byMs: chance.between(400, 598) * SECOND } }),
    fault(MINUTE, { on: "create", trouble: { kind: "status", status: 429, retryAfterSeconds: 1 } }),
    fault(12 * MINUTE, { on: "list", resource: "jobs", trouble: { kind: "status", status: 500 } }),
    ...blind(it, atMs, 13 * MINUTE),
    ...it.groups.slice(0, 1).map((group): Planned => ({ atMs: atMs + 10 * MINUTE, kind: "pause", group, forMs: 3 * MINUTE })),
  ];
};

/** Two creates are late; the third one's Job is taken away, and no occupant can be had: both land, one after the other. */
const twoLate: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const fault = (fromMs: number, forMs: number, of: Omit<Fault, "on">): Planned => ({ atMs: Math.max(0, atMs + fromMs), kind: "cluster", cluster, forMs, fault: { on: "create", ...of } });
  return [
    fault(-500, MINUTE, { times: 1, trouble: { kind: "delayed", byMs: chance.between(200, 300) * SECOND } }),
    fault(-500, MINUTE, { times: 1, trouble: { kind: "delayed", byMs: chance.between(300, 560) * SECOND } }),
    fault(95 * SECOND, 10 * MINUTE, { trouble: { kind: "status", status: 429, retryAfterSeconds: 1 } }),
    ...times(3, () => ({ atMs: atMs + chance.between(96, 150) * SECOND, kind: "meddle", cluster, meddling: { kind: "strip hold and delete Job" } })),
  ];
};

/** Looks are slow, and what they look at is deleted meanwhile. */
const slowLooks: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const soonMs = (): number => atMs + chance.pick([chance.between(40, 1_500), chance.between(500, 12_000)]);
  const slow = (on: "get" | "list"): Planned => ({ atMs, kind: "cluster", cluster, forMs: 2 * MINUTE, fault: { on, chance: 0.7, trouble: { kind: chance.pick(["slow", "delayed"]), byMs: chance.between(1, 12) * SECOND } } });
  const propagation = chance.pick(["Background", "Orphan", "Orphan", "Foreground"] as const);
  return [
    ...(chance.is(0.8) ? [slow("list")] : []),
    ...(chance.is(0.4) ? [slow("get")] : []),
    ...(chance.is(0.7) ? [{ atMs: soonMs(), kind: "meddle", cluster, meddling: { kind: "delete Job", propagation } } as const] : []),
    ...(chance.is(0.6) ? [canceled(run, soonMs())] : []),
    ...(chance.is(0.5) ? blind(it, atMs, 3 * MINUTE) : []),
  ];
};

/** While the create is in doubt, its Job is stripped, deleted, copied or relabelled. */
const goneWhileInDoubt: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const doubt = chance.pick<Fault["trouble"]>([{ kind: "lost after writing" }, { kind: "delayed", byMs: chance.between(5, 120) * SECOND }]);
  const deeds = Array.from({ length: chance.between(1, 4) }, (): Planned => {
    const meddling = chance.pick<Meddling>([{ kind: "copy Job" }, { kind: "strip hold and delete Job" }, { kind: "remove label" }, { kind: "delete Job", propagation: "Orphan" }, { kind: "delete Job", propagation: "Background" }]);
    return { atMs: atMs + chance.pick([chance.between(200, 20_000), chance.between(20_000, 90_000)]), kind: "meddle", cluster, meddling };
  });
  return [
    ...(chance.is(0.8) ? [{ atMs: Math.max(0, atMs - 500), kind: "cluster", cluster, forMs: 40 * SECOND, fault: { on: "create", trouble: doubt, times: chance.pick([1, 1, 2, 3]) } } as const] : []),
    ...(chance.is(0.3) ? [canceled(run, atMs + chance.between(1, 60) * SECOND)] : []),
    ...deeds,
  ];
};

/** Cancelled at each moment of a launch, and between a crash and the next claim. */
const cancelAtLaunch: Family = (it) => {
  const { chance } = it;
  return it.runs.flatMap(({ run, atMs }) => [
    canceled(run, atMs + chance.pick([chance.between(5, 60), chance.between(60, 400), chance.between(400, 30_000)])),
    ...(chance.is(0.5) ? [{ atMs, kind: "crash at", service: "launcher", index: chance.between(0, it.launchers - 1), point: chance.pick(["beforePost", "afterPost"]), pass: 1, downMs: chance.pick([5, 90]) * SECOND } as const] : []),
    ...(chance.is(0.4) ? [{ atMs: Math.max(0, atMs - 500), kind: "cluster", cluster: one(chance, it.clusters), forMs: 10 * SECOND, fault: { on: "create", trouble: { kind: "slow", byMs: chance.between(1, 20) * SECOND } } } as const] : []),
  ]);
};

const PLOTS: readonly [Family, ...Family[]] = [lateCreate, lateCreate, lateCreate, lastSeconds, answeredTwice, unseenUntilTheFence, twoLate, slowLooks, slowLooks, goneWhileInDoubt, goneWhileInDoubt, cancelAtLaunch];

const FAMILIES: readonly [Family, ...Family[]] = [
  crashes,
  crashes,
  crashesAtLines,
  crashesAtLines,
  freezes,
  brokerTroubles,
  brokerOutages,
  ledgerTroubles,
  ledgerTroubles,
  doubtfulWrites,
  doubtfulWrites,
  doubtfulWrites,
  refusals,
  unreachable,
  badViews,
  deletions,
  deletions,
  meddlings,
  pauses,
  forgeries,
  endOfNamespace,
];

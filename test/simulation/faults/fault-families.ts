/**
 * Random troubles, one family for each place: processes, broker, ledger, clusters, and people who meddle with clusters.
 *
 * The bug this prevents: faults that GUARANTEES.md lists and that never happen. Each family happens at random times.
 */
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import type { BrokerTrouble } from "../world/broker.ts";
import type { LedgerTrouble } from "../world/lines.ts";
import type { Meddling, Planned } from "../scenario/scenario.ts";
import { duration, type Family, MINUTE, one, SECOND, times, victim, when } from "../scenario/setting.ts";

const LAUNCHER_POINTS = ["afterCommit", "beforePost", "afterPost", "afterRecord", "afterPublish"] as const;
const WATCHER_POINTS = ["beforeFact", "afterFact"] as const;

const crashes: Family = (it) =>
  times(it.chance.between(1, 4), () => ({
    atMs: when(it),
    kind: it.chance.is(0.85) ? "crash" : "stop",
    ...victim(it),
    downMs: duration(it.chance),
  }));

const crashesAtLines: Family = (it) =>
  times(it.chance.between(1, 4), () => {
    const { service, index } = victim(it);
    const point = service === "launcher" ? it.chance.pick(LAUNCHER_POINTS) : it.chance.pick(WATCHER_POINTS);
    return {
      atMs: when(it),
      kind: "crash at",
      service,
      index,
      point,
      pass: it.chance.between(1, 3),
      downMs: duration(it.chance),
    };
  });

const freezes: Family = (it) =>
  times(it.chance.between(1, 3), () => ({
    atMs: when(it),
    kind: "freeze",
    ...victim(it),
    forMs: it.chance.pick([5 * SECOND, 25 * SECOND, 60 * SECOND, 3 * MINUTE]),
  }));

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
    const fault: Fault = {
      on,
      trouble,
      chance: chance.pick([0.3, 0.7, 1]),
      ...(chance.is(0.5) && { times: chance.between(1, 3) }),
    };
    return {
      atMs: chance.is(0.5) ? 0 : when(it),
      kind: "cluster",
      cluster: one(chance, it.clusters),
      fault,
      forMs: duration(chance),
    };
  });
};

const refusals: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const status = chance.pick([401, 403, 429, 429, 500, 503] as const);
    const on = chance.pick(["any", "create", "create", "patch", "delete", "get", "list", "watch"] as const);
    const fault: Fault = {
      on,
      chance: chance.pick([0.3, 1]),
      trouble: { kind: "status", status, ...(status === 429 && { retryAfterSeconds: chance.between(1, 20) }) },
    };
    return { atMs: when(it), kind: "cluster", cluster: one(chance, it.clusters), fault, forMs: duration(chance) };
  });
};

const unreachable: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 2), () => {
    const trouble = chance.pick<Fault["trouble"]>([
      { kind: "unsent" },
      { kind: "lost before writing" },
      { kind: "slow", byMs: 30_000 },
    ]);
    return {
      atMs: when(it),
      kind: "cluster",
      cluster: one(chance, it.clusters),
      fault: { on: "any", trouble },
      forMs: duration(chance),
    };
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
    return {
      atMs: chance.is(0.5) ? 0 : when(it),
      kind: "cluster",
      cluster: one(chance, it.clusters),
      fault: { on, trouble, chance: 0.7 },
      forMs: duration(chance),
    };
  });
};

const deletions: Family = (it) =>
  times(it.chance.between(1, 4), () => {
    const propagation = it.chance.pick(["Foreground", "Background", "Orphan"] as const);
    return {
      atMs: when(it),
      kind: "meddle",
      cluster: one(it.chance, it.clusters),
      meddling: { kind: "delete Job", propagation },
    };
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

/**
 * Copies of our Jobs, and Jobs of others that take an attempt's name before its run is requested or just after. The steps have
 * the names that orders.ts gives them.
 */
const forgeries: Family = (it) => {
  const { chance } = it;
  return times(chance.between(1, 3), () => {
    const cluster = one(chance, it.clusters);
    if (chance.is(0.5)) return { atMs: when(it), kind: "meddle", cluster, meddling: { kind: "copy Job" } };
    const step = chance.pick(["main", "main", "first", "work"]);
    const meddling = {
      kind: "take name",
      run: `run-${chance.between(1, 3)}`,
      step,
      proof: chance.pick([undefined, "forged"]),
    } as const;
    return { atMs: chance.is(0.7) ? 0 : when(it), kind: "meddle", cluster, meddling };
  });
};

const endOfNamespace: Family = (it) => [
  { atMs: when(it), kind: "meddle", cluster: one(it.chance, it.clusters), meddling: { kind: "delete namespace" } },
];

const pauses: Family = (it) =>
  times(1, () => ({ atMs: when(it), kind: "pause", group: one(it.chance, it.groups), forMs: duration(it.chance) }));

export const FAMILIES: readonly [Family, ...Family[]] = [
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

/**
 * Plots: several things that go wrong together at the moment that matters. Each plot tests one way in which the lifecycle could
 * be misread.
 *
 * The bug this prevents: a missing rule against a coincidence so rare that no random schedule would ever show that the rule is
 * missing.
 */
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import { LATE_CREATES } from "./plots-late.ts";
import type { Meddling, Planned } from "./scenario.ts";
import { blind, canceled, type Family, MINUTE, one, SECOND, times } from "./setting.ts";

/** Looks are slow, and the Job that they read is deleted meanwhile. */
const slowLooks: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const soonMs = (): number => atMs + chance.pick([chance.between(40, 1_500), chance.between(500, 12_000)]);
  const slow = (on: "get" | "list"): Planned => ({
    atMs,
    kind: "cluster",
    cluster,
    forMs: 2 * MINUTE,
    fault: { on, chance: 0.7, trouble: { kind: chance.pick(["slow", "delayed"]), byMs: chance.between(1, 12) * SECOND } },
  });
  const propagation = chance.pick(["Background", "Orphan", "Orphan", "Foreground"] as const);
  return [
    ...(chance.is(0.8) ? [slow("list")] : []),
    ...(chance.is(0.4) ? [slow("get")] : []),
    ...(chance.is(0.7)
      ? [{ atMs: soonMs(), kind: "meddle", cluster, meddling: { kind: "delete Job", propagation } } as const]
      : []),
    ...(chance.is(0.6) ? [canceled(run, soonMs())] : []),
    ...(chance.is(0.5) ? blind(it, atMs, 3 * MINUTE) : []),
  ];
};

/**
 * The Job's pods are listed before there are any, and the answer is slow. Meanwhile the Job is deleted and its pod left behind.
 */
const orphanedMeanwhile: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const slow: Fault = { on: "list", resource: "pods", trouble: { kind: "slow", byMs: chance.between(4_000, 9_000) } };
  const propagation = chance.pick(["Orphan", "Orphan", "Background"] as const);
  return [
    { atMs, kind: "cluster", cluster, forMs: 20 * SECOND, fault: slow },
    canceled(run, atMs + chance.between(50, 600)),
    { atMs: atMs + chance.between(1_500, 3_500), kind: "meddle", cluster, meddling: { kind: "delete Job", propagation } },
  ];
};

/** The watch of pods is silent while the watch of Jobs is not. A Job is deleted, and its pods run on unseen. */
const podsUnseen: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const [cluster = "a"] = it.clusters;
  const silent: Fault = { on: "watch", resource: "pods", trouble: { kind: "silent", afterMs: 0 } };
  return [
    { atMs: 0, kind: "cluster", cluster, forMs: atMs + 2 * MINUTE, fault: silent },
    ...times(2, () => ({
      atMs: atMs + chance.between(1_500, 8_000),
      kind: "meddle",
      cluster,
      meddling: { kind: "delete Job", propagation: chance.pick(["Background", "Orphan"] as const) },
    })),
  ];
};

/** While the create is in doubt, its Job is stripped, deleted, copied or relabelled. */
const goneWhileInDoubt: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const doubt = chance.pick<Fault["trouble"]>([
    { kind: "lost after writing" },
    { kind: "delayed", byMs: chance.between(5, 120) * SECOND },
  ]);
  const deeds = Array.from({ length: chance.between(1, 4) }, (): Planned => {
    const meddling = chance.pick<Meddling>([
      { kind: "copy Job" },
      { kind: "strip hold and delete Job" },
      { kind: "remove label" },
      { kind: "delete Job", propagation: "Orphan" },
      { kind: "delete Job", propagation: "Background" },
    ]);
    return {
      atMs: atMs + chance.pick([chance.between(200, 20_000), chance.between(20_000, 90_000)]),
      kind: "meddle",
      cluster,
      meddling,
    };
  });
  return [
    ...(chance.is(0.8)
      ? [
          {
            atMs: Math.max(0, atMs - 500),
            kind: "cluster",
            cluster,
            forMs: 40 * SECOND,
            fault: { on: "create", trouble: doubt, times: chance.pick([1, 1, 2, 3]) },
          } as const,
        ]
      : []),
    ...(chance.is(0.3) ? [canceled(run, atMs + chance.between(1, 60) * SECOND)] : []),
    ...deeds,
  ];
};

/** Runs are cancelled at any moment of their launch, or between a crash and the next claim. */
const cancelAtLaunch: Family = (it) => {
  const { chance } = it;
  return it.runs.flatMap(({ run, atMs }) => [
    canceled(run, atMs + chance.pick([chance.between(5, 60), chance.between(60, 400), chance.between(400, 30_000)])),
    ...(chance.is(0.5)
      ? [
          {
            atMs,
            kind: "crash at",
            service: "launcher",
            index: chance.between(0, it.launchers - 1),
            point: chance.pick(["beforePost", "afterPost"]),
            pass: 1,
            downMs: chance.pick([5, 90]) * SECOND,
          } as const,
        ]
      : []),
    ...(chance.is(0.4)
      ? [
          {
            atMs: Math.max(0, atMs - 500),
            kind: "cluster",
            cluster: one(chance, it.clusters),
            forMs: 10 * SECOND,
            fault: { on: "create", trouble: { kind: "slow", byMs: chance.between(1, 20) * SECOND } },
          } as const,
        ]
      : []),
  ]);
};

export const PLOTS: readonly [Family, ...Family[]] = [
  ...LATE_CREATES,
  slowLooks,
  orphanedMeanwhile,
  podsUnseen,
  goneWhileInDoubt,
  goneWhileInDoubt,
  cancelAtLaunch,
];

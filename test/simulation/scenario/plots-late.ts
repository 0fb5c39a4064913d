/**
 * Plots around a create that lands late: minutes after it was sent, in the last seconds of its fence, or after a later create.
 *
 * The bug this prevents: two Jobs of one attempt, because a create that was not answered yet was taken for refused or lost.
 */
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import type { Planned } from "./scenario.ts";
import { blind, canceled, type Family, MINUTE, one, SECOND, times, victim } from "./setting.ts";

/** A create is delayed for minutes. Meanwhile later creates are refused, nobody watches, and the run is cancelled. */
const lateCreate: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const byMs = chance.pick([chance.between(15, 60), chance.between(60, 300), chance.between(300, 598)]) * SECOND;
  const late: Planned = {
    atMs: Math.max(0, atMs - 500),
    kind: "cluster",
    cluster,
    forMs: 25 * SECOND,
    fault: { on: "create", times: chance.between(1, 2), trouble: { kind: "delayed", byMs } },
  };
  const then = (afterMs: number, trouble: Fault["trouble"], forMs: number): Planned => ({
    atMs: atMs + afterMs,
    kind: "cluster",
    cluster,
    forMs,
    fault: { on: "create", trouble },
  });
  const status = chance.pick([429, 429, 403, 500] as const);
  return [
    late,
    ...(chance.is(0.7)
      ? [
          then(
            15 * SECOND,
            { kind: "status", status, ...(status === 429 && { retryAfterSeconds: 1 }) },
            chance.pick([30 * SECOND, 2 * MINUTE, 12 * MINUTE]),
          ),
        ]
      : []),
    ...(chance.is(0.2) ? [then(15 * SECOND, { kind: "lost before writing" }, chance.pick([2 * MINUTE, 12 * MINUTE]))] : []),
    ...(chance.is(0.6) ? blind(it, atMs + chance.between(0, 10) * SECOND, chance.pick([2 * MINUTE, 14 * MINUTE])) : []),
    ...(chance.is(0.5) ? [canceled(run, atMs + chance.between(1, 120) * SECOND)] : []),
    ...(chance.is(0.3) ? [{ atMs: atMs + 10 * SECOND, kind: "ledger", trouble: { lost: 0.4 }, forMs: 2 * MINUTE } as const] : []),
    // The fence passes while this group is paused, so that the attempt may go elsewhere.
    ...(chance.is(0.5)
      ? it.groups
          .slice(0, 1)
          .map((group) => ({ atMs: atMs + chance.between(20, 610) * SECOND, kind: "pause", group, forMs: 20 * MINUTE }) as const)
      : []),
    ...(chance.is(0.3)
      ? [
          {
            atMs: atMs + chance.between(0, 40) * SECOND,
            kind: "crash",
            ...victim(it),
            downMs: chance.pick([5, 60]) * SECOND,
          } as const,
        ]
      : []),
  ];
};

/**
 * A create lands in the last seconds of its fence. Meanwhile the answer of an earlier look is still on its way, no occupant can
 * be created, and nobody watches.
 */
const lastSeconds: Family = (it) => {
  const { chance } = it;
  const { run, atMs } = one(chance, it.runs);
  const [cluster = "a"] = it.clusters; // the cluster on which runs are placed first, if there are two
  const fault = (fromMs: number, forMs: number, of: Fault): Planned => ({
    atMs: Math.max(0, atMs + fromMs),
    kind: "cluster",
    cluster,
    forMs,
    fault: of,
  });
  return [
    fault(-500, 10 * SECOND, { on: "create", times: 1, trouble: { kind: "delayed", byMs: chance.between(614, 619) * SECOND } }),
    fault(-400, 13 * MINUTE, { on: "create", trouble: { kind: "status", status: 401 } }),
    fault(608 * SECOND, 30 * SECOND, {
      on: "get",
      resource: "jobs",
      trouble: { kind: "slow", byMs: chance.between(13, 14) * SECOND },
    }),
    canceled(run, atMs + chance.between(1, 18) * SECOND),
    ...blind(it, atMs + 600 * SECOND, MINUTE), // otherwise a watcher would tell of the Job before the look is back
  ];
};

/**
 * One create is late, the next one is refused, and the ledger's answers are lost, so that the same answers are recorded again.
 */
const answeredTwice: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const fault = (of: Omit<Fault, "on">): Planned => ({
    atMs: Math.max(0, atMs - 500),
    kind: "cluster",
    cluster: one(chance, it.clusters),
    forMs: MINUTE,
    fault: { on: "create", ...of },
  });
  return [
    fault({ times: 1, trouble: { kind: "delayed", byMs: chance.between(25, 400) * SECOND } }),
    fault({ trouble: { kind: "status", status: chance.pick([403, 403, 429] as const) } }),
    { atMs: atMs + 15 * SECOND, kind: "ledger", trouble: { lost: 0.5 }, forMs: MINUTE },
  ];
};

/** A create lands, and nobody sees its Job before its fence has passed. By then the group takes nothing more. */
const unseenUntilTheFence: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const [cluster = "a"] = it.clusters; // the cluster on which runs are placed first, if there are two
  const fault = (forMs: number, of: Fault): Planned => ({
    atMs: Math.max(0, atMs - 500),
    kind: "cluster",
    cluster,
    forMs,
    fault: of,
  });
  return [
    fault(MINUTE, { on: "create", times: 1, trouble: { kind: "delayed", byMs: chance.between(400, 598) * SECOND } }),
    fault(3 * MINUTE, { on: "create", trouble: { kind: "status", status: 401 } }), // the attempt rests until the fence
    fault(15 * MINUTE, { on: "list", resource: "jobs", trouble: { kind: "status", status: 500 } }),
    ...blind(it, atMs, 15 * MINUTE),
    ...it.groups.slice(0, 1).map((group): Planned => ({ atMs: atMs + 9 * MINUTE, kind: "pause", group, forMs: 7 * MINUTE })),
  ];
};

/**
 * Two creates are late. The third one's Job is taken away, and no occupant can be created. Then both late creates land, one
 * after the other.
 */
const twoLate: Family = (it) => {
  const { chance } = it;
  const { atMs } = one(chance, it.runs);
  const cluster = one(chance, it.clusters);
  const fault = (fromMs: number, forMs: number, of: Omit<Fault, "on">): Planned => ({
    atMs: Math.max(0, atMs + fromMs),
    kind: "cluster",
    cluster,
    forMs,
    fault: { on: "create", ...of },
  });
  return [
    fault(-500, MINUTE, { times: 1, trouble: { kind: "delayed", byMs: chance.between(200, 300) * SECOND } }),
    fault(-500, MINUTE, { times: 1, trouble: { kind: "delayed", byMs: chance.between(300, 560) * SECOND } }),
    fault(95 * SECOND, 10 * MINUTE, { trouble: { kind: "status", status: 429, retryAfterSeconds: 1 } }),
    ...times(3, () => ({
      atMs: atMs + chance.between(96, 150) * SECOND,
      kind: "meddle",
      cluster,
      meddling: { kind: "strip hold and delete Job" },
    })),
  ];
};

export const LATE_CREATES: readonly [Family, ...Family[]] = [
  lateCreate,
  lateCreate,
  lateCreate,
  lastSeconds,
  lastSeconds,
  answeredTwice,
  unseenUntilTheFence,
  twoLate,
];

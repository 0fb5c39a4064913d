/**
 * Plots around steps with slices: some slices fail, and as many as may, or one more; with cancels, restarts, dying launchers and
 * watchers, and lost answers at any moment. Each plot replaces its whole scenario.
 *
 * The bug this prevents: a step that failed and is told as succeeded, because failed slices are a matter of counting.
 */
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import type { PodScript } from "@longshore/pocket/testing/scripted.ts";
import { type Chance, chanceOf } from "./chance.ts";
import { cancelOf, requestOf, restartOf } from "./orders.ts";
import type { Planned } from "./scenario.ts";
import { MINUTE, type Only, SECOND, type Setting } from "./setting.ts";

export interface SlicesPlot {
  readonly deeds: readonly Planned[];
  readonly endMs: number;
  readonly pollMs: number;
}

/** Runs with this prefix have slices: `sliceScript` says how their pods behave. */
const SLICED = "sliced-";
export const isSliced = (run: string): boolean => run.startsWith(SLICED);

/** Each slice fails always, at its first try, or never; some go on until somebody ends them. */
export function sliceScript(chance: Chance, index: number, failures: number): PodScript {
  const kind = chance.pick(["good", "good", "good", "good", "bad", "first try", "endless"]);
  const startsAfterMs = chance.between(100, 3_000);
  const runsMs = chance.pick([0, 500, 5 * SECOND, 40 * SECOND]);
  if (kind === "endless") return { startsAfterMs, onStop: { kind: "ends", afterMs: chance.between(0, 20) * SECOND } };
  const fails = kind === "bad" || (kind === "first try" && failures === 0);
  return { startsAfterMs, runsMs, exitCode: fails ? 3 : 0, log: `slice ${index}\n`, message: `{"rows": ${index}}` };
}

function requested(chance: Chance, run: string): CommandInput<"run.requested"> {
  const image = "registry.invalid/simulated:1";
  const count = chance.between(1, 6);
  const slices = {
    count,
    parallelism: chance.between(1, 4),
    retriesPerSlice: chance.pick([0, 0, 1]),
    failedMax: Math.min(count - 1, chance.between(0, 2)),
  };
  const limits = {
    run,
    waitFor: "40m",
    startWithin: "4m",
    deadline: chance.pick(["1m", "5m"]),
    retries: { max: chance.pick([0, 1]), on: ["failure" as const], backoff: { first: "5s", most: "1m" } },
    keepFor: { succeeded: chance.pick(["0s", "1h"]), failed: "1h" },
  };
  if (chance.is(0.6)) return { ...limits, image, slices, env: { CONTENT: run }, outputs: ["rows"] };
  const second = { name: "second", needs: ["first"], image, env: { CONTENT: run } };
  const over = { over: "${{ steps.first.outputs.rows }}", failedMax: 1 };
  return {
    ...limits,
    steps: [
      { name: "first", image, slices, env: { CONTENT: run }, outputs: ["rows"] },
      { ...second, slices: over },
    ],
  };
}

/** Draws from a chance of its own, so that all other scenarios stay as they were. */
export function slicesPlot(
  seed: number,
  { clusters, launchers, watchers }: Omit<Setting, "chance">,
  only?: Only,
): SlicesPlot | undefined {
  const chance = chanceOf(`slices ${seed}`);
  const isDrawn = chance.is(0.06);
  if (!(only?.includes("slices") ?? isDrawn)) return undefined;
  const [cluster = "a"] = clusters;
  const deeds: Planned[] = [];
  let count = 0;
  for (let n = 1; n <= chance.pick([1, 2, 3]); n++) {
    const run = `${SLICED}${n}`;
    const atMs = chance.between(2_000, 60_000);
    const later = (): number =>
      atMs + chance.pick([chance.between(20, 5_000), chance.between(5, 90) * SECOND, chance.between(1, 10) * MINUTE]);
    deeds.push({ atMs, kind: "publish", asked: requestOf(`s${++count}`, requested(chance, run)) });
    if (chance.is(0.3)) deeds.push({ atMs: later(), kind: "publish", asked: cancelOf(`s${++count}`, run) });
    if (chance.is(0.4))
      deeds.push({
        atMs: atMs + chance.between(1, 15) * MINUTE,
        kind: "publish",
        asked: restartOf(`s${++count}`, run, chance.pick(["failed", "start"])),
      });
    if (chance.is(0.3)) deeds.push(troubled(chance, cluster, chance.is(0.5) ? atMs : later()));
    if (chance.is(0.3))
      deeds.push({
        atMs: later(),
        kind: "meddle",
        cluster,
        meddling: { kind: "delete Job", propagation: chance.pick(["Background", "Foreground", "Orphan"]) },
      });
    if (chance.is(0.3))
      deeds.push({
        atMs: later(),
        kind: "crash at",
        ...(chance.is(0.5)
          ? {
              service: "launcher",
              index: chance.between(0, launchers - 1),
              point: chance.pick(["beforePost", "afterPost", "afterRecord"]),
            }
          : { service: "watcher", index: chance.between(0, watchers - 1), point: chance.pick(["beforeFact", "afterFact"]) }),
        pass: 1,
        downMs: chance.pick([5, 40, 200]) * SECOND,
      } as Planned);
  }
  return { deeds, endMs: 25 * MINUTE, pollMs: chance.pick([20, 30, 30]) * SECOND };
}

function troubled(chance: Chance, cluster: string, atMs: number): Planned {
  const trouble = chance.pick<Fault["trouble"]>([
    { kind: "lost after writing" },
    { kind: "delayed", byMs: chance.between(5, 120) * SECOND },
    { kind: "status", status: chance.pick([500, 429]) },
  ]);
  const fault: Fault = { on: chance.pick(["create", "get", "list"] as const), trouble, times: chance.pick([1, 2, 4]) };
  return { atMs: Math.max(0, atMs - 500), kind: "cluster", cluster, forMs: 2 * MINUTE, fault };
}

/**
 * A pipeline on one volume, and something that happens at the end of each of its steps: a launcher or watcher dies, the run is
 * cancelled or restarted. The plot replaces its whole scenario.
 *
 * The bug this prevents: a step that is opened twice, or never, because a process died between the end of the step before it and
 * its own beginning. By chance alone, few faults meet this moment.
 */
import { chanceOf } from "./chance.ts";
import { cancelOf, freeOf, requestOf, restartOf } from "./orders.ts";
import type { VolumePlot } from "./plots-volumes.ts";
import type { Deed, Planned } from "./scenario.ts";
import { MINUTE, type Only, SECOND, type Setting } from "./setting.ts";

const RUN = "stepped";
const STEPS = ["first", "second", "third"];
const GENERATIONS = 3;

/** Draws from a chance of its own, so that all other scenarios stay as they were. */
export function boundaryPlot(
  seed: number,
  { launchers, watchers }: Pick<Setting, "launchers" | "watchers">,
  only?: Only,
): VolumePlot | undefined {
  const chance = chanceOf(`boundaries ${seed}`);
  const isDrawn = chance.is(0.05);
  if (!(only?.includes("boundaries") ?? isDrawn)) return undefined;
  const steps = STEPS.map((name, at) => ({
    name,
    image: "registry.invalid/simulated:1",
    env: { CONTENT: RUN },
    needs: STEPS.slice(Math.max(0, at - 1), at),
    mounts: [{ volume: "data", path: "/data" }],
  }));
  const asked = requestOf("b", {
    run: RUN,
    steps,
    volumes: [{ name: "data", size: "1Gi" }],
    keepVolumesFor: { succeeded: "5m", failed: "20m" },
    deadline: "2m",
    startWithin: "4m",
    waitFor: "40m",
    retries: { max: 1, on: ["never-started", "infrastructure", "failure"], backoff: { first: "5s", most: "1m" } },
    keepFor: { succeeded: "0s", failed: "1h" },
  });
  let count = 0;
  const deed = (): Deed => {
    const id = `b${++count}`;
    const crash = (service: "launcher" | "watcher", of: number): Deed => ({
      kind: "crash",
      service,
      index: chance.between(0, of - 1),
      downMs: chance.pick([1, 5, 40]) * SECOND,
    });
    return chance.pick<() => Deed>([
      () => crash("launcher", launchers),
      () => crash("launcher", launchers),
      () => crash("watcher", watchers),
      () => ({ kind: "publish", asked: cancelOf(id, RUN) }),
      () => ({ kind: "publish", asked: restartOf(id, RUN, chance.pick(["failed", "start"])) }),
      () => ({ kind: "publish", asked: freeOf(id, RUN) }),
    ])();
  };
  const boundaries = Array.from({ length: GENERATIONS }, (_, before) => before + 1).flatMap((generation) => [
    ...STEPS.map((_, at) => ({ generation, ended: at + 1, deed: deed() })),
    { generation, ended: STEPS.length, deed: { kind: "publish", asked: restartOf(`r${generation}`, RUN) } as const },
  ]);
  const deeds: readonly Planned[] = [
    ...boundaries.map((it): Planned => ({ atMs: 0, kind: "at boundary", run: RUN, ...it })),
    { atMs: 2 * SECOND, kind: "publish", asked },
  ];
  return { deeds, endMs: 25 * MINUTE, pollMs: chance.pick([20, 30]) * SECOND };
}

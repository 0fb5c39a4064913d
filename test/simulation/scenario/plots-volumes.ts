/**
 * Plots around runs with volumes, secret values and large files: creates of the anchor, of what it owns and of Jobs that are late or lost, launchers that die between
 * them, cancels, restarts and frees at every moment, and a quota that has no room for all volumes. Each plot replaces its whole
 * scenario.
 *
 * The bug this prevents: volumes that nobody deletes, or that are deleted under a step that uses them. By chance alone, few
 * requests have volumes.
 */
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import { type Chance, chanceOf } from "./chance.ts";
import { abandonOf, cancelOf, freeOf, requestOf, restartOf } from "./orders.ts";
import type { Planned } from "./scenario.ts";
import { chosen, MINUTE, type Only, SECOND, type Setting } from "./setting.ts";

export interface VolumePlot {
  readonly deeds: readonly Planned[];
  readonly endMs: number;
  readonly pollMs: number;
}

const END_MS = 25 * MINUTE;

function requested(chance: Chance, run: string, makesPods = false): CommandInput<"run.requested"> {
  const step = (name: string, needs: string[] = []) => ({
    name,
    image: "registry.invalid/simulated:1",
    env: { CONTENT: run },
    needs,
    mounts: [{ volume: "data", path: "/data" }],
    ...(makesPods && { serviceAccount: { name: "worker", token: true } }),
  });
  const steps = chance.pick([
    [step("only")],
    [step("first"), step("second", ["first"])],
    [step("left"), step("right")],
    [step("left"), step("right"), step("join", ["left", "right"])],
  ]);
  return {
    run,
    steps,
    volumes: [
      { name: "data", size: "1Gi" },
      { name: "more", size: "1Gi" },
    ],
    keepVolumesFor: { succeeded: chance.pick(["0s", "2m"]), failed: chance.pick(["0s", "5m", "20m"]) },
    waitFor: chance.pick(["15m", "40m"]),
    startWithin: "4m",
    deadline: chance.pick(["1m", "5m"]),
    retries: {
      max: chance.pick([0, 1]),
      on: ["never-started", "infrastructure", "failure"],
      backoff: { first: "5s", most: "1m" },
    },
    keepFor: { succeeded: chance.pick(["0s", "1h"]), failed: "1h" },
  };
}

type Resource = NonNullable<Fault["resource"]>;
const RESOURCES: readonly [Resource, ...Resource[]] = ["configmaps", "configmaps", "persistentvolumeclaims", "batch"];

function troubled(chance: Chance, cluster: string, atMs: number, resources = RESOURCES): Planned {
  const resource = chance.pick(resources);
  const trouble = chance.pick<Fault["trouble"]>([
    { kind: "lost after writing" },
    { kind: "lost before writing" },
    { kind: "delayed", byMs: chance.between(5, 540) * SECOND },
    { kind: "delayed", byMs: chance.between(5, 60) * SECOND },
    { kind: "slow", byMs: chance.between(1, 15) * SECOND },
    { kind: "status", status: chance.pick([500, 429]) },
  ]);
  const times = chance.pick([1, 1, 2, 4]);
  return {
    atMs: Math.max(0, atMs - 500),
    kind: "cluster",
    cluster,
    forMs: 3 * MINUTE,
    fault: { on: "create", resource, trouble, times },
  };
}

/** A large file and a secret value, beside the volumes: each step needs both. */
function withOwned(request: CommandInput<"run.requested">): CommandInput<"run.requested"> {
  if (!("steps" in request)) return request;
  const files = [{ path: "/etc/large", text: "x".repeat(40_000) }];
  const steps = request.steps.map((it) => ({ ...it, files, env: { ...(it.env as object), TOKEN: { secretValue: "token" } } }));
  return { ...request, steps, secretValues: { token: "a secret of the run" } };
}

/** The run that an operator gives up; its pods' behaviour stands in behaviour.ts. */
export const GIVEN_UP_VOLUMES = "volumes-given-up";

const beside = (run: string) =>
  ["left", "right"].map((name) => ({
    name,
    image: "registry.invalid/simulated:1",
    env: { CONTENT: run },
    mounts: [{ volume: "data", path: "/data" }],
  }));

/** Two steps create the same volumes. One of them is refused for want of room, which comes before the other one's create lands. */
function roomInBetween(chance: Chance, cluster: string): readonly Planned[] {
  const atMs = 10 * SECOND;
  const late: Fault = {
    on: "create",
    resource: "persistentvolumeclaims",
    times: chance.pick([1, 2, 3]),
    trouble: { kind: "delayed", byMs: chance.between(2_000, 6_000) },
  };
  return [
    { atMs: atMs - SECOND, kind: "limit claims", cluster, most: chance.pick([0, 1]), forMs: chance.between(1_500, 4_000) },
    { atMs: atMs - SECOND, kind: "cluster", cluster, forMs: MINUTE, fault: late },
    { atMs, kind: "publish", asked: requestOf("v1", { ...requested(chance, "volumes-1"), steps: beside("volumes-1") }) },
  ];
}

/** The run is given up while its pods run, and restarted soon after. One pod ends at once, and the other one takes its time. */
function restartedTooSoon(chance: Chance): readonly Planned[] {
  const givenUpMs = chance.between(20, 50) * SECOND;
  const run = GIVEN_UP_VOLUMES;
  const request = { ...requested(chance, run), steps: beside(run), deadline: "40m", keepVolumesFor: { failed: "20m" } };
  return [
    { atMs: 10 * SECOND, kind: "publish", asked: requestOf("v1", request) },
    { atMs: givenUpMs, kind: "publish", asked: abandonOf("v2", run) },
    { atMs: givenUpMs + chance.between(2, 8) * SECOND, kind: "publish", asked: restartOf("v3", run, "failed") },
  ];
}

const SPECIAL: readonly [SpecialPlot, ...SpecialPlot[]] = [roomInBetween, restartedTooSoon];
type SpecialPlot = (chance: Chance, cluster: string) => readonly Planned[];

export const VOLUME_PLOTS = ["volumes", ...SPECIAL.map(({ name }) => name)];

/** Draws from a chance of its own, so that all other scenarios stay as they were. */
export function volumePlot(seed: number, { clusters, launchers }: Omit<Setting, "chance">, only?: Only): VolumePlot | undefined {
  const chance = chanceOf(`volumes ${seed}`);
  const isDrawn = chance.is(0.08);
  if (!(only?.some((it) => VOLUME_PLOTS.includes(it)) ?? isDrawn)) return undefined;
  const [cluster = "a"] = clusters;
  const pollMs = chance.pick([20, 30, 30]) * SECOND;
  const special = chanceOf(`volumes and more ${seed}`);
  const plot = chosen(SPECIAL, only, () => (special.is(0.3) ? special.pick(SPECIAL) : undefined));
  if (plot !== undefined) return { deeds: plot(special, cluster), endMs: END_MS, pollMs };
  const owning = chanceOf(`volumes and what is owned beside them ${seed}`);
  const deeds: Planned[] = [];
  let count = 0;
  for (let n = 1; n <= chance.pick([1, 2, 3]); n++) {
    const run = `volumes-${n}`;
    const atMs = chance.between(2_000, 90_000);
    const publish = (
      whenMs: number,
      make: (id: string, run: string) => (Planned & { readonly kind: "publish" })["asked"],
    ): void => void deeds.push({ atMs: whenMs, kind: "publish", asked: make(`v${++count}`, run) });
    const later = (): number =>
      atMs + chance.pick([chance.between(20, 900), chance.between(900, 30_000), chance.between(30_000, 900_000)]);
    const makesPods = chanceOf(`pods made ${seed}`).is(0.5);
    const request = requested(chance, run, makesPods);
    publish(atMs, (id) => requestOf(id, owning.is(0.5) ? withOwned(request) : request));
    if (owning.is(0.3)) deeds.push(troubled(owning, cluster, atMs, ["secrets", "configmaps"]));
    if (chance.is(0.35)) publish(later(), cancelOf);
    for (let times = chance.pick([0, 1, 2]); times > 0; times--)
      publish(atMs + chance.between(20, 1_200) * SECOND, (id, it) => restartOf(id, it, chance.pick(["failed", "start"])));
    if (chance.is(0.3)) publish(atMs + chance.between(20, 1_200) * SECOND, freeOf);
    if (chance.is(0.6)) deeds.push(troubled(chance, cluster, atMs));
    if (chance.is(0.3)) deeds.push(troubled(chance, cluster, later()));
    if (chance.is(0.4))
      deeds.push({
        atMs: chance.is(0.6) ? Math.max(0, atMs - 100) : later(),
        kind: "crash at",
        service: "launcher",
        index: chance.between(0, launchers - 1),
        point: chance.pick(["beforePost", "afterPost", "afterRecord"]),
        pass: chance.pick([1, 1, 2]),
        downMs: chance.pick([5, 40, 200]) * SECOND,
      });
    if (chance.is(0.4))
      deeds.push({
        atMs: Math.max(0, atMs - chance.between(0, 4_000)),
        kind: "limit claims",
        cluster,
        most: chance.pick([0, 1, 1, 3]),
        forMs: chance.pick([800, 3_000, 20_000, 200_000]),
      });
  }
  return { deeds, endMs: END_MS, pollMs };
}

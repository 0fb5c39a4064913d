/**
 * Compares Longshore's launches with the most that the API server can do. Bare creates and launches take turns, on the same
 * cluster, with the same manifest and the same number of connections.
 *
 * A launch counts from its command, published and confirmed, until its Job's UID is in the ledger. No watcher runs and, on a
 * real control plane, no controller: in both kinds of turns the Jobs stay as they were created. Events (`run.accepted`,
 * `run.launched`) are published as always, and their cost counts.
 *
 * The turns are taken in two layouts. *Together*, all processes share all cores, so that the API server and etcd take the CPU
 * time from the launcher, Postgres and the broker. *Apart*, the API server and etcd have one core and everything else has
 * another, as if the cluster were another machine. If the machine cannot keep them apart, the figures say why.
 *
 * `ratio` compares the rates. `cpuRatio` compares the CPU time: of all processes if together, of the busier core if apart. If
 * the cores are the limit and nobody else uses them, both ratios are the same. On a machine that has other work to do, read
 * `cpuRatio`.
 */
import { cpus } from "node:os";
import { openCeiling } from "./bare/ceiling.ts";
import { pocketCluster, realCluster } from "./parts/bench-cluster.ts";
import { coresToShare, pin } from "./parts/cores.ts";
import type { CpuMs } from "./parts/cpu.ts";
import { rounded, told } from "./parts/figures.ts";
import { launched } from "./parts/launched.ts";
import { type BrokerKind, openStage, type Stage } from "./parts/stage.ts";
import { inAll, measured, ratesOf, summed, type Turn, untilNone } from "./parts/turn.ts";
import { openUpstream } from "./parts/upstream.ts";

export interface LaunchOptions {
  readonly runs: number;
  /** The number of turns of each kind, in each layout. */
  readonly turns: number;
  readonly cluster: "kubernetes" | "pocket";
  readonly broker: BrokerKind;
  readonly profile: string | undefined;
  readonly say: (sentence: string) => void;
}

const WARM_UP = 1_000;
const JOBS_MOST = 100_000;

export async function launch({ runs, turns, cluster, broker, profile, say }: LaunchOptions): Promise<object> {
  say(`starting ${broker === "rabbitmq" ? "RabbitMQ, " : ""}Postgres, ${cluster} and a launcher …`);
  const open = cluster === "pocket" ? pocketCluster : (home: string) => realCluster(home, { nodes: "none", controllers: false });
  await using stage = await openStage({ broker, cluster: open, watcher: false, jobs: JOBS_MOST, profile });
  await using ceiling = await openCeiling(stage.home, stage.cluster.choice);
  await using upstream = await openUpstream(stage.brokerUrl, { hears: false });

  say(`warming up with ${WARM_UP} of each …`);
  await ceiling.create("warm-up/bare", WARM_UP);
  await launched(stage.database, upstream, "warm-up", WARM_UP);

  const cores = await coresToShare();
  if (typeof cores === "string") say(`the cluster cannot be kept apart: ${cores}`);
  const layouts: readonly Layout[] = typeof cores === "string" ? ["together"] : ["together", "apart"];
  // Publishing comes after launching, and belongs to its cost.
  const settled = (): Promise<void> => untilNone(stage.database, "event to publish", "select from longshore.outbox");
  const turnsIn: Turns = { together: { bare: [], launches: [] }, apart: { bare: [], launches: [] } };
  for (let turn = 1; turn <= turns; turn++) {
    for (const layout of layouts) {
      if (typeof cores !== "string") await arrange(stage, layout, cores);
      const { bare, launches } = turnsIn[layout];
      const name = `${layout}/${turn}`;
      bare.push(await measured(stage, runs, () => ceiling.create(`bare/${name}`, runs), settled));
      launches.push(await measured(stage, runs, () => launched(stage.database, upstream, name, runs), settled));
      const [{ perSecond: b = 0 } = {}, { perSecond: o = 0 } = {}] = [bare.at(-1), launches.at(-1)];
      say(`turn ${turn}, ${layout}: ${b} bare creates/s, ${o} launches/s, ratio ${rounded(o / b, 3)}`);
    }
  }
  const together = figuresOf(turnsIn.together, runs, inAll);
  const apart = typeof cores === "string" ? undefined : figuresOf(turnsIn.apart, runs, busier(Object.keys(stage.cluster.pids)));
  const figures = {
    bench: "launch",
    cluster: stage.cluster.product,
    broker: stage.product,
    cores: cpus().length,
    runsPerTurn: runs,
    turns,
    together,
    apart: apart ?? `not measured: ${String(cores)}`,
    cpuMsOfOneLaunch: { together: together.launches.cpuMsEachInAll, apart: apart?.launches.cpuMsEachInAll ?? null },
    cpuRatio: { together: together.cpuRatio, apart: apart?.cpuRatio ?? null },
    ratio: { together: together.ratio, apart: apart?.ratio ?? null },
  };
  for (const line of told(figures)) say(line);
  return figures;
}

type Layout = "together" | "apart";
type Turns = Readonly<Record<Layout, { readonly bare: Turn[]; readonly launches: Turn[] }>>;

/** Pins all processes: the bench started each of them, except a broker in a container. */
async function arrange({ pids, cluster }: Stage, layout: Layout, cores: readonly number[]): Promise<void> {
  await pin([process.pid, ...Object.values(pids)], layout === "together" ? cores : cores.slice(1, 2));
  if (layout === "apart") await pin(Object.values(cluster.pids), cores.slice(0, 1));
}

/** `bound` returns the CPU time that limits a turn: that of all cores if together, of the busier core if apart. */
function figuresOf({ bare, launches }: Turns[Layout], runs: number, bound: (cpu: CpuMs<string>) => number) {
  const boundOf = (turns: readonly Turn[]): number => turns.reduce((sum, { cpu }) => sum + bound(cpu), 0);
  return {
    bare: summed(bare, runs),
    launches: summed(launches, runs),
    cpuRatio: rounded(boundOf(bare) / boundOf(launches), 3),
    ratio: rounded(ratesOf(launches, runs) / ratesOf(bare, runs), 3),
  };
}

/** Returns the CPU time of the busier core: one core runs these parts, another runs all others. */
function busier(parts: readonly string[]): (cpu: CpuMs<string>) => number {
  return (cpu) => {
    const theirs = parts.reduce((sum, name) => sum + (cpu[name] ?? 0), 0);
    return Math.max(theirs, inAll(cpu) - theirs);
  };
}

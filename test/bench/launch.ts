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
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { openCeiling } from "./ceiling.ts";
import { pocketCluster, realCluster } from "./parts/bench-cluster.ts";
import { coresToShare, pin } from "./parts/cores.ts";
import { type CpuMs, cpuMs, machineMs, since } from "./parts/cpu.ts";
import { each, rounded, told } from "./parts/figures.ts";
import { launched } from "./parts/launched.ts";
import { type BrokerKind, openStage, type Stage } from "./parts/stage.ts";
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
const LOOK_MS = 20;
const TOLD_WITHIN_MS = 300_000;
/** Postgres' backends report what they did at most once a second, and RabbitMQ tidies up a little later. */
const SETTLE_MS = 1_500;
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
  const turnsIn: Turns = { together: { bare: [], launches: [] }, apart: { bare: [], launches: [] } };
  for (let turn = 1; turn <= turns; turn++) {
    for (const layout of layouts) {
      if (typeof cores !== "string") await arrange(stage, layout, cores);
      const { bare, launches } = turnsIn[layout];
      const name = `${layout}/${turn}`;
      bare.push(await measured(stage, runs, () => ceiling.create(`bare/${name}`, runs)));
      launches.push(await measured(stage, runs, () => launched(stage.database, upstream, name, runs)));
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

interface Turn {
  readonly tookMs: number;
  readonly perSecond: number;
  readonly cpu: CpuMs<string>;
  /** CPU of processes that are no part of this bench. If it is high, trust the CPU times more than the rates. */
  readonly othersMs: number;
  readonly verbs: Readonly<Record<string, number>>;
  readonly transactions: number;
  readonly walBytes: number;
}

async function measured(stage: Stage, count: number, work: () => Promise<number>): Promise<Turn> {
  const pids = { ...stage.pids, bench: process.pid };
  await stage.requests.taken();
  const look = async () => ({ cpu: await ownCpuMs(pids), machine: await machineMs(), database: await stage.databaseWork() });
  const before = await look();
  const tookMs = await work();
  await toldAll(stage);
  const after = await look();
  const cpu = since(before.cpu, after.cpu);
  return {
    tookMs,
    perSecond: rounded((1000 * count) / tookMs, 1),
    cpu,
    othersMs: after.machine - before.machine - inAll(cpu),
    verbs: await stage.requests.taken(),
    transactions: after.database.transactions - before.database.transactions,
    walBytes: after.database.walBytes - before.database.walBytes,
  };
}

/** Subtracts the other processes from the bench's CPU time: the bench started them, so its tree includes them. */
async function ownCpuMs(pids: Readonly<Record<string, number>>): Promise<CpuMs<string>> {
  const all = await cpuMs(pids);
  const others = Object.entries(all).filter(([name]) => name !== "bench");
  return { ...all, bench: (all["bench"] ?? 0) - others.reduce((sum, [, ms]) => sum + ms, 0) };
}

/** Waits until the last event is published: publishing comes after launching, and belongs to its cost. */
async function toldAll({ database }: Stage): Promise<void> {
  const unsent = { name: "unsent", text: "select exists (select from longshore.outbox) as some" };
  for (const beganMs = performance.now(); performance.now() - beganMs < TOLD_WITHIN_MS; await clock.sleep(LOOK_MS)) {
    const { rows } = await database.query<{ some: boolean }>(unsent);
    if (rows[0]?.some === false) break;
  }
  await clock.sleep(SETTLE_MS);
}

const inAll = (cpu: CpuMs<string>): number => Object.values(cpu).reduce((sum, ms) => sum + ms, 0);

const ratesOf = (turns: readonly Turn[], runs: number): number =>
  (1000 * runs * turns.length) / turns.reduce((sum, { tookMs }) => sum + tookMs, 0);

function summed(turns: readonly Turn[], runs: number) {
  const count = runs * turns.length;
  const sums = (of: (turn: Turn) => Readonly<Record<string, number>>): Record<string, number> => {
    const sum: Record<string, number> = {};
    for (const turn of turns) for (const [name, value] of Object.entries(of(turn))) sum[name] = (sum[name] ?? 0) + value;
    return sum;
  };
  const cpu = sums((turn) => turn.cpu);
  return {
    perSecond: rounded(ratesOf(turns, runs), 1),
    perSecondByTurn: turns.map(({ perSecond }) => perSecond),
    cpuMsEach: each(cpu, count, 2),
    cpuMsEachInAll: rounded(inAll(cpu) / count, 2),
    cpuMsOfOthersEach: rounded(turns.reduce((sum, { othersMs }) => sum + othersMs, 0) / count, 2),
    requestsByVerb: sums((turn) => turn.verbs),
    transactionsEach: rounded(turns.reduce((sum, { transactions }) => sum + transactions, 0) / count, 3),
    walBytesEach: rounded(turns.reduce((sum, { walBytes }) => sum + walBytes, 0) / count, 0),
  };
}

/**
 * Measures the cost and the time of one run on the ordinary path: from a command that the broker confirmed to the run's
 * terminal event at upstream.
 *
 * Three parts: a warm-up that is not counted, many runs published as fast as the broker confirms them, and some one at a time.
 */
import { cpus } from "node:os";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { pocketCluster } from "./parts/bench-cluster.ts";
import { cpuMs, since } from "./parts/cpu.ts";
import { writesIn } from "./parts/requests.ts";
import { type BrokerKind, openStage, type Stage } from "./parts/stage.ts";
import { each, percentiles, rounded, told } from "./parts/figures.ts";
import { openUpstream, publishAll, type Upstream } from "./parts/upstream.ts";

export interface SpineOptions {
  readonly runs: number;
  readonly oneByOne: number;
  readonly broker: BrokerKind;
  readonly profile: string | undefined;
  readonly say: (sentence: string) => void;
}

/** Enough runs to compile the hot functions: the bench measures a launcher that has been up for a while. */
const WARM_UP = 500;
const END_WITHIN_MS = 120_000;
const SETTLE_WITHIN_MS = 30_000;
const LOOK_MS = 100;
/** Postgres' backends report what they did at most once a second. */
const STATISTICS_MS = 1_100;

export async function spine({ runs, oneByOne, broker, profile, say }: SpineOptions): Promise<object> {
  say(`starting ${broker === "rabbitmq" ? "RabbitMQ, " : ""}Postgres, pocket, launcher and watcher …`);
  await using stage = await openStage({ broker, cluster: pocketCluster, watcher: true, jobs: runs + WARM_UP, profile });
  await using upstream = await openUpstream(stage.brokerUrl);

  say(`warming up with ${WARM_UP} runs …`);
  await measured(stage, WARM_UP, () => many(upstream, "warm-up", WARM_UP));

  say(`${runs} runs as fast as the broker takes them …`);
  const load = await measured(stage, runs, () => many(upstream, "load", runs));

  say(`${oneByOne} runs one at a time …`);
  const alone = await measured(stage, oneByOne, () => inTurn(upstream, "alone", oneByOne));

  const figures = {
    bench: "spine",
    broker: stage.product,
    runs,
    cores: cpus().length,
    runsPerSecond: rounded(runs / ((load.result.lastMs - load.result.firstMs) / 1000), 1),
    cpuMsPerRun: load.cpuMsPerRun,
    launcherAndPostgresCpuMsPerRun: rounded((load.cpuMsPerRun["launcher"] ?? 0) + (load.cpuMsPerRun["postgres"] ?? 0), 2),
    apiWritesPerRun: load.apiWritesPerRun,
    apiRequestsPerRun: load.apiRequestsPerRun,
    transactionsPerRun: load.transactionsPerRun,
    walBytesPerRun: load.walBytesPerRun,
    underLoadMs: percentiles(load.result.latenciesMs),
    oneAtATime: {
      latencyMs: percentiles(alone.result.latenciesMs),
      cpuMsPerRun: alone.cpuMsPerRun,
      transactionsPerRun: alone.transactionsPerRun,
    },
  };
  for (const line of told(figures)) say(line);
  return figures;
}

interface Timed {
  readonly firstMs: number;
  readonly lastMs: number;
  /** From the broker's confirm to the terminal event. */
  readonly latenciesMs: readonly number[];
}

async function many(upstream: Upstream, name: string, count: number): Promise<Timed> {
  const firstMs = performance.now();
  const sent: Promise<Lived>[] = [];
  await publishAll(upstream, name, count, (run) => void sent.push(lived(upstream, run, performance.now())));
  return timed(firstMs, await inTime(Promise.all(sent), END_WITHIN_MS, `the end of ${count} runs`));
}

async function inTurn(upstream: Upstream, name: string, count: number): Promise<Timed> {
  const firstMs = performance.now();
  const done: Lived[] = [];
  for (let n = 1; n <= count; n++) {
    const run = `${name}/${n}`;
    await upstream.publish(run);
    done.push(await inTime(lived(upstream, run, performance.now()), END_WITHIN_MS, `the end of ${run}`));
  }
  return timed(firstMs, done);
}

interface Lived {
  readonly confirmedMs: number;
  readonly endedMs: number;
}

async function lived(upstream: Upstream, run: string, confirmedMs: number): Promise<Lived> {
  const { type, atMs } = await upstream.ended(run);
  if (type !== "run.succeeded") throw new Error(`${run} ended with ${type}: this measures only what goes well`);
  return { confirmedMs, endedMs: atMs };
}

const timed = (firstMs: number, all: readonly Lived[]): Timed => ({
  firstMs,
  lastMs: Math.max(...all.map(({ endedMs }) => endedMs)),
  latenciesMs: all.map(({ confirmedMs, endedMs }) => endedMs - confirmedMs),
});

/**
 * Measures the cost of runs until the last hold is off: releasing comes after the terminal event and belongs to their price.
 */
async function measured(stage: Stage, count: number, work: () => Promise<Timed>) {
  const before = { cpu: await cpuMs(stage.pids), database: await stage.databaseWork() };
  await stage.requests.taken();
  const result = await work();
  const verbs = await released(stage, count);
  const after = { cpu: await cpuMs(stage.pids), database: await stage.databaseWork() };
  const perRun = (value: number, digits = 2): number => rounded(value / count, digits);
  return {
    result,
    cpuMsPerRun: each(since(before.cpu, after.cpu), count, 2),
    apiWritesPerRun: perRun(writesIn(verbs), 3),
    apiRequestsPerRun: each(verbs, count, 3),
    transactionsPerRun: perRun(after.database.transactions - before.database.transactions),
    walBytesPerRun: perRun(after.database.walBytes - before.database.walBytes, 0),
  };
}

/** Waits until each run's Job was patched, once, after its outcome. Returns the requests counted since the last call. */
async function released(stage: Stage, count: number): Promise<Readonly<Record<string, number>>> {
  const sum: Record<string, number> = {};
  for (const began = performance.now(); ; await clock.sleep(LOOK_MS)) {
    for (const [verb, requests] of Object.entries(await stage.requests.taken())) sum[verb] = (sum[verb] ?? 0) + requests;
    if ((sum["patch jobs"] ?? 0) >= count) break;
    if (performance.now() - began > SETTLE_WITHIN_MS)
      throw new Error(`of ${count} Jobs only ${sum["patch jobs"] ?? 0} were released within ${SETTLE_WITHIN_MS / 1000} s`);
  }
  await clock.sleep(STATISTICS_MS);
  return sum;
}

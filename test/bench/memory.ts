/**
 * Measures the memory of launcher and watcher, each a process of its own, through the life of many runs: they wait, their Jobs
 * are live, they end, and everything is at rest again.
 *
 * The failures this prevents: a program that the kernel kills because a wave of runs made it larger than its limit; and a
 * program that keeps something of every run.
 */
import { cpus } from "node:os";
import path from "node:path";
import { NAMESPACE } from "@longshore/cli/embedded/home.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { longshore } from "../harness/longshore.ts";
import { pocketCluster, type PocketCluster } from "./parts/bench-cluster.ts";
import { type CpuMs, cpuMs, since } from "./parts/cpu.ts";
import { rounded, told } from "./parts/figures.ts";
import { type MemoryMeter, type MemoryUse, openMemoryMeter } from "./parts/process-memory.ts";
import { openStage, type Stage } from "./parts/stage.ts";
import { openUpstream, publishAll, type Upstream } from "./parts/upstream.ts";

export interface MemoryOptions {
  /** Numbers of runs at the same time. */
  readonly jobs: readonly number[];
  readonly profile: string | undefined;
  /** How long each phase lasts after its last run has come to its place. */
  readonly settleMs?: number;
  readonly say: (sentence: string) => void;
}

/** Longer than the time between two tallies, each of which reads all attempts and all Jobs. */
const SETTLE_MS = 12_000;
const SETTINGS = { pace: { tally: "8s" }, defaults: { keepFor: { succeeded: "0s" } } };
/** Metrics are read as often as Prometheus would: reading them makes the launcher read all attempts. */
const SCRAPE_MS = 10_000;
const LOOK_MS = 1_000;
const TOLD_EACH_LOOKS = 10;
const QUIET_LOOKS = 4;
const QUIET_WITHIN_MS = 600_000;
/** A phase ends with an error after this long without one run that came to its place. */
const STUCK_MS = 120_000;
/** This many runs come before the first figures and compile a run's code, as in a program that is up for a while. */
const WARM_UP = 50;

const JOBS = `/apis/batch/v1/namespaces/${NAMESPACE}/jobs`;
const PODS = `/api/v1/namespaces/${NAMESPACE}/pods`;

interface List {
  readonly items: readonly unknown[];
  readonly metadata: { readonly remainingItemCount?: number };
}

type Program = "launcher" | "watcher";
/** CPU beside memory: settings of V8 that save one may cost the other. */
type Sizes = Readonly<Record<Program, MemoryUse & { readonly cpuSeconds: number }>>;
type State = "waiting" | "live" | "done";

export async function memory({ jobs, profile, settleMs = SETTLE_MS, say }: MemoryOptions): Promise<object> {
  say("starting RabbitMQ, Postgres, the pocket with pods that run until they are told to end, launcher and watcher …");
  const sizes = jobs.toSorted((a, b) => a - b);
  const most = sizes.at(-1) ?? 0;
  let pocket: PocketCluster["pocket"] | undefined;
  const cluster = async (home: string): Promise<PocketCluster> => {
    const opened = await pocketCluster(home, { pods: "held" });
    pocket = opened.pocket;
    return opened;
  };
  const options = { broker: "rabbitmq", cluster, watcher: true, jobs: Math.max(most, WARM_UP), profile, inspect: true } as const;
  await using stage = await openStage({ ...options, settings: SETTINGS });
  await using upstream = await openUpstream(stage.brokerUrl, { hears: false });
  if (pocket === undefined) throw new Error("the stage opened no cluster");
  const play = phases({ stage, upstream, pocket, settleMs, say });

  await play.live(WARM_UP);
  await play.end(WARM_UP);
  await play.phase("start", async () => undefined);
  for (const [at, count] of sizes.entries()) {
    const before = sizes[at - 1] ?? 0;
    await play.phase(`${count - before} waiting, ${before} live`, () => play.wait(count - before));
    await play.phase(`${count} live`, () => play.live(0));
  }
  await play.phase(`${most} end and are removed`, () => play.end(most));
  await play.phase("at rest", async () => undefined);

  const figures = {
    bench: "memory",
    cluster: `${stage.cluster.product}, with scripted pods`,
    cores: cpus().length,
    ...play.figures(),
  };
  for (const line of told({ peakMb: figures.peakMb, heapAtRestOfStart: figures.heapAtRestOfStart })) say(line);
  return figures;
}

interface Playing extends Required<Pick<MemoryOptions, "settleMs" | "say">> {
  readonly stage: Stage;
  readonly upstream: Upstream;
  readonly pocket: PocketCluster["pocket"];
}

function phases({ stage, upstream, pocket, settleMs, say }: Playing) {
  const { watcher } = stage;
  if (watcher === undefined) throw new Error("this bench needs a watcher");
  const pids = { launcher: stage.launcher.pid, watcher: watcher.pid };
  const meters: Readonly<Record<Program, MemoryMeter>> = {
    launcher: openMemoryMeter(stage.launcher.pid, stage.launcher.said),
    watcher: openMemoryMeter(watcher.pid, watcher.said),
  };
  const found: { readonly phase: string; readonly sizes: Sizes }[] = [];
  let published = 0;
  let batches = 0;

  async function group(verb: "pause" | "resume"): Promise<void> {
    const words = ["group", verb, stage.cluster.choice.name, "--config", path.join(stage.home, "launcher.yaml")];
    const { code, err } = await longshore(stage.home, ...words);
    if (code !== 0) throw new Error(`longshore group ${verb} exited with ${code}: ${err}`);
  }

  async function count(state: State): Promise<number> {
    const text = "select count(*) as count from longshore.attempt where state = $1";
    const { rows } = await stage.database.query<{ count: string }>({ name: "attempts", text, values: [state] });
    return Number(rows[0]?.count);
  }

  /** How many Jobs or pods the cluster still has. */
  async function leftOf(path: string): Promise<number> {
    const list = (await pocket.ask("GET", `${path}?limit=1`)) as List;
    return list.items.length + (list.metadata.remainingItemCount ?? 0);
  }

  /** Waits until this is counted, up or down. */
  async function until(what: string, goal: number, counted: () => Promise<number>): Promise<void> {
    let [last, sinceMs] = [await counted(), performance.now()];
    const isUp = last <= goal;
    for (let looks = 1; ; looks++, await clock.sleep(LOOK_MS)) {
      const now = await counted();
      if (isUp ? now >= goal : now <= goal) return;
      if (now !== last) [last, sinceMs] = [now, performance.now()];
      if (performance.now() - sinceMs > STUCK_MS) throw new Error(`there are ${now} ${what}, and should be ${goal}`);
      if (looks % TOLD_EACH_LOOKS === 0) say(`  ${now} ${what}, of ${goal}`);
    }
  }

  /**
   * Waits until nobody asks for single Jobs any more. The watcher looks for each Job that vanished before it forgets the Job, and
   * does so long after the Jobs are gone if the cluster answers slowly.
   */
  async function quiet(): Promise<void> {
    const asked = async (): Promise<number> => (await stage.requests.taken())["get jobs"] ?? 0;
    const beganMs = performance.now();
    for (let looks = 1, silent = 0; silent < QUIET_LOOKS; looks++, await clock.sleep(LOOK_MS)) {
      if (performance.now() - beganMs > QUIET_WITHIN_MS) throw new Error("Jobs are asked for although there are none");
      const now = await asked();
      silent = now === 0 ? silent + 1 : 0;
      if (looks % TOLD_EACH_LOOKS === 0) say(`  ${now} Jobs were asked for`);
    }
  }

  const attempts = (state: State, goal: number): Promise<void> => until(`attempts ${state}`, goal, () => count(state));

  const sizeOf = async (program: Program, used: CpuMs<Program>): Promise<Sizes[Program]> => ({
    ...(await meters[program].read()),
    cpuSeconds: rounded(used[program] / 1000, 1),
  });

  async function publish(more: number): Promise<void> {
    await publishAll(upstream, `batch-${++batches}`, more);
    published += more;
  }

  async function scraped(work: () => Promise<void>): Promise<void> {
    const stop = new AbortController();
    const scraping = (async () => {
      for (; !stop.signal.aborted; await clock.sleep(SCRAPE_MS, stop.signal)) await stage.launcher.metrics();
    })();
    try {
      await work();
      await clock.sleep(settleMs);
    } finally {
      stop.abort();
      await scraping;
    }
  }

  return {
    async phase(phase: string, work: () => Promise<void>): Promise<void> {
      for (const it of Object.values(meters)) await it.reset();
      const before = await cpuMs(pids);
      await scraped(work);
      const used = since(before, await cpuMs(pids));
      const sizes = { launcher: await sizeOf("launcher", used), watcher: await sizeOf("watcher", used) };
      found.push({ phase, sizes });
      say(`${phase}: ${told(sizes).join("; ").replaceAll(/ +/g, " ")}`);
    },

    /** Publishes runs while the group is paused. */
    async wait(more: number): Promise<void> {
      await group("pause");
      await publish(more);
      await attempts("waiting", more);
    },

    /** Publishes runs, and waits until all that were published and have not ended are live. */
    async live(more: number): Promise<void> {
      await group("resume");
      await publish(more);
      await attempts("live", published - (await count("done")));
    },

    /** Ends all pods; waits until all attempts are done, with their holds off, and the cluster has removed its Jobs. */
    async end(all: number): Promise<void> {
      const before = await count("done");
      pocket.endPods();
      await attempts("done", before + all);
      await until("Jobs left", 0, () => leftOf(JOBS));
      await until("pods left", 0, () => leftOf(PODS));
      await quiet();
    },

    figures() {
      const of = (which: Program) => {
        const heaps = [found[0], found.at(-1)].map((it) => it?.sizes[which].heapMb ?? 0);
        return { peakMb: Math.max(...found.map(({ sizes }) => sizes[which].peakMb)), heaps };
      };
      const [launcher, watcher] = [of("launcher"), of("watcher")];
      const share = ([start = 1, rest = 0]: readonly number[]): string => `${Math.round((rest / start) * 100)} %`;
      return {
        phases: Object.fromEntries(found.map(({ phase, sizes }) => [phase, sizes])),
        peakMb: { launcher: launcher.peakMb, watcher: watcher.peakMb },
        heapAtRestOfStart: { launcher: share(launcher.heaps), watcher: share(watcher.heaps) },
      };
    },
  };
}

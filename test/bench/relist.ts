/**
 * `npm run bench -- relist`: what it costs a watcher to list everything anew: memory at its highest, the longest time in which
 * it did nothing else, and what it keeps of each Job.
 *
 * The failure this prevents: a watcher that is killed for its memory in the very minute in which it must list 50,000 Jobs.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { createInterface } from "node:readline";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import { type Cluster, openClusters } from "@longshore/kubernetes/clusters.ts";
import { openTransport } from "@longshore/kubernetes/exchange.ts";
import { connectionTo } from "@longshore/kubernetes/testing/loopback.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { TIMING } from "@longshore/watcher/parts.ts";
import { watchGroup } from "@longshore/watcher/watch-group.ts";
import { rounded, told } from "./figures.ts";

export interface RelistOptions {
  readonly jobs: number;
  readonly say: (sentence: string) => void;
}

const MB = 1024 * 1024;
const SAMPLE_MS = 10;
const group = GroupName.parse("bench");

export async function relist({ jobs, say }: RelistOptions): Promise<object> {
  await using parts = new AsyncDisposableStack();
  const url = await startServer(parts, jobs);
  const transport = openTransport(connectionTo(url));
  const clusters = parts.use(openClusters([{ name: group, namespace: "longshore-jobs", transport }], { clock }));
  const cluster = clusters.cluster(group);
  const collect = collector();
  // The first request pays for what is loaded and compiled once.
  await cluster.read.getJob("none", new AbortController().signal);

  say(`listing ${jobs} Jobs, and keeping none of them`);
  const bare = await measured(collect, async () => {
    const stop = new AbortController();
    for await (const change of cluster.follow({ kind: "jobs", selector: "bench=yes", signal: stop.signal }))
      if (change.kind === "listed") stop.abort();
  });

  say(`a watcher lists ${jobs} Jobs and ${jobs} pods for the first time`);
  const before = collect();
  const watching = watch(cluster, jobs);
  parts.defer(() => watching.stop());
  const first = await measured(collect, () => watching.told(jobs));
  const kept = collect() - before;

  say("all its watches expire, and it lists everything anew");
  const again = await measured(collect, async () => {
    const listed = watching.listed(4);
    await fetch(`${url}/expire`, { method: "POST" });
    await listed;
  });

  const figures = { jobs, list: bare, firstSync: first, relist: again, bytesKeptPerJob: Math.round(kept / jobs) };
  for (const line of told(figures)) say(line);
  return { bench: "relist", ...figures };
}

async function startServer(parts: AsyncDisposableStack, jobs: number): Promise<string> {
  const main = `${import.meta.dirname}/relist-server.ts`;
  const child = spawn(process.execPath, [main, String(jobs)], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(child, "exit");
  parts.defer(async () => {
    child.kill("SIGKILL");
    await gone;
  });
  const [line] = (await Promise.race([
    once(createInterface({ input: child.stdout }), "line"),
    gone.then(() => Promise.reject(new Error("the API server of this bench ended before it was ready"))),
  ])) as [string];
  return line;
}

/** One group's watcher, whose broker takes everything. */
function watch(cluster: Cluster, jobs: number) {
  const stop = new AbortController();
  const metrics = openMetrics("watcher", "bench");
  const waiting = new Set<() => void>();
  let facts = 0;
  let listings = 0;
  const until = async (ready: () => boolean): Promise<void> => {
    while (!ready()) await new Promise<void>((resolve) => waiting.add(resolve));
  };
  const wake = (): void => {
    for (const it of waiting) it();
    waiting.clear();
  };
  const counted = {
    ...cluster,
    name: group,
    follow: async function* (options: Parameters<typeof cluster.follow>[0]) {
      for await (const change of cluster.follow(options)) {
        yield change;
        if (change.kind !== "listed") continue;
        listings++;
        wake();
      }
    },
  };
  const watching = watchGroup(
    {
      installation: Installation.parse("bench"),
      owner: "bench",
      clock,
      log: silentLog,
      metrics,
      broker: {
        publish: async () => {
          if (++facts >= jobs) wake();
          return "stored";
        },
      },
      timing: TIMING,
      fail: noFailpoint,
      pause: backOff(clock),
    },
    counted,
    stop.signal,
  );
  return {
    told: (count: number) => until(() => facts >= count),
    listed: (count: number) => until(() => listings >= count),
    stop: async () => {
      stop.abort();
      await watching;
    },
  };
}

/** How much more than before it took at its highest, sampled while it went on. */
async function measured(collect: () => number, work: () => Promise<void>): Promise<object> {
  const heapBefore = collect();
  const rssBefore = process.memoryUsage.rss();
  let [heap, rss] = [heapBefore, rssBefore];
  const sample = (): void => {
    const now = process.memoryUsage();
    heap = Math.max(heap, now.heapUsed);
    rss = Math.max(rss, now.rss);
  };
  const timer = setInterval(sample, SAMPLE_MS);
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const began = performance.now();
  const cpuBefore = process.cpuUsage();
  await work();
  const cpu = process.cpuUsage(cpuBefore);
  sample();
  delay.disable();
  clearInterval(timer);
  return {
    seconds: rounded((performance.now() - began) / 1000, 1),
    cpuSeconds: rounded((cpu.user + cpu.system) / 1e6, 1),
    heapMbMore: rounded((heap - heapBefore) / MB, 1),
    rssMbMore: rounded((rss - rssBefore) / MB, 1),
    rssMb: rounded(rss / MB, 0),
    stallMs: { p99: rounded(delay.percentile(99) / 1e6, 0), most: rounded(delay.max / 1e6, 0) },
  };
}

/** Collects garbage, and says what is left. */
function collector(): () => number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  return () => {
    if (typeof collect === "function") collect();
    return process.memoryUsage().heapUsed;
  };
}

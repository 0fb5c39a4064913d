/**
 * The measured process: it lists what an API server holds, watches it, and lists it anew. It does nothing else, neither before
 * nor meanwhile.
 *
 *   node test/bench/parts/relist-watcher.ts CLUSTER JOBS        the cluster as a group's settings, in JSON
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type ClusterChoice, INSTALLATION } from "@longshore/cli/embedded/home.ts";
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import { selectorOf } from "@longshore/domain/run/marks.ts";
import { type Cluster, openClusters } from "@longshore/kubernetes/clusters.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { TIMING } from "@longshore/watcher/parts.ts";
import { watchGroup } from "@longshore/watcher/watch-group.ts";
import { transportOf } from "./bench-cluster.ts";
import { toStderr as say } from "../../harness/builds/cached.ts";
import { expiring } from "./expiring.ts";
import { rounded } from "./figures.ts";

const MB = 1024 * 1024;
const SAMPLE_MS = 10;
const group = GroupName.parse("bench");
const installation = Installation.parse(INSTALLATION);

async function relist(choice: ClusterChoice, jobs: number): Promise<object> {
  await using parts = new AsyncDisposableStack();
  const transport = expiring(await transportOf(choice, "watch"));
  const clusters = parts.use(openClusters([{ name: group, namespace: choice.namespace, transport }], { clock }));
  const cluster = clusters.cluster(group);
  const collect = collector();
  // The first request is not measured, because it also loads and compiles code.
  await cluster.read.getJob("none", new AbortController().signal);

  say(`listing ${jobs} Jobs, and keeping none of them`);
  const bare = await measured(collect, async () => {
    const stop = new AbortController();
    for await (const change of cluster.follow({ kind: "jobs", selector: selectorOf(installation), signal: stop.signal }))
      if (change.kind === "listed") stop.abort();
  });

  say(`a watcher lists ${jobs} Jobs and ${jobs} pods for the first time`);
  const before = collect();
  const watcher = watch(cluster, jobs);
  parts.defer(() => watcher.stop());
  const first = await measured(collect, () => watcher.told(jobs));
  const kept = collect() - before;

  say("all its watches expire, and it lists everything anew");
  const again = await measured(collect, async () => {
    const listed = watcher.listed(4);
    await transport.expire(2); // the watches of Jobs and of pods
    await listed;
  });

  return { jobs, list: bare, firstSync: first, relist: again, bytesKeptPerJob: Math.round(kept / jobs) };
}

/** One group's watcher, whose broker accepts everything. */
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
  const watched = watchGroup(
    {
      installation,
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
      await watched;
    },
  };
}

/** Returns the time and CPU that the work took, its longest stall, and how far the memory rose above its level before. */
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

/** Returns a function that collects garbage and returns the size of what is left. */
function collector(): () => number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  return () => {
    if (typeof collect === "function") collect();
    return process.memoryUsage().heapUsed;
  };
}

if (import.meta.main) {
  const [choice, jobs] = process.argv.slice(2);
  process.stdout.write(`${JSON.stringify(await relist(JSON.parse(choice ?? "") as ClusterChoice, Number(jobs)))}\n`);
}

/**
 * Measures the memory that launcher and watcher need for live Jobs: their resident size with no Job, and with more and more
 * Jobs.
 *
 * Longshore launches the Jobs on a real API server without controllers: they stay as they are, and the watcher asks for the
 * Events of each, as of any Job that has no pods.
 */
import { readFile } from "node:fs/promises";
import { cpus } from "node:os";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { realCluster } from "./parts/bench-cluster.ts";
import { rounded, told } from "./parts/figures.ts";
import { launched } from "./parts/launched.ts";
import { openStage, type Stage } from "./parts/stage.ts";
import { openUpstream } from "./parts/upstream.ts";

export interface MemoryOptions {
  readonly jobs: readonly number[];
  readonly profile: string | undefined;
  readonly say: (sentence: string) => void;
}

/** After this time, memory that only launching needed is garbage. */
const SETTLE_MS = 20_000;
const MEGABYTE = 1024;
const PROGRAMS = ["launcher", "watcher"] as const;

interface Size {
  readonly rssMb: number;
  readonly mostMb: number;
}
type Sizes = Readonly<Record<(typeof PROGRAMS)[number], Size>>;

export async function memory({ jobs, profile, say }: MemoryOptions): Promise<object> {
  say("starting RabbitMQ, Postgres, Kubernetes, launcher and watcher …");
  const open = (home: string) => realCluster(home, { nodes: "none", controllers: false });
  await using stage = await openStage({ broker: "rabbitmq", cluster: open, watcher: true, jobs: Math.max(...jobs), profile });
  await using upstream = await openUpstream(stage.brokerUrl, { hears: false });
  const found: { readonly jobs: number; readonly sizes: Sizes }[] = [];
  let live = 0;
  for (const most of [0, ...jobs]) {
    if (most > live) await launched(stage.database, upstream, `to/${most}`, most - live);
    live = most;
    await clock.sleep(SETTLE_MS);
    const sizes = await sizesOf(stage);
    found.push({ jobs: most, sizes });
    say(`${most} live Jobs: ${told(sizes).join("; ").replaceAll(/ +/g, " ")}`);
  }
  const [first, last] = [found[0], found.at(-1)];
  const grown = (name: keyof Sizes): number =>
    rounded((((last?.sizes[name].rssMb ?? 0) - (first?.sizes[name].rssMb ?? 0)) * MEGABYTE * 1024) / Math.max(1, live), 0);
  const figures = {
    bench: "memory",
    cluster: stage.cluster.product,
    cores: cpus().length,
    sizes: Object.fromEntries(found.map((it) => [`at ${it.jobs}`, it.sizes])),
    grownBytesPerJob: Object.fromEntries(PROGRAMS.map((name) => [name, grown(name)])),
  };
  for (const line of told(figures)) say(line);
  return figures;
}

async function sizesOf({ pids }: Stage): Promise<Sizes> {
  const sizes = await Promise.all(PROGRAMS.map(async (name) => [name, await sizeOf(pids[name] ?? 0)] as const));
  return Object.fromEntries(sizes) as Sizes;
}

async function sizeOf(pid: number): Promise<Size> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const mb = (field: string): number =>
    rounded(Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0) / MEGABYTE, 1);
  return { rssMb: mb("VmRSS"), mostMb: mb("VmHWM") };
}

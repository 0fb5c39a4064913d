/**
 * `npm run bench -- relist`: measures what it costs a watcher to list everything anew from a real API server with many Jobs,
 * each with a running pod: its highest memory, its longest stall, and the bytes that it keeps for each Job.
 *
 * The failure this prevents: a watcher that is killed for its memory in the very minute in which it must list 50,000 Jobs.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { openReads } from "@longshore/kubernetes/request/read.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { openCeiling } from "./bare/ceiling.ts";
import { type RealCluster, realCluster } from "./parts/bench-cluster.ts";
import { told } from "./parts/figures.ts";
import { type BenchJob, startPod } from "./parts/pods.ts";
import { temporary } from "./parts/stage.ts";

export interface RelistOptions {
  readonly jobs: number;
  readonly say: (sentence: string) => void;
}

const AT_ONCE = 12;
const TOLD_EACH = 10_000;

export async function relist({ jobs, say }: RelistOptions): Promise<object> {
  await using parts = new AsyncDisposableStack();
  const home = await temporary(parts, "longshore-bench-");
  say("starting Kubernetes …");
  const server = parts.use(await realCluster(home, { nodes: "none", controllers: false }));
  say(`creating ${jobs} Jobs there`);
  const ceiling = parts.use(await openCeiling(home, server.choice));
  await ceiling.create("standing", jobs);
  await startPods(server, say);
  const figures = { cluster: server.product, ...(await measured(server, jobs)) };
  for (const line of told(figures)) say(line);
  return { bench: "relist", ...figures };
}

async function startPods(server: RealCluster, say: RelistOptions["say"]): Promise<void> {
  const left = await jobsOf(server);
  const starting = async (): Promise<void> => {
    for (let job = left.pop(); job !== undefined; job = left.pop()) {
      await startPod(server.admin, server.choice.namespace, job);
      if (left.length % TOLD_EACH === 0) say(`creating and starting their pods: ${left.length} to go`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, starting));
}

async function jobsOf({ admin: transport, choice: { namespace } }: RealCluster): Promise<BenchJob[]> {
  const all: BenchJob[] = [];
  for await (const page of openReads({ transport, clock, namespace }).listJobs({ signal: new AbortController().signal })) {
    if (page.kind === "page") all.push(...(page.items as readonly BenchJob[]));
    else all.length = 0; // the listing begins anew
  }
  return all;
}

/** Measures in a process of its own: the memory that this process used to create the Jobs would count as a watcher's. */
async function measured({ choice }: RealCluster, jobs: number): Promise<object> {
  const words = [`${import.meta.dirname}/parts/relist-watcher.ts`, JSON.stringify(choice), String(jobs)];
  const running = promisify(execFile)(process.execPath, words);
  running.child.stderr?.pipe(process.stderr);
  return JSON.parse((await running).stdout) as object;
}

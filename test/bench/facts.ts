/**
 * Measures how long news takes: from the moment at which a bare watch sees a Job finish to `run.succeeded` at upstream. For
 * comparison it measures the bare path: one message published, confirmed and consumed through a queue of the same kind.
 *
 * The bench writes what controllers and a kubelet would write: their own delays (the Job controller gathers changes for a
 * second) would hide the measured delay. The bench's own node answers requests for logs.
 */
import { cpus } from "node:os";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { openBareQueue } from "./bare/queue.ts";
import { openBareWatch } from "./bare/watch.ts";
import { realCluster, type RealCluster } from "./parts/bench-cluster.ts";
import { percentiles, told } from "./parts/figures.ts";
import { finishJob, finishPod } from "./parts/pods.ts";
import { openNode } from "./parts/node.ts";
import { openStage } from "./parts/stage.ts";
import { openUpstream } from "./parts/upstream.ts";

export interface FactsOptions {
  readonly runs: number;
  readonly profile: string | undefined;
  readonly say: (sentence: string) => void;
}

const WARM_UP = 30;
const STEP_WITHIN_MS = 60_000;
/** A pause between two steps, so that each step meets programs at rest. */
const REST_MS = 50;

export async function facts({ runs, profile, say }: FactsOptions): Promise<object> {
  say("starting RabbitMQ, Postgres, Kubernetes, launcher and watcher …");
  const opened: RealCluster[] = [];
  const open = async (home: string): Promise<RealCluster> => {
    const cluster = await realCluster(home, { nodes: "none", controllers: false });
    opened.push(cluster);
    return cluster;
  };
  const broker = "rabbitmq";
  await using stage = await openStage({ broker, cluster: open, watcher: true, jobs: runs + WARM_UP, profile });
  const [cluster] = opened;
  if (cluster === undefined) throw new Error("the stage has no cluster");
  const { namespace } = cluster.choice;
  await using node = await openNode(cluster.admin);
  await using upstream = await openUpstream(stage.brokerUrl);
  await using queue = await openBareQueue(stage.brokerUrl);
  await using watch = await openBareWatch(cluster.admin, namespace);

  const one = async (run: string): Promise<{ readonly delayMs: number; readonly bareMs: number }> => {
    await upstream.publish(run);
    const job = await inTime(watch.created(run), STEP_WITHIN_MS, `the Job of ${run}`);
    await finishPod(cluster.admin, namespace, job);
    await inTime(upstream.heard(run, "run.started"), STEP_WITHIN_MS, `run.started of ${run}`);
    await clock.sleep(REST_MS);
    const bareMs = await queue.passed();
    await clock.sleep(REST_MS);
    const [, seenMs, heard] = await Promise.all([
      finishJob(cluster.admin, namespace, job),
      inTime(watch.finished(run), STEP_WITHIN_MS, `the end of the Job of ${run}`),
      inTime(upstream.heard(run, "run.succeeded"), STEP_WITHIN_MS, `run.succeeded of ${run}`),
    ]);
    await clock.sleep(REST_MS);
    return { delayMs: heard.atMs - seenMs, bareMs };
  };

  say(`warming up with ${WARM_UP} runs …`);
  for (let n = 1; n <= WARM_UP; n++) await one(`warm-up/${n}`);
  say(`${runs} runs, one at a time …`);
  const all: { readonly delayMs: number; readonly bareMs: number }[] = [];
  for (let n = 1; n <= runs; n++) all.push(await one(`facts/${n}`));
  if (node.logs() < runs + WARM_UP) throw new Error(`the logs of ${runs + WARM_UP} runs were wanted, ${node.logs()} were read`);

  const figures = {
    bench: "facts",
    cluster: stage.cluster.product,
    broker: stage.product,
    cores: cpus().length,
    runs,
    delayMs: percentiles(all.map(({ delayMs }) => delayMs)),
    bareMs: percentiles(all.map(({ bareMs }) => bareMs)),
    aboveMs: percentiles(all.map(({ delayMs, bareMs }) => delayMs - bareMs)),
  };
  for (const line of told(figures)) say(line);
  return figures;
}

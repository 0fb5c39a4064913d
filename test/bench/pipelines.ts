/**
 * Compares pipelines with the same objects made bare: 200 runs of five steps, each after the other, and in the next turn as many
 * bare Jobs on the same cluster. Pods are simulated and succeed at once, so that only the machinery is measured.
 *
 *   ratio          runs that own nothing but Jobs: from the first command to the last run.succeeded, against the time of the bare
 *                  Jobs from the first create to the last end
 *   ratioVolumes   runs with two volumes, a secret value and a file, against the same objects made bare and deleted by their owner as soon as the Jobs of a
 *                  run have ended: until no volume is left
 *
 * The bare Jobs are made at once, and the steps of a run are not: each waits for the end of the one before it. `cpuRatio` compares
 * the CPU time of all processes. On a machine that has other work to do, read that.
 */
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { type Copies, copiesOf, pathOf } from "./bare/copies.ts";
import { type BareWork, openBareWork } from "./bare/work.ts";
import { ask } from "./parts/ask.ts";
import { realCluster, type RealCluster } from "./parts/bench-cluster.ts";
import { each, rounded, told } from "./parts/figures.ts";
import { memoryMb } from "./parts/memory-share.ts";
import { openNodes } from "./parts/node.ts";
import { writesIn } from "./parts/requests.ts";
import { type BrokerKind, openStage, type Stage } from "./parts/stage.ts";
import { inAll, measured, summed, type Turn, untilNone } from "./parts/turn.ts";
import { COMMAND, IMAGE, openUpstream, publishAll, type Upstream } from "./parts/upstream.ts";

export interface PipelinesOptions {
  readonly runs: number;
  /** The number of turns of each kind. */
  readonly turns: number;
  /** How many of each kind come first, and are not counted. */
  readonly warmUp?: number;
  readonly broker: BrokerKind;
  readonly profile: string | undefined;
  readonly say: (sentence: string) => void;
}

const STEPS = ["stage", "work", "organize", "save", "record"];
const VOLUMES = ["data", "results"];
const CLASS = "bench";
const WARM_UP = 40;
const END_WITHIN_MS = 600_000;
const LOOK_MS = 250;
const JOBS_MOST = 100_000;

type Kind = "plain" | "volumes";

/** What a run of each kind asks for. */
const WORK: Readonly<Record<Kind, object>> = {
  plain: { steps: steps({}) },
  volumes: {
    volumes: VOLUMES.map((name) => ({ name, size: "1Mi", class: CLASS })),
    secretValues: { token: "only-for-the-bench" },
    steps: steps({
      mounts: VOLUMES.map((volume) => ({ volume, path: `/${volume}` })),
      secrets: [{ values: ["token"], mount: "/etc/secrets" }],
      files: [{ path: "/etc/settings.json", json: { words: "as many as a small file has ".repeat(20) } }],
    }),
  },
};
const POLICY = { secretValues: true };

function steps(more: object): readonly object[] {
  return STEPS.map((name, at) => ({
    name,
    image: IMAGE,
    command: [...COMMAND],
    needs: STEPS.slice(Math.max(0, at - 1), at),
    ...more,
  }));
}

interface Field {
  readonly stage: Stage;
  readonly cluster: RealCluster;
  readonly upstream: Upstream;
  readonly bare: BareWork;
}

export async function pipelines({ runs, turns, warmUp = WARM_UP, broker, profile, say }: PipelinesOptions): Promise<object> {
  say(`starting ${broker === "rabbitmq" ? "RabbitMQ, " : ""}Postgres, Kubernetes with simulated nodes, launcher and watcher …`);
  let opened: RealCluster | undefined;
  const open = async (home: string): Promise<RealCluster> =>
    (opened = await realCluster(home, { nodes: "simulated", controllers: true }));
  await using stage = await openStage({ broker, cluster: open, watcher: true, jobs: JOBS_MOST, profile, policy: POLICY });
  if (opened === undefined) throw new Error("the stage opened no cluster");
  const cluster: RealCluster = opened;
  await using _nodes = await openNodes(cluster.admin); // else each log would be asked for again and again
  await using upstream = await openUpstream(stage.brokerUrl);
  await using bare = await openBareWork(cluster.choice, cluster.admin);
  const field: Field = { stage, cluster, upstream, bare };

  say("one run of each kind, whose objects are copied …");
  const copies = { plain: await copied(field, "plain"), volumes: await copied(field, "volumes") };
  say(`warming up with ${warmUp} of each …`);
  for (const kind of ["plain", "volumes"] as const) await both(field, kind, copies[kind], { name: "warm-up", runs: warmUp });

  const found: Record<Kind, { bare: Turn[]; pipelines: Turn[] }> = {
    plain: { bare: [], pipelines: [] },
    volumes: { bare: [], pipelines: [] },
  };
  for (let turn = 1; turn <= turns; turn++)
    for (const kind of ["plain", "volumes"] as const) {
      const { bare, pipelines } = await both(field, kind, copies[kind], { name: `turn-${turn}`, runs });
      found[kind].bare.push(bare);
      found[kind].pipelines.push(pipelines);
      say(`turn ${turn}, ${kind}: bare ${seconds(bare)}, pipelines ${seconds(pipelines)}, ratio ${rounded(pipelines.tookMs / bare.tookMs, 2)}`); // biome-ignore format: one line
    }
  const [plain, volumes] = [figuresOf(found.plain, runs), figuresOf(found.volumes, runs)];
  const figures = {
    bench: "pipelines",
    cluster: `${stage.cluster.product}, with simulated nodes`,
    broker: stage.product,
    cores: cpus().length,
    runs,
    steps: STEPS.length,
    turns,
    plain,
    volumes,
    memoryMb: await memoryMb(stage.pids),
    writesPerRun: { plain: plain.writesPerRun, volumes: volumes.writesPerRun },
    cpuRatio: { plain: plain.cpuRatio, volumes: volumes.cpuRatio },
    ratio: plain.ratio,
    ratioVolumes: volumes.ratio,
  };
  for (const line of told(figures)) say(line);
  return figures;
}

const seconds = ({ tookMs }: Turn): string => `${rounded(tookMs / 1000, 1)} s`;

/** The objects of one run, while it keeps them. Then it gives them up. */
async function copied({ stage, cluster, upstream }: Field, kind: Kind): Promise<Copies> {
  const { admin, choice } = cluster;
  await using _volumes = await volumesFor(cluster, kind, 1);
  const run = `copied/${kind}`;
  await upstream.publish(run, { ...WORK[kind], ...(kind === "volumes" && { keepVolumesFor: { succeeded: "10s" } }) });
  await inTime(succeeded(upstream, run), END_WITHIN_MS, `the end of ${run}`);
  const copies = await copiesOf(admin, choice.namespace, run);
  if (copies.jobs.length !== STEPS.length) throw new Error(`${run} has ${copies.jobs.length} Jobs`);
  await atRest(stage);
  return copies;
}

/** One turn of bare work, and one of pipelines. */
async function both(field: Field, kind: Kind, copies: Copies, { name, runs }: { readonly name: string; readonly runs: number }) {
  const { stage, cluster, bare } = field;
  const jobs = runs * STEPS.length;
  const turnOf = async (work: () => Promise<void>, settled: () => Promise<void>): Promise<Turn> => {
    await using _volumes = await volumesFor(cluster, kind, runs);
    const timed = async (): Promise<number> => {
      const beganMs = performance.now();
      await inTime(work(), END_WITHIN_MS, `the end of ${runs} runs`);
      if (kind === "volumes") await untilNoVolume(cluster);
      return performance.now() - beganMs;
    };
    return await measured(stage, jobs, timed, settled);
  };
  return {
    bare: await turnOf(
      () => bare.runs(copies, `bare-${kind}-${name}`, runs),
      async () => undefined,
    ),
    pipelines: await turnOf(
      () => all(field, kind, name, runs),
      () => atRest(stage),
    ),
  };
}

async function all({ upstream }: Field, kind: Kind, name: string, runs: number): Promise<void> {
  const ends: Promise<void>[] = [];
  await publishAll(upstream, `${kind}/${name}`, runs, (run) => void ends.push(succeeded(upstream, run)), WORK[kind]);
  await Promise.all(ends);
}

async function succeeded(upstream: Upstream, run: string): Promise<void> {
  const { type } = await upstream.ended(run);
  if (type !== "run.succeeded") throw new Error(`${run} ended with ${type}: this measures only what goes well`);
}

/**
 * Every event is told, every hold is off, and no run keeps anything. Anchors whose fence has not passed are left out: if the machine
 * was so slow that a create got no answer, they are looked at again minutes later.
 */
async function atRest({ database }: Stage): Promise<void> {
  await untilNone(database, "unfinished attempt", "select from longshore.attempt where due is not null");
  await untilNone(
    database,
    "object to be swept",
    "select from longshore.object where state is distinct from 'gone' and hold_until <= now()",
  );
  await untilNone(database, "event to publish", "select from longshore.outbox");
}

/** The cluster makes no volumes by itself: there is one for each claim, made before the clock runs. */
async function volumesFor({ admin }: RealCluster, kind: Kind, runs: number): Promise<AsyncDisposable> {
  const path = "/api/v1/persistentvolumes";
  const names = kind === "plain" ? [] : Array.from({ length: runs * VOLUMES.length }, (_, at) => `bench-${at + 1}`);
  const spec = {
    storageClassName: CLASS,
    capacity: { storage: "1Mi" },
    accessModes: ["ReadWriteOnce"],
    persistentVolumeReclaimPolicy: "Retain",
    hostPath: { path: join(tmpdir(), "longshore-bench-mounts-nothing") },
  };
  for (const name of names)
    await ask(admin, { method: "POST", path, body: { apiVersion: "v1", kind: "PersistentVolume", metadata: { name }, spec } });
  return {
    [Symbol.asyncDispose]: async () => {
      for (const name of names) await ask(admin, { method: "DELETE", path: `${path}/${name}` });
      while (names.length > 0 && (await some(admin, path))) await clock.sleep(LOOK_MS);
    },
  };
}

async function untilNoVolume({ admin, choice }: RealCluster): Promise<void> {
  for (const beganMs = performance.now(); performance.now() - beganMs < END_WITHIN_MS; await clock.sleep(LOOK_MS))
    if (!(await some(admin, pathOf(choice.namespace, "persistentvolumeclaims")))) return;
  throw new Error("volumes are still there");
}

async function some(admin: RealCluster["admin"], path: string): Promise<boolean> {
  const { items } = (await ask(admin, { method: "GET", path: `${path}?limit=1` })) as { readonly items: readonly unknown[] };
  return items.length > 0;
}

function figuresOf({ bare, pipelines }: { readonly bare: readonly Turn[]; readonly pipelines: readonly Turn[] }, runs: number) {
  const sum = (turns: readonly Turn[], of: (turn: Turn) => number): number => turns.reduce((all, turn) => all + of(turn), 0);
  const jobs = runs * STEPS.length;
  const { requestsByVerb, ...ours } = summed(pipelines, jobs);
  const { requestsByVerb: _, ...theirs } = summed(bare, jobs);
  const requestsPerRun = each(requestsByVerb, runs * pipelines.length, 2);
  return {
    bare: theirs,
    pipelines: { ...ours, requestsPerRun },
    writesPerRun: rounded(writesIn(requestsPerRun), 2),
    cpuRatio: rounded(sum(pipelines, ({ cpu }) => inAll(cpu)) / sum(bare, ({ cpu }) => inAll(cpu)), 2),
    ratio: rounded(sum(pipelines, ({ tookMs }) => tookMs) / sum(bare, ({ tookMs }) => tookMs), 2),
  };
}

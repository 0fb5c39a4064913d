/**
 * `npm run bench -- NAME`: measures on this machine, with real parts. Progress and figures go to stderr; the last line, on
 * stdout, is one line of JSON that holds them all. Nothing here passes or fails by a time.
 */
import { parseArgs } from "node:util";
import { toStderr as say } from "../harness/builds/cached.ts";
import { facts } from "./facts.ts";
import { launch } from "./launch.ts";
import { memory } from "./memory.ts";
import { pipelines } from "./pipelines.ts";
import { relist } from "./relist.ts";
import { spine } from "./spine.ts";
import { way } from "./way.ts";

const USAGE = `usage: npm run bench -- launch|facts|memory|pipelines|relist|spine|way [options]

  launch  bare creates of a Job's manifest and launches of runs, in turns, on one real control plane: both rates and
          their ratio, CPU of each process per Job, requests by verb. A launch counts from the confirmed command to the UID in
          the ledger. Neither watcher nor controllers run, so Jobs stay as they were created. Two layouts: together, all
          processes on all cores; and apart, the API server and etcd on one core and everything else on another
  facts   the time from the end of a Job, as a bare watch sees it, to run.succeeded at a consumer, and the time of one
          message through a bare queue: percentiles of both, and of their difference
  memory  launcher and watcher at the start, with so many runs waiting, with as many live Jobs, and at rest after all of them
          ended: highest and present resident size, and the heap after a collection. The cluster is the pocket with scripted pods
  pipelines  runs of five steps, each after the other, and in turns with them the same Jobs made bare, on one real control plane
          with simulated nodes: the ratio of both times, once without and once with two volumes, a Secret and a file a run; CPU and memory of each
          process, requests by verb. Takes minutes
  relist  a watcher that lists all Jobs and pods anew, from a real API server: its highest memory, the longest time for which
          its event loop was blocked, bytes kept per Job. Takes minutes: Jobs and pods are created first
  spine   runs through broker, launcher, pocket (instant pods) and watcher, to their terminal events: runs per second,
          CPU per run of each part, latencies, requests to the cluster's API and transactions of the ledger
  way     the modules that the launcher executes from a published run.requested to its run.launched event, by V8's coverage:
          it depends on the code, not on the machine. The cluster is the pocket

  --runs N       how many runs: per turn for launch (2000), one at a time for facts (200) and way (20), at once for
                 spine (1000) and pipelines (200); Jobs for relist (50000)
  --jobs N,N     memory: numbers of runs at the same time, rising (5000,20000)
  --turns N      launch: turns of each kind in each layout (3); pipelines: turns of each kind (3)
  --cluster KIND launch: kubernetes (the default) or pocket (for a machine that has no control plane)
  --one-by-one N spine: how many more runs, one at a time (200)
  --broker KIND  rabbitmq (4.0, the default) or postgres (queues in the ledger's database)
  --profile DIR  write CPU profiles of launcher and watcher into this folder, for a browser's or an editor's viewer
`;
const MOST = 100_000;
const RUNS: Readonly<Record<string, string>> = { launch: "2000", facts: "200", pipelines: "200", way: "20" };

async function main(words: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      runs: { type: "string" },
      jobs: { type: "string", default: "5000,20000" },
      turns: { type: "string", default: "3" },
      "one-by-one": { type: "string", default: "200" },
      cluster: { type: "string", default: "kubernetes" },
      broker: { type: "string", default: "rabbitmq" },
      profile: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  const asked = positionals.join(" ");
  const { broker, cluster, profile } = values;
  const runs = count(values.runs ?? RUNS[asked] ?? "1000");
  const jobs = values.jobs.split(",").map(count);
  const turns = count(values.turns);
  const oneByOne = count(values["one-by-one"]);
  const known = (broker === "rabbitmq" || broker === "postgres") && (cluster === "kubernetes" || cluster === "pocket");
  if (!known || runs === undefined || turns === undefined || oneByOne === undefined) return misunderstood();
  switch (asked) {
    case "launch":
      return print(await launch({ runs, turns, cluster, broker, profile, say }));
    case "relist":
      return print(await relist({ jobs: count(values.runs ?? "50000") ?? runs, say }));
    case "facts":
      return print(await facts({ runs, profile, say }));
    case "memory":
      if (!jobs.every((it) => it !== undefined)) return misunderstood();
      return print(await memory({ jobs, profile, say }));
    case "pipelines":
      return print(await pipelines({ runs, turns, broker, profile, say }));
    case "spine":
      return print(await spine({ runs, oneByOne, broker, profile, say }));
    case "way":
      return print(await way({ runs, broker, say }));
    default:
      return misunderstood();
  }
}

function misunderstood(): number {
  say(USAGE);
  return 2;
}

function print(figures: object): number {
  process.stdout.write(`${JSON.stringify(figures)}\n`);
  return 0;
}

function count(text: string): number | undefined {
  const value = Number(text);
  return Number.isInteger(value) && value >= 1 && value <= MOST ? value : undefined;
}

if (import.meta.main) {
  try {
    process.exitCode = await main(process.argv.slice(2));
  } catch (error) {
    say(`the bench could not be run: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

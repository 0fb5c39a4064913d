/**
 * `npm run cluster -- up`: the cluster that the tests use, for a person to play with.
 *
 * The failures this prevents: a belief about Kubernetes that a minute's trial would have refuted, and a cluster that stays when
 * its terminal was closed. Everything ends with this process, even if it is killed; `down` removes the files.
 */
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { cacheFolder, toStderr as say } from "./harness/builds/cached.ts";
import { BUSYBOX } from "./harness/kubernetes/images.ts";
import { kubernetes, type TestCluster } from "./harness/kubernetes/kubernetes.ts";
import { sweep } from "./harness/kubernetes/node-cgroups.ts";
import { type KubernetesVersion, programs, VERSIONS } from "./harness/kubernetes/programs.ts";

const USAGE = `usage: npm run cluster -- up [--real-node] [--version ${VERSIONS.join("|")}]
       npm run cluster -- down

  up            starts etcd, API server, controllers and scheduler on loopback, prints the path of a kubeconfig, and stays
                until Ctrl-C. Its nodes are simulated: pods are scheduled and succeed a second later, but run nothing.
                The first time, the programs are built from Go modules: about seven minutes on two cores, needs Go
  --real-node   one node with containerd and a kubelet, which runs real containers. As root on Debian; nothing is
                installed, the node lives in namespaces of its own. Images: ${BUSYBOX}, and what it can pull
  --version     the version of Kubernetes (1.34). A real node's kubelet is always 1.34, which also works with 1.36
  down          ends the cluster from another terminal; if it was killed, removes the files that it left. The built
                programs stay in the cache folder ${cacheFolder()} for the next time
`;
const ENDS_WITHIN_MS = 30_000;

/** Only one cluster may be up: this file names its process. */
const recordFile = path.join(
  process.env["XDG_STATE_HOME"] ?? path.join(homedir(), ".local", "state"),
  "longshore",
  "cluster.json",
);

interface Running {
  readonly pid: number;
  /** The start time of the process, as the kernel counts it: by now another process may have the same id. */
  readonly began: string;
  readonly folder: string;
}

async function main(words: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...words],
    allowPositionals: true,
    options: {
      "real-node": { type: "boolean", default: false },
      version: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const [verb] = positionals;
  const version = VERSIONS.find((it) => it === (values.version ?? "1.34"));
  if (values.help || version === undefined || positionals.length !== 1 || (verb !== "up" && verb !== "down")) {
    (values.help ? process.stdout : process.stderr).write(USAGE);
    return values.help ? 0 : 2;
  }
  return verb === "up" ? await up(values["real-node"], version) : await down();
}

async function up(realNode: boolean, version: KubernetesVersion): Promise<number> {
  const there = await record();
  if (there !== undefined && (await runs(there))) {
    say(`a cluster is up already, started by process ${there.pid}: use it, or end it with: npm run cluster -- down`);
    return 1;
  }
  if (there !== undefined) await forget(there);
  const folder = await fs.mkdtemp(path.join(tmpdir(), "longshore-cluster-"));
  const mine = { pid: process.pid, began: (await beginningOf(process.pid)) ?? "", folder };
  await fs.mkdir(path.dirname(recordFile), { recursive: true });
  await fs.writeFile(recordFile, JSON.stringify(mine));
  process.env["TMPDIR"] = folder; // the harness makes its folder in here, so that `down` can remove all files

  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const stopped = Promise.race(signals.map(async (name) => await once(process, name)));
  try {
    const starting = kubernetes({ nodes: realNode ? "real" : "simulated", version });
    const early = await Promise.race([starting.then(() => false), stopped.then(() => true)]);
    if (early) {
      await forget(mine);
      process.exit(130); // the parts that have started end with this process
    }
    await using it = await starting;
    for (const cluster of it.clusters) say(await welcome(cluster, version, realNode));
    await stopped;
    say("ending it …");
  } finally {
    await forget(mine);
  }
  return 0;
}

async function welcome({ version, kubeconfig }: TestCluster, asked: KubernetesVersion, realNode: boolean): Promise<string> {
  const { kubectl } = await programs(asked);
  const log = realNode ? "\n  kubectl logs job/hello" : "";
  return `
Kubernetes ${version} is up, with ${realNode ? "a real node" : "simulated nodes"}, until Ctrl-C. In another terminal:

  export KUBECONFIG=${kubeconfig}
  alias kubectl=${kubectl}
  kubectl get nodes
  kubectl create job hello --image=${BUSYBOX} -- echo hello
  kubectl wait job/hello --for=condition=Complete${log}

Longshore on it:

  npm start -- --kubeconfig ${kubeconfig} --namespace default
  npm run longshore -- publish --image ${BUSYBOX} --follow -- echo hello
`;
}

async function down(): Promise<number> {
  const there = await record();
  if (there === undefined) {
    say("no cluster is up");
    return 0;
  }
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    if (await runs(there)) process.kill(there.pid, signal); // the cluster's parts end with it, whichever signal ended it
    for (const began = performance.now(); (await runs(there)) && performance.now() - began < ENDS_WITHIN_MS; ) await sleep(50);
  }
  await forget(there);
  await sweep();
  say("the cluster is down");
  return 0;
}

async function record(): Promise<Running | undefined> {
  const text = await fs.readFile(recordFile, "utf8").catch(() => undefined); // no cluster was recorded
  return text === undefined ? undefined : (JSON.parse(text) as Running);
}

async function forget({ folder }: Running): Promise<void> {
  await fs.rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  await fs.rm(recordFile, { force: true });
}

const runs = async ({ pid, began }: Running): Promise<boolean> => (await beginningOf(pid)) === began;

/** Returns field 22 of the process's stat, counted after the name, which may have spaces. Empty if the system has no /proc. */
async function beginningOf(pid: number): Promise<string | undefined> {
  try {
    process.kill(pid, 0);
  } catch {
    return undefined; // the process is gone
  }
  const stat = await fs.readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));

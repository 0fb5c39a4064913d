/**
 * Real Kubernetes for tests: `await using it = await kubernetes({ nodes: "simulated", clusters: 2 })`.
 *
 *   none        pods are made and never scheduled
 *   simulated   pods are scheduled, and end well about a second later, without a container
 *   real        one node with containerd and a kubelet (as root on Linux)
 *
 * The failure this prevents: a claim about Kubernetes that nobody ever checked on Kubernetes.
 */
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { removeFolder, type StartedCluster, startCluster, type TestCluster } from "./test-cluster.ts";
import { startNode } from "./node.ts";
import { askedVersion, type KubernetesVersion, NODE_VERSION, type Programs, programs } from "./programs.ts";
import { startSimulatedNodes } from "./simulated-nodes.ts";

export type { Said, TestCluster } from "./test-cluster.ts";

/** The beginning of a folder's name. The id of the process that made the folder follows. */
const FOLDERS = "longshore-kubernetes-";

export type Nodes = "none" | "simulated" | "real";

export interface KubernetesOptions {
  readonly nodes: Nodes;
  /** The number of clusters, which share nothing; default 1. */
  readonly clusters?: number;
  /** Default: 1.34 for a real node; otherwise the version that LONGSHORE_TEST_KUBERNETES_VERSION names, or else 1.34. */
  readonly version?: KubernetesVersion;
}

export interface TestKubernetes extends AsyncDisposable {
  readonly clusters: readonly TestCluster[];
}

export async function kubernetes({ nodes, clusters = 1, version: told }: KubernetesOptions): Promise<TestKubernetes> {
  await using parts = new AsyncDisposableStack();
  const version = told ?? (nodes === "real" ? NODE_VERSION : askedVersion());
  const kubelet = nodes === "real" && { kubelet: await kubeletFor(version) };
  const there = { ...(await programs(version)), ...kubelet };
  await sweep();
  // Waits for all clusters, even if one fails: the parts of the others that have started must be ended here too.
  const settled = await Promise.allSettled(Array.from({ length: clusters }, () => startOne(parts, there, nodes)));
  const started = settled.map((it) => {
    if (it.status === "rejected") throw it.reason;
    return it.value;
  });
  const kept = parts.move();
  return { clusters: started, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

/** A kubelet must not be newer than its API server. */
async function kubeletFor(version: KubernetesVersion = NODE_VERSION): Promise<string> {
  if (Number(version) >= Number(NODE_VERSION)) return (await programs(NODE_VERSION)).kubelet;
  throw new Error(
    `a real node runs the kubelet of ${NODE_VERSION}, which Kubernetes ${version} is too old for: ask for ${NODE_VERSION}.`,
  );
}

async function startOne(parts: AsyncDisposableStack, there: Programs, nodes: Nodes): Promise<StartedCluster> {
  const folder = await fs.mkdtemp(path.join(tmpdir(), `${FOLDERS}${process.pid}-`));
  parts.defer(() => removeFolder(folder));
  const cluster = parts.use(await startCluster(there, folder));
  if (nodes === "simulated") parts.use(await startSimulatedNodes(there, cluster));
  return nodes === "real" ? Object.assign(cluster, { node: parts.use(await startNode(there, cluster)) }) : cluster;
}

/** Removes the folders of processes that were killed; the programs of such a process have ended with it. */
async function sweep(): Promise<void> {
  for (const name of await fs.readdir(tmpdir())) {
    const owner = name.startsWith(FOLDERS) ? Number.parseInt(name.slice(FOLDERS.length), 10) : Number.NaN;
    if (!Number.isNaN(owner) && !isAlive(owner)) await removeFolder(path.join(tmpdir(), name));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH"; // EPERM: the process is another user's, and alive
  }
}

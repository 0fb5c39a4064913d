/**
 * Real Kubernetes for tests: `await using it = await kubernetes({ nodes: "simulated", clusters: 2 })`.
 *
 *   none        pods are made and never scheduled
 *   simulated   pods are scheduled, and end well about a second later, without a container
 *   real        one node with containerd and a kubelet (as root on Linux)
 *
 * With `shared: true`, other test files of the same run may use the same clusters, each in namespaces of its own.
 *
 * The failure this prevents: a claim about Kubernetes that nobody ever checked on Kubernetes.
 */
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import {
  clusterAt,
  type ClusterPlace,
  type PrivateCluster,
  removeFolder,
  type StartedCluster,
  startCluster,
  type TestCluster,
} from "./test-cluster.ts";
import { borrow, hasLender } from "../lending/borrow.ts";
import { startNode } from "./node.ts";
import { askedVersion, type KubernetesVersion, NODE_VERSION, type Programs, programs } from "./programs.ts";
import { startSimulatedNodes } from "./simulated-nodes.ts";

export type { PrivateCluster, Said, TestCluster } from "./test-cluster.ts";

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

export interface TestKubernetes<C extends TestCluster = PrivateCluster> extends AsyncDisposable {
  readonly clusters: readonly C[];
}

/** The label of a namespace in a cluster that test files share: the file that made the namespace. */
export const BORROWER = "tests.longshore/borrower";

/** With `shared`, the clusters may be used by other test files of the same run, so the test cannot break them. */
export async function kubernetes(options: KubernetesOptions & { readonly shared: true }): Promise<TestKubernetes<TestCluster>>;
export async function kubernetes(options: KubernetesOptions): Promise<TestKubernetes>;
export async function kubernetes(
  options: KubernetesOptions & { readonly shared?: boolean },
): Promise<TestKubernetes<TestCluster>> {
  const { nodes, clusters = 1, version: told, shared = false } = options;
  await using parts = new AsyncDisposableStack();
  const version = told ?? (nodes === "real" ? NODE_VERSION : askedVersion());
  const started =
    shared && hasLender()
      ? await Promise.all(numbers(clusters).map((n) => borrowedCluster(parts, `${nodes} ${version} ${n}`)))
      : await privateClusters(parts, nodes, version, clusters);
  const kept = parts.move();
  return { clusters: started, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const numbers = (count: number): readonly number[] => Array.from({ length: count }, (_, n) => n);

async function borrowedCluster(parts: AsyncDisposableStack, which: string): Promise<TestCluster> {
  const loan = parts.use(await borrow<ClusterPlace>(`kubernetes ${which}`));
  return parts.use(await clusterAt(loan.given, { [BORROWER]: loan.borrower }));
}

async function privateClusters(
  parts: AsyncDisposableStack,
  nodes: Nodes,
  version: KubernetesVersion,
  clusters: number,
): Promise<readonly PrivateCluster[]> {
  const kubelet = nodes === "real" && { kubelet: await kubeletFor(version) };
  const there = { ...(await programs(version)), ...kubelet };
  await sweep();
  // Waits for all clusters, even if one fails: the parts of the others that have started must be ended here too.
  const settled = await Promise.allSettled(numbers(clusters).map(() => startOne(parts, there, nodes)));
  return settled.map((it) => {
    if (it.status === "rejected") throw it.reason;
    return it.value;
  });
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
  if (nodes === "simulated") {
    const kubelets = await startSimulatedNodes(cluster);
    parts.defer(() => kubelets.kill());
    return Object.assign(cluster, { kubelets });
  }
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

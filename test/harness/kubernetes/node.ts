/**
 * One real node: a kubelet and a containerd that run real containers for a test's cluster.
 *
 * The failure this prevents: believing a simulation about exit codes, logs, memory limits and images. The pods' work is real;
 * only the rest of the computer is kept out of their reach (node-machine.ts).
 */
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import type { StartedCluster } from "./test-cluster.ts";
import { CONTAINERD_SOCKET, startContainerd } from "./containerd.ts";
import type { Image } from "./images.ts";
import { cgroups } from "./node-cgroups.ts";
import { type Machine, startMachine } from "./node-machine.ts";
import { nodePrograms } from "./node-programs.ts";
import type { Part } from "./part.ts";
import type { Programs } from "./programs.ts";

export interface RealNode extends AsyncDisposable {
  /** The Node's name, and the address that the API server calls for logs. */
  readonly name: string;
  readonly kubelet: Part;
  readonly containerd: Part;
  readonly machine: Machine;
  /** The cgroup of all pods: "/longshore-node-…". */
  readonly cgroup: string;
  /** The beginning of its pods' addresses: "198.18.7.". */
  readonly addresses: string;
  /** The variables by which a pod's program finds the API server. Without a proxy for Services, those of the kubelet lead nowhere. */
  readonly env: { readonly KUBERNETES_SERVICE_HOST: string; readonly KUBERNETES_SERVICE_PORT: string };
  addImage(image: Image): Promise<void>;
}

const NAME = "localhost";
const READY_WITHIN_MS = 120_000;
const forever = new AbortController().signal;

export async function startNode(programs: Programs, cluster: StartedCluster): Promise<RealNode> {
  await using parts = new AsyncDisposableStack();
  const runtime = await nodePrograms();
  const group = parts.use(await cgroups());
  const machine = parts.use(await startMachine(cluster.folder));
  const { containerd, addresses, add } = await startContainerd(machine, runtime, cluster.folder);
  const door = parts.use(await openDoor(addresses, cluster.plane.port));
  const kubelet = await startKubelet(programs.kubelet, cluster, machine, group.name);
  await untilReady(cluster);
  const kept = parts.move();
  return {
    name: NAME,
    kubelet,
    containerd,
    machine,
    cgroup: group.name,
    addresses,
    env: { KUBERNETES_SERVICE_HOST: `${addresses}1`, KUBERNETES_SERVICE_PORT: String(door.port) },
    addImage: add,
    [Symbol.asyncDispose]: () => kept.disposeAsync(), // kubelet and containerd end with the machine
  };
}

/** Lets this node's pods, and nobody else, come to the API server, which listens on the computer's loopback alone. */
async function openDoor(addresses: string, apiServerPort: number): Promise<AsyncDisposable & { readonly port: number }> {
  const open = new Set<Socket>();
  const server = createServer((pod) => {
    if (pod.remoteAddress?.replace("::ffff:", "").startsWith(addresses) !== true) return void pod.destroy();
    const there = connect(apiServerPort, "127.0.0.1");
    for (const [one, other] of [[pod, there], [there, pod]] as const) {
      open.add(one);
      one.on("error", () => other.destroy()).on("close", () => open.delete(one)).pipe(other);
    } // biome-ignore format: pairs
  });
  server.listen(0);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      for (const it of open) it.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

async function startKubelet(program: string, cluster: StartedCluster, machine: Machine, cgroup: string): Promise<Part> {
  const at = (name: string): string => path.join(machine.disk, name);
  const clientCAFile = cluster.plane.kubeletClientCertificate;
  const [port, healthPort] = [await freePort(), await freePort()];
  await fs.writeFile(machine.seen(at("resolv.conf")), "nameserver 127.0.0.1\n"); // so that pods reach no real name server
  await fs.writeFile(machine.seen(at("kubelet.json")), JSON.stringify(settings({ port, healthPort, cgroup, at, clientCAFile })));
  await fs.writeFile(machine.seen(at("kubeconfig.json")), JSON.stringify(credential(cluster)), { mode: 0o600 });
  const kubelet = machine.part({
    name: "kubelet",
    program,
    args: [
      `--config=${at("kubelet.json")}`,
      `--kubeconfig=${at("kubeconfig.json")}`,
      `--hostname-override=${NAME}`,
      `--root-dir=${at("kubelet")}`,
      `--cert-dir=${at("kubelet-certificates")}`,
    ],
    logFile: path.join(cluster.folder, "kubelet.log"),
    ready: async () => (await fetch(`http://127.0.0.1:${healthPort}/healthz`, { signal: AbortSignal.timeout(2_000) })).ok,
  });
  await kubelet.start();
  return kubelet;
}

interface Settings {
  readonly port: number;
  readonly healthPort: number;
  readonly cgroup: string;
  /** The certificate of the only client that may call the kubelet. */
  readonly clientCAFile: string;
  readonly at: (name: string) => string;
}

const settings = ({ port, healthPort, cgroup, at, clientCAFile }: Settings): object => ({
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  address: "127.0.0.1",
  port,
  healthzBindAddress: "127.0.0.1",
  healthzPort: healthPort,
  authentication: { anonymous: { enabled: false }, webhook: { enabled: false }, x509: { clientCAFile } },
  authorization: { mode: "AlwaysAllow" }, // only the API server has the client certificate's key
  containerRuntimeEndpoint: `unix://${CONTAINERD_SOCKET}`,
  cgroupDriver: "cgroupfs",
  cgroupRoot: cgroup,
  enforceNodeAllocatable: [],
  failCgroupV1: false,
  failSwapOn: false,
  makeIPTablesUtilChains: false, // nobody would remove the chains again
  resolvConf: at("resolv.conf"),
  clusterDNS: ["198.18.0.53"], // no server has this address; without one, each pod would have a warning
  volumeStatsAggPeriod: "2s", // so that a volume over its limit is noticed in seconds
  volumePluginDir: at("volume-plugins"),
  serializeImagePulls: false,
  localStorageCapacityIsolation: true,
  evictionHard: { "memory.available": "0%", "nodefs.available": "0%", "nodefs.inodesFree": "0%", "imagefs.available": "0%" },
  imageGCHighThresholdPercent: 100,
  shutdownGracePeriod: "0s",
});

const credential = ({ url, caFile, plane }: StartedCluster): object => ({
  apiVersion: "v1",
  kind: "Config",
  "current-context": "node",
  clusters: [{ name: "node", cluster: { server: url, "certificate-authority": caFile } }],
  users: [{ name: "node", user: { token: plane.nodeToken } }],
  contexts: [{ name: "node", context: { cluster: "node", user: "node" } }],
});

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly message?: string;
}

interface NodeStatus {
  readonly conditions?: readonly Condition[];
  readonly addresses?: readonly object[];
}

async function untilReady(cluster: StartedCluster): Promise<void> {
  let last = "the kubelet has not made its Node";
  for (const began = performance.now(); performance.now() - began < READY_WITHIN_MS; await sleep(50)) {
    const { status, body } = await cluster.admin.send({ method: "GET", path: `/api/v1/nodes/${NAME}` }, forever);
    if (status !== 200) continue;
    const { conditions = [], addresses = [] } = (body as { readonly status: NodeStatus }).status;
    const ready = conditions.find((it) => it.type === "Ready");
    if (ready?.status === "True") return addresses.length > 0 ? undefined : await giveAddress(cluster);
    last = ready?.message ?? "its Node has no condition yet";
  }
  throw new Error(
    `the real node was not ready within ${READY_WITHIN_MS / 1000} s: ${last}. Its log: ${cluster.folder}/kubelet.log`,
  );
}

/** On a computer without a network the kubelet finds no address of its own, and nobody could read a log. */
async function giveAddress({ admin }: StartedCluster): Promise<void> {
  const path = `/api/v1/nodes/${NAME}/status`;
  const contentType = "application/strategic-merge-patch+json";
  const body = { status: { addresses: [{ type: "Hostname", address: NAME }] } };
  const answer = await admin.send({ method: "PATCH", path, contentType, body }, forever);
  if (answer.status !== 200) throw new Error(`the node was given no address: ${answer.status} ${JSON.stringify(answer.body)}`);
}

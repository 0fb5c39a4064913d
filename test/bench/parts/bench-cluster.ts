/**
 * The cluster that a bench runs against: a real control plane, or the pocket.
 *
 * The failure this prevents: a ceiling that was measured on another cluster, or with another credential, than the launches
 * beside it.
 */
import { writeFile } from "node:fs/promises";
import path from "node:path";
import { type ClusterChoice, NAMESPACE } from "@longshore/cli/embedded/home.ts";
import { connect, type CredentialSettings } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { kubernetes, type KubernetesOptions } from "../../harness/kubernetes/kubernetes.ts";
import { type PocketPods, type PocketProcess, startPocketProcess } from "../../harness/servers/pocket.ts";
import { openAuditLog, openRequestLog, type RequestLog } from "./requests.ts";

export interface RealCluster extends BenchCluster {
  /** Has an administrator's rights: the bench writes what controllers would write. */
  readonly admin: Transport;
}

export interface BenchCluster extends AsyncDisposable {
  /** "Kubernetes v1.34.4 (API server and etcd)". */
  readonly product: string;
  readonly choice: ClusterChoice;
  readonly pids: Readonly<Record<string, number>>;
  /** Requests of the users whose credentials the choice holds. */
  readonly requests: RequestLog;
}

/** Connects with the credential of the launcher or of the watcher. */
export async function transportOf(choice: ClusterChoice, as: "launch" | "watch"): Promise<Transport> {
  const connected = await connect({ cluster: choice.cluster, credential: choice[as] as CredentialSettings, clock });
  if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
  return openTransport(connected.connection);
}

/** The pocket in a process of its own. */
export interface PocketCluster extends BenchCluster {
  readonly pocket: PocketProcess;
}

export async function pocketCluster(
  home: string,
  { pods = "instant" }: { readonly pods?: PocketPods } = {},
): Promise<PocketCluster> {
  const requestLog = path.join(home, "requests.jsonl");
  const pocket = await startPocketProcess(home, requestLog, pods);
  const tokenFile = path.join(home, "token");
  await writeFile(tokenFile, pocket.token, { mode: 0o600 });
  const credential = { tokenFile };
  return {
    product: "the pocket",
    pocket,
    choice: { name: "bench", namespace: NAMESPACE, cluster: { server: pocket.url }, launch: credential, watch: credential },
    pids: { pocket: pocket.pid },
    requests: openRequestLog(requestLog),
    [Symbol.asyncDispose]: () => pocket[Symbol.asyncDispose](),
  };
}

const HOUR_SECONDS = 3600;

/** `controllers`: false stops the controller-manager and the scheduler, so that Jobs are objects and nothing more. */
export async function realCluster(
  home: string,
  { nodes, controllers }: { readonly nodes: KubernetesOptions["nodes"]; readonly controllers: boolean },
): Promise<RealCluster> {
  await using started = new AsyncDisposableStack();
  const { clusters } = started.use(await kubernetes({ nodes }));
  const [cluster] = clusters;
  if (cluster === undefined) throw new Error("the harness gave no cluster");
  const namespace = await cluster.namespace("bench");
  const tokenOf = async (account: string): Promise<{ readonly tokenFile: string }> => {
    const tokenFile = path.join(home, `${account}.token`);
    await writeFile(tokenFile, await cluster.token(namespace, account, HOUR_SECONDS), { mode: 0o600 });
    return { tokenFile };
  };
  const [launch, watch] = [await tokenOf("longshore-launcher"), await tokenOf("longshore-watcher")];
  const parts = { "kube-apiserver": cluster.apiServer, etcd: cluster.etcd };
  const { controllers: manager, scheduler, kubelets } = cluster;
  const others = {
    "kube-controller-manager": manager,
    "kube-scheduler": scheduler,
    ...(kubelets && { "simulated-kubelet": kubelets }),
  };
  if (!controllers) for (const it of Object.values(others)) await it.stop();
  const running = Object.entries({ ...parts, ...(controllers && others) });
  const kept = started.move();
  return {
    product: `Kubernetes ${cluster.version} (API server and etcd${controllers ? ", controllers and scheduler" : " alone"})`,
    choice: { name: "bench", namespace, cluster: { server: cluster.url, caFile: cluster.caFile }, launch, watch },
    pids: Object.fromEntries(running.flatMap(([name, { pid }]) => (pid === undefined ? [] : [[name, pid]]))),
    admin: cluster.admin,
    requests: openAuditLog(cluster.auditLog, (user) => user.startsWith(`system:serviceaccount:${namespace}:longshore-`)),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

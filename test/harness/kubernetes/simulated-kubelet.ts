/**
 * Plays the kubelets of nodes that are only objects: keeps the nodes ready, and makes their pods start, run and end.
 *
 *   node test/harness/kubernetes/simulated-kubelet.ts FILE      a file of {url, ca, token}
 *
 * It is a process of its own, so that a test's own work does not slow the pods down, and it shares a control plane's fate: while
 * the API server is away it waits, and then looks at all pods anew.
 */
import { readFile } from "node:fs/promises";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import type { ApiRequest, Transport } from "@longshore/kubernetes/transport.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { endedStatus, nextOf, runningStatus, type SimulatedPod } from "./simulated-pods.ts";

export interface KubeletPlace {
  readonly url: string;
  readonly ca: string;
  readonly token: string;
}

export const NODES = ["simulated-0", "simulated-1", "simulated-2", "simulated-3"];
const forever = new AbortController().signal;
const AGAIN_MS = 200;
/** The control plane takes a node for dead that has not renewed its lease for 40 seconds. */
const RENEW_MS = 10_000;
const PODS = "/api/v1/pods?fieldSelector=spec.nodeName!%3D";

if (import.meta.main) {
  const place = JSON.parse(await readFile(process.argv[2] ?? "", "utf8")) as KubeletPlace;
  const connected = await connect({
    cluster: { server: place.url, ca: place.ca },
    credential: { token: place.token },
    clock,
  });
  if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
  const transport = openTransport(connected.connection);
  await Promise.all([keepNodes(transport), playPods(transport)]);
}

async function keepNodes(transport: Transport): Promise<never> {
  for (;;) {
    await Promise.all(NODES.map((it) => keepNode(transport, it))).catch(() => undefined); // the API server is away
    await clock.sleep(RENEW_MS);
  }
}

async function keepNode(transport: Transport, name: string): Promise<void> {
  const now = new Date(clock.now()).toISOString();
  const leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
  const spec = { holderIdentity: name, leaseDurationSeconds: 40, renewTime: now.replace("Z", "000Z") };
  const patch = { method: "PATCH", contentType: "application/merge-patch+json" } as const;
  const renewed = await transport.send({ ...patch, path: `${leases}/${name}`, body: { spec } }, forever);
  if (renewed.status !== 404) return;
  const room = { cpu: "1000", memory: "4Ti", pods: "20000" };
  const conditions = [
    { type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: now, lastTransitionTime: now },
    ...["MemoryPressure", "DiskPressure", "PIDPressure"].map((type) => ({
      ...{ type, status: "False", reason: "Enough", lastHeartbeatTime: now, lastTransitionTime: now },
    })),
  ];
  const node = {
    ...{ apiVersion: "v1", kind: "Node", metadata: { name, labels: { "kubernetes.io/hostname": name } } },
    status: { capacity: room, allocatable: room, conditions },
  };
  await transport.send({ method: "POST", path: "/api/v1/nodes", body: node }, forever);
  const lease = { apiVersion: "coordination.k8s.io/v1", kind: "Lease", metadata: { name, namespace: "kube-node-lease" }, spec };
  await transport.send({ method: "POST", path: leases, body: lease }, forever);
}

async function playPods(transport: Transport): Promise<never> {
  const pods = new Map<string, SimulatedPod>();
  /** The pods that something is being done for, or that run. A version of a pod that comes meanwhile is looked at afterwards. */
  const busy = new Map<string, AbortController>();
  let started = 0;

  async function act(pod: SimulatedPod, signal: AbortSignal): Promise<void> {
    const { name, namespace, uid, finalizers } = pod.metadata;
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    const patch = { method: "PATCH", contentType: "application/merge-patch+json" } as const;
    const must = async (request: ApiRequest): Promise<void> => {
      const answer = await transport.send(request, forever);
      if (answer.status >= 300 && answer.status !== 404) throw new Error(`${request.method} ${path}: ${answer.status}`);
    };
    const status = (it: object) => must({ ...patch, path: `${path}/status`, body: { metadata: { uid }, status: it } });
    const next = nextOf(pod);
    if (next === "nothing") return;
    if (next === "start") {
      started++;
      await status(runningStatus(pod, `10.${1 + (started >> 16)}.${(started >> 8) & 255}.${started & 255}`, clock.now()));
    } else if (next === "remove") {
      if ((finalizers ?? []).length > 0) await must({ ...patch, path, body: { metadata: { uid, finalizers: null } } });
      await must({ method: "DELETE", path, body: { gracePeriodSeconds: 0, preconditions: { uid } } });
    } else {
      await clock.sleep(next.endInMs, signal);
      if (!signal.aborted) await status(endedStatus(pod, clock.now()));
    }
  }

  function look(pod: SimulatedPod): void {
    const { uid, deletionTimestamp } = pod.metadata;
    pods.set(uid, pod);
    const now = busy.get(uid);
    if (now !== undefined) {
      if (deletionTimestamp !== undefined) now.abort(); // it runs no longer
      return;
    }
    const stop = new AbortController();
    busy.set(uid, stop);
    const again = (isFailed: boolean): void => {
      busy.delete(uid);
      const newer = pods.get(uid);
      if (newer !== undefined && (isFailed || newer !== pod || stop.signal.aborted)) look(newer);
    };
    act(pod, stop.signal).then(
      () => again(false),
      () => void clock.sleep(AGAIN_MS).then(() => again(true)), // the API server is away
    );
  }

  async function listAndWatch(): Promise<void> {
    const { status, body } = await transport.send({ method: "GET", path: PODS }, forever);
    if (status !== 200) return;
    const { metadata, items } = body as { metadata: { resourceVersion: string }; items: SimulatedPod[] };
    pods.clear();
    for (const it of items) look(it);
    const path = `${PODS}&watch=true&resourceVersion=${metadata.resourceVersion}`;
    const stream = await transport.open({ method: "GET", path }, forever);
    if (stream.status !== 200) return;
    for await (const line of stream.lines) {
      const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: SimulatedPod };
      if (type === "ERROR") return;
      if (type === "DELETED") pods.delete(object.metadata.uid);
      else look(object);
    }
  }

  for (;;) {
    await listAndWatch().catch(() => undefined); // the API server is away
    await clock.sleep(AGAIN_MS);
  }
}

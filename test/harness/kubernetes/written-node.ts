/**
 * A node that is only an object. Pods are scheduled to it and nothing runs them, so that a test can write what a kubelet would.
 *
 * The failure this prevents: tests of preemption, eviction and lost nodes whose pods end in less than a second, as those of
 * simulated-nodes.ts do.
 */
import { found, type Admin, podPath, type Shown } from "./admin.ts";

export interface WrittenNode extends AsyncDisposable {
  readonly name: string;
  /** Deletes the Node, as a cluster does when the node's machine is gone. */
  remove(): Promise<void>;
  taint(taint: { readonly key: string; readonly effect: "NoSchedule" | "NoExecute" }): Promise<void>;
}

/** Makes a Node that says once that it is ready; the controllers believe that for 40 seconds. */
export async function writtenNode(hand: Admin, name: string, room: { readonly cpu: string }): Promise<WrittenNode> {
  const path = `/api/v1/nodes/${name}`;
  const allocatable = { memory: "8Gi", pods: "110", ...room };
  const now = new Date().toISOString();
  const ready = { type: "Ready", status: "True", reason: "KubeletReady", lastHeartbeatTime: now, lastTransitionTime: now };
  await hand.must("POST", "/api/v1/nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name, labels: { "kubernetes.io/hostname": name } },
    status: { capacity: allocatable, allocatable, conditions: [ready] },
  });
  await hand.writeStatus(path, { conditions: [ready] });
  await found("the node to be ready", async () => taintsOf(await hand.must("GET", path)).length === 0);
  let there = true;
  const remove = async (): Promise<void> => {
    if (there) await hand.must("DELETE", path);
    there = false;
  };
  return {
    name,
    remove,
    taint: async (taint) => void (await hand.must("PATCH", path, { spec: { taints: [taint] } })),
    [Symbol.asyncDispose]: remove,
  };
}

const taintsOf = (node: Shown): readonly unknown[] => (node["spec"] as { readonly taints?: readonly unknown[] }).taints ?? [];

/** Waits until the Job's pod has a node, and writes as its kubelet that it runs. */
export async function runningPod(hand: Admin, namespace: string, job: string): Promise<Shown> {
  const pod = await found("the pod to be on a node", async () =>
    (await hand.podsOf(namespace, job)).find((it) => (it["spec"] as { readonly nodeName?: string }).nodeName !== undefined),
  );
  const started = new Date().toISOString();
  const container = {
    name: "main",
    image: "registry.example/orders/export:1",
    imageID: "",
    ready: true,
    restartCount: 0,
    started: true,
  };
  return await hand.writeStatus(podPath(namespace, pod.metadata.name), {
    phase: "Running",
    startTime: started,
    containerStatuses: [{ ...container, state: { running: { startedAt: started } } }],
  });
}

/** Writes as the pod's kubelet that it failed, and how. */
export async function failPod(hand: Admin, namespace: string, pod: string, status: object = {}): Promise<void> {
  await hand.writeStatus(podPath(namespace, pod), { phase: "Failed", ...status });
}

// runs at most 15 min
/**
 * The suite that the pocket passes, against a real API server with its controllers. Nodes are simulated;
 * real-node.test.ts has the cases that need a real container.
 */
// needs kubernetes
import { clusterConformance } from "@longshore/kubernetes/testing/conformance.ts";
import t from "tap";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { openIn } from "./cluster.ts";

t.setTimeout(0);
const started = await kubernetes({ nodes: "simulated" });
t.teardown(() => started[Symbol.asyncDispose]());
const cluster = only(started.clusters);

await clusterConformance(t, {
  name: `Kubernetes ${cluster.version} with simulated nodes`,
  pods: "instant",
  image: "registry.invalid/never-pulled:1",
  atOnce: 8,
  open: () => openIn(cluster),
});

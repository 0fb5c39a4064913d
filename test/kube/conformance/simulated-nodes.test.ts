// runs at most 15 min
/**
 * The suite that the pocket passes, against a real API server with its controllers. Nodes are simulated: for another version of
 * Kubernetes, and for a machine that can have no real node. Elsewhere real-node.test.ts has all these cases, and those that need
 * a real container, on the same version.
 */
// needs kubernetes
import { clusterConformance } from "@longshore/kubernetes/testing/conformance.ts";
import t from "tap";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { askedVersion, NODE_VERSION } from "../../harness/kubernetes/programs.ts";
import { missing, thisMachine } from "../../runner/needs.ts";
import { openIn } from "./cluster.ts";

t.setTimeout(0);
if (askedVersion() === NODE_VERSION && missing("node", await thisMachine()) === undefined) {
  t.pass("real-node.test.ts has all these cases");
  t.end();
} else {
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
}

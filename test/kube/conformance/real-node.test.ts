// needs kubernetes, node
// runs at most 15 min
/** The same suite on a real node: a containerd and a kubelet under a real API server and its controllers. */
import { clusterConformance } from "@longshore/kubernetes/testing/conformance.ts";
import t from "tap";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { openIn } from "./cluster.ts";

t.setTimeout(0); // each wait has its own bound
const started = await kubernetes({ nodes: "real" });
t.teardown(() => started[Symbol.asyncDispose]());
const cluster = only(started.clusters);

await clusterConformance(t, {
  name: `Kubernetes ${cluster.version} with a real node`,
  pods: "processes",
  image: BUSYBOX,
  outlasts: 12,
  atOnce: 6,
  open: () => openIn(cluster),
});

/** Following Jobs through the fault proxy, on a real API server, as a watcher's service account. */
// needs kubernetes
// runs at most 8 min
import t from "tap";
import { followFaults } from "../harness/follow-faults.ts";
import type { Ground } from "../harness/follow-stage.ts";
import { kubernetes } from "../harness/kubernetes/kubernetes.ts";

t.setTimeout(0);

const real = await kubernetes({ nodes: "none" });
t.teardown(() => real[Symbol.asyncDispose]());
const [cluster] = real.clusters;
if (cluster === undefined) throw new Error("no cluster was started");

const ground: Ground = {
  url: cluster.url,
  ca: cluster.ca,
  admin: cluster.admin,
  room: async () => {
    const namespace = await cluster.namespace("follow");
    return { namespace, token: await cluster.token(namespace, "longshore-watcher") };
  },
  forget: () => cluster.forget(),
};

followFaults(t, () => ground);

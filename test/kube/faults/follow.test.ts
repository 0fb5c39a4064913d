/** Following Jobs through the fault proxy, on a real API server, as a watcher's service account. */
// needs kubernetes
// runs at most 8 min
import t from "tap";
import { followFaults } from "../../harness/faults/follow-faults.ts";
import { type Ground, stage } from "../../harness/faults/follow-stage.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { watchFaults } from "../../harness/faults/watch-faults.ts";

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
watchFaults(t, () => ground);

t.test("survives 19 an etcd that was restored: what came after the snapshot is gone, and versions begin again", async (t) => {
  await using it = await stage(ground, { jobs: ["a", "b"], stallMs: 3_000 });
  it.follow();
  await it.said((change) => change.kind === "listed");
  await it.agreed();
  const snapshot = await cluster.snapshot();
  for (const name of ["lost-1", "lost-2", "lost-3"]) await it.create(name);
  await it.remove("a");
  await it.agreed();
  await cluster.restore(snapshot);
  const begun = performance.now();
  await it.create("after");
  await it.agreed();
  t.comment(`both agree ${Math.round(performance.now() - begun)} ms after the restored API server was ready`);
  t.equal(it.ended(), undefined, "it goes on");
});

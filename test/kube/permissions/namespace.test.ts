/**
 * Somebody deletes a namespace while Jobs of ours are in it. Once the last pods are gone, Kubernetes deletes the very Roles
 * that let us release the Jobs, so all Jobs must be released before that (fault 30 in GUARANTEES.md).
 */
// needs kubernetes
// runs with kube
import t from "tap";
import { found, adminOf, only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { annotated } from "../../harness/kubernetes/simulated-pods.ts";
import { openSystem } from "../../harness/system.ts";

t.setTimeout(0);
await using test = await kubernetes({ nodes: "simulated", shared: true });
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);
await using system = await openSystem({ clusters: [cluster] });
await using _launcher = await system.launcher();
await using _watcher = await system.watcher();
const { namespace } = system.site;
const runs = ["running/1", "running/2", "running/3"];

await t.test("the namespace is gone, without an administrator's hand, and each run is told why it ended", async (t) => {
  for (const run of runs) {
    const step = { image: "demo/quick:1", command: ["true"], retries: { max: 0 } };
    await system.command("run.requested", { run, ...step, ...annotated({ runsFor: "300s" }) });
  }
  for (const run of runs) await system.heard("run.started", run);
  await admin.must("DELETE", `/api/v1/namespaces/${namespace}`);
  await system.ended(runs);
  for (const run of runs) {
    const { data } = await system.heard("run.failed", run);
    t.match(JSON.stringify(data), /DeletedExternally/);
  }
  await found(
    "the namespace to be gone",
    async () => (await admin.ask({ method: "GET", path: `/api/v1/namespaces/${namespace}` })).status === 404,
  );
  t.pass("no hold has kept it");
  const { health, diagnosis } = only(await system.ledger.groups());
  t.match({ health, diagnosis }, { health: "unhealthy", diagnosis: { code: "NamespaceTerminating" } });
  t.comment(diagnosis?.sentence ?? "", diagnosis?.hint ?? "");
});

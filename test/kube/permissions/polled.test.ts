/**
 * A group whose cluster allows no watch. With `poll`, a watcher that may only get and list tells its runs from start to end,
 * and never tries to watch.
 */
// needs kubernetes
// runs at most 5 min
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { rulesOf } from "@longshore/kubernetes/permissions/rbac.ts";
import t from "tap";
import { parse, stringify } from "yaml";
import { adminOf, only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { openSystem } from "../../harness/system.ts";
import { jobOf, kubectl, lasting, quick, sent } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using cloud = await kubernetes({ nodes: "simulated", shared: true });
const cluster = only(cloud.clusters);
await using system = await openSystem({ clusters: [cluster] });
const { site } = system;

const role = `/apis/rbac.authorization.k8s.io/v1/namespaces/${site.namespace}/roles/longshore-watcher`;
await adminOf(cluster.admin).must("PATCH", role, { rules: rulesOf("watcher", { polls: true }) });
const file = path.join(system.home, "groups.yaml");
const { groups } = parse(await readFile(file, "utf8")) as { readonly groups: Readonly<Record<string, object>> };
const polled = Object.fromEntries(Object.entries(groups).map(([name, group]) => [name, { ...group, poll: "2s" }]));
await writeFile(file, stringify({ groups: polled }), { mode: 0o600 });
await using watcher = await system.watcher();
await using _launcher = await system.launcher();

await t.test("a run is told of to its end", async (t) => {
  await sent(system, ["polled/a"], quick);
  await system.ended(["polled/a"]);
  t.same(await system.faults(["polled/a"]), []);
});

await t.test("a Job that somebody deletes is noticed", async (t) => {
  await sent(system, ["polled/deleted"], lasting("300s"));
  await system.heard("run.started", "polled/deleted");
  await kubectl(cluster, site, "delete", "job", await jobOf(system, "polled/deleted"), "--wait=false");
  const { data } = await system.heard("run.failed", "polled/deleted");
  t.match(data, { diagnosis: { code: "DeletedExternally" } });
});

await t.test("nothing was watched", async (t) => {
  const metrics = await watcher.metrics();
  t.match(metrics, /longshore_kubernetes_requests_total\{group="a",purpose="list",code="200"\}/);
  t.notMatch(metrics, /purpose="watch"/);
});

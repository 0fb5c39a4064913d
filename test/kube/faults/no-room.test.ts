/**
 * A namespace without room, or one that goes away: quotas on Jobs and on pods, and a namespace that is being deleted. On two
 * real control planes, of which one accepts what the other cannot. (Faults 30–32 in GUARANTEES.md.)
 */
// needs kubernetes, rabbitmq
// runs at most 10 min
import t from "tap";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { attemptOf, jobOf, lasting, names, quick, sent, shown, stripped } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "simulated", clusters: 2, shared: true });
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: cloud.clusters });
await using _watcher = await system.watcher();
await using launcher = await system.launcher();
const [a, b] = system.sites;
if (a === undefined || b === undefined) throw new Error("two groups were asked for");

const codeOf = ({ data }: { readonly data: unknown }): unknown => (data as { diagnosis?: { code?: string } }).diagnosis?.code;
const quota = (name: string, hard: Readonly<Record<string, string>>): object => ({
  apiVersion: "v1",
  kind: "ResourceQuota",
  metadata: { name },
  spec: { hard },
});
const counted = async (name: string): Promise<boolean> =>
  ((await a.ask("GET", `resourcequotas/${name}`)) as { status?: { used?: object } }).status?.used !== undefined;
const toldWaiting = (run: string): boolean =>
  system.received.some(
    (it) => it.subject === run && it.type === "run.waiting" && JSON.stringify(it.data).includes("QuotaExceeded"),
  );

await t.test(
  "a quota on the number of Jobs: two run, the others wait and say QuotaExceeded, and go on when there is room",
  async (t) => {
    await a.ask("POST", "resourcequotas", quota("few-jobs", { "count/jobs.batch": "2" }));
    await system.until("the quota to be counted", () => counted("few-jobs"));
    const runs = names("quota", 5);
    await sent(system, runs, { ...lasting("3s"), groups: ["a"] });
    await system.until("three to say what they wait for", () => runs.filter(toldWaiting).length >= 3);
    t.equal((await shown(a, "jobs")).length, 2, "as many Jobs as there is room for");
    await a.ask("PATCH", "resourcequotas/few-jobs", { spec: { hard: { "count/jobs.batch": "50" } } });
    await Promise.all(runs.map((run) => system.heard("run.succeeded", run)));
    t.same(await system.faults(runs), []);
    await a.ask("DELETE", "resourcequotas/few-jobs");
  },
);

await t.test(
  "a quota on pods: the Job is there and cannot start; the run says that it is stalled by QuotaExceeded, and goes on",
  async (t) => {
    await a.ask("POST", "resourcequotas", quota("few-pods", { pods: "1" }));
    await system.until("the quota to be counted", () => counted("few-pods"));
    await sent(system, ["pods/first"], { ...lasting("300s"), groups: ["a"] });
    await system.heard("run.started", "pods/first");
    await sent(system, ["pods/second"], { ...quick, groups: ["a"] });
    t.equal(codeOf(await system.heard("run.stalled", "pods/second")), "QuotaExceeded");
    await a.ask("DELETE", "resourcequotas/few-pods");
    t.equal((await system.heard("run.succeeded", "pods/second")).type, "run.succeeded");
    await system.command("run.cancel", { run: "pods/first" });
    t.same(await system.faults(["pods/first", "pods/second"]), []);
  },
);

await t.test("a quota that no pod can ever meet: the run fails and says so", async (t) => {
  await a.ask("POST", "resourcequotas", quota("no-pods", { pods: "0" }));
  await system.until("the quota to be counted", () => counted("no-pods"));
  await sent(system, ["pods/none"], { ...quick, groups: ["a"] });
  t.equal(codeOf(await system.heard("run.failed", "pods/none")), "QuotaImpossible");
  t.same(await system.faults(["pods/none"]), []);
  await a.ask("DELETE", "resourcequotas/no-pods");
});

const isGone = async (namespace: string): Promise<boolean> =>
  (await cloud.clusters[1]?.kubectl(["get", "namespace", namespace]))?.code !== 0;

async function roles(namespace: string): Promise<number> {
  const said = await cloud.clusters[1]?.kubectl(["-n", namespace, "get", "rolebindings,serviceaccounts", "-o", "name"]);
  return said?.stdout.split("\n").filter((line) => line.includes("longshore")).length ?? 0;
}

async function deleteNamespace(namespace: string): Promise<void> {
  const said = await cloud.clusters[1]?.kubectl(["delete", "namespace", namespace, "--wait=false"]);
  if (said?.code !== 0) throw new Error(said?.stderr);
}

await t.test(
  "a namespace is deleted with the accounts in it: nothing false is told, others go elsewhere, and a person lets go",
  async (t) => {
    await sent(system, ["ending/running"], { ...lasting("300s"), groups: ["b"] });
    await system.heard("run.started", "ending/running");
    // Without a launcher the namespace's Roles and accounts surely go before its Jobs are released.
    await launcher.stop();
    await deleteNamespace(b.namespace);
    await system.until("its Roles to go", async () => (await roles(b.namespace)) === 0);
    await using _late = await system.launcher();
    await sent(system, ["ending/waits"], { ...quick, groups: ["b"] });
    await sent(system, ["ending/elsewhere"], { ...quick, groups: ["b", "a"] });
    t.equal((await system.heard("run.succeeded", "ending/elsewhere")).group, "a");
    await system.heard("run.waiting", "ending/waits");
    const name = await jobOf(system, "ending/running");
    await b.ask("PATCH", `jobs/${name}`, stripped);
    await system.until("the namespace to be gone", () => isGone(b.namespace));
    t.match(
      (await attemptOf(system, "ending/running")).state,
      /live|closing/,
      "what nobody could read is not said to have ended",
    );
    t.match((await attemptOf(system, "ending/waits")).state, /waiting|ready|claimed/, "what waits has not failed");
    await system.command("run.cancel", { run: "ending/waits" });
    await system.command("run.abandon", { run: "ending/running" });
    t.equal(codeOf(await system.heard("run.lost", "ending/running")), "Abandoned");
    t.same(await system.faults(["ending/elsewhere", "ending/waits"]), []);
  },
);

await t.test(
  "a namespace is deleted whose accounts are elsewhere: its runs fail with DeletedExternally, and nothing of ours keeps it",
  async (t) => {
    await system[Symbol.asyncDispose](); // the first system would take the commands of the second
    await using apart = await openSystem({ brokerUrl: rabbit.url, clusters: cloud.clusters.slice(1), accountsElsewhere: true });
    await using _watcher = await apart.watcher();
    await using _launcher = await apart.launcher();
    const runs = names("apart", 5);
    await sent(apart, runs, lasting("300s"));
    await Promise.all(runs.map((run) => apart.heard("run.started", run)));
    await deleteNamespace(apart.site.namespace);
    for (const run of runs) t.equal(codeOf(await apart.heard("run.failed", run)), "DeletedExternally");
    await apart.until("the namespace to be gone", () => isGone(apart.site.namespace));
    t.same(await apart.faults(runs), []);
  },
);

/**
 * Runs with volumes on a real control plane: whose they are, on which node they are mounted, and that nothing of them is left.
 */
// needs kubernetes
// runs at most 10 min
import t, { type Test } from "tap";
import { adminOf, only } from "../../harness/kubernetes/admin.ts";
import { annotated } from "../../harness/kubernetes/simulated-pods.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { VOLUMES_PATH, volumeByHand } from "../../harness/kubernetes/volume-by-hand.ts";
import { openSystem } from "../../harness/system.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { attemptOf, names, quick, sent, shown } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using cloud = await kubernetes({ nodes: "simulated" });
const cluster = only(cloud.clusters);
const { must } = adminOf(cluster.admin);
await using system = await openSystem({ clusters: cloud.clusters });
const { site } = system;
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const CLASS = "by-hand";
for (let n = 0; n < 60; n++) await must("POST", VOLUMES_PATH, volumeByHand({ name: `by-hand-${n}`, for: { class: CLASS } }));

const volume = (name: string) => ({ name, size: "1Gi", class: CLASS });
const step = (name: string, needs: readonly string[] = [], runsFor = "1s", exitCode = 0) => ({
  ...quick,
  name,
  needs,
  mounts: [{ volume: "data", path: "/data" }],
  ...annotated({ runsFor, exitCode }),
});

/** Everything in the namespace that a run could have left, in listings without a selector. */
async function left(): Promise<readonly string[]> {
  const kinds = ["jobs", "pods", "configmaps", "persistentvolumeclaims", "secrets"];
  const all = await Promise.all(
    kinds.map(async (kind) => (await shown(site, kind)).map(({ metadata }) => `${kind}/${metadata.name}`)),
  );
  return all.flat().filter((it) => it !== "configmaps/kube-root-ca.crt");
}

const nothingLeft = async (t: Test, after: string): Promise<void> => {
  await system.until(`nothing to be left after ${after}`, async () => (await left()).length === 0);
  await system.until(`the ledger to know it after ${after}`, async () => (await system.ledger.counts()).anchors === 0);
  t.pass(`nothing is left after ${after}`);
};

const anchorOf = async (run: string) => (await system.ledger.find(RunId.parse(run)))?.record.anchors?.at(-1);

await t.test("three steps share a volume, and when the run has succeeded nothing is left", async (t) => {
  const steps = [step("first"), step("second", ["first"]), step("third", ["second"])];
  await system.command("run.requested", { run: "line", volumes: [volume("data"), volume("more")], steps });
  await system.heard("run.step.succeeded", "line");
  const claims = await shown(site, "persistentvolumeclaims");
  t.equal(claims.length, 2);
  await system.heard("run.succeeded", "line");
  await nothingLeft(t, "its success");
  t.same(await system.faults(["line"]), []);
});

await t.test("two steps at once on a volume of one node are on the same node", async (t) => {
  const steps = [step("left", [], "5s"), step("right", [], "5s")];
  await system.command("run.requested", { run: "beside", volumes: [volume("data")], steps });
  const nodes = async () => (await shown(site, "pods")).map(({ spec }) => spec["nodeName"]);
  await system.until("both pods to have a node", async () => (await nodes()).filter((it) => it !== undefined).length === 2);
  t.equal(new Set(await nodes()).size, 1);
  await system.heard("run.succeeded", "beside");
  await nothingLeft(t, "both");
});

await t.test("a cancelled run leaves nothing", async (t) => {
  await system.command("run.requested", { run: "cancelled", volumes: [volume("data")], steps: [step("long", [], "300s")] });
  await system.heard("run.started", "cancelled");
  await system.command("run.cancel", { run: "cancelled" });
  await system.heard("run.cancelled", "cancelled");
  await nothingLeft(t, "its cancel");
  t.same(await system.faults(["cancelled"]), []);
});

await t.test("a failed run keeps its volumes, a restart finds them, and free gives them up", async (t) => {
  const steps = [step("good"), step("bad", ["good"], "1s", 3)];
  await system.command("run.requested", { run: "kept", volumes: [volume("data")], steps });
  await system.heard("run.failed", "kept");
  t.equal((await anchorOf("kept"))?.state, "kept");
  const before = (await shown(site, "persistentvolumeclaims")).map(({ metadata }) => metadata.uid);
  await system.command("run.restart", { run: "kept", from: "failed" });
  await system.until(
    "it to fail again",
    () => system.received.filter((it) => it.subject === "kept" && it.type === "run.failed").length === 2,
  );
  t.same(
    (await shown(site, "persistentvolumeclaims")).map(({ metadata }) => metadata.uid),
    before,
  );
  await system.command("run.free", { run: "kept" });
  await nothingLeft(t, "it was freed");
  t.same(await system.faults(["kept"]), []);
});

await t.test("ten runs of two volumes each, on a quota for seven: all succeed", async (t) => {
  const spec = { hard: { persistentvolumeclaims: "7" } };
  await site.ask("POST", "resourcequotas", { apiVersion: "v1", kind: "ResourceQuota", metadata: { name: "seven" }, spec });
  const used = async () => ((await site.ask("GET", "resourcequotas/seven")) as { status?: { used?: object } }).status?.used;
  await system.until("the quota to be counted", async () => (await used()) !== undefined);
  const runs = names("seven", 10);
  await sent(system, runs, { volumes: [volume("data"), volume("more")], steps: [step("only")] });
  await Promise.all(runs.map((run) => system.heard("run.succeeded", run, 240_000)));
  await nothingLeft(t, "the ten");
  t.same(await system.faults(runs), []);
  await site.ask("DELETE", "resourcequotas/seven");
});

await t.test("an anchor that somebody deletes takes all with it, and what comes late, too", async (t) => {
  const steps = [step("first", [], "300s"), step("second", ["first"])];
  await system.command("run.requested", { run: "orphan", volumes: [volume("data")], steps });
  await system.heard("run.started", "orphan");
  const { name } = await attemptOf(system, "orphan");
  const owner = ((await site.ask("GET", `jobs/${name}`)) as { metadata: { ownerReferences: readonly { name: string }[] } })
    .metadata.ownerReferences[0];
  await site.ask("DELETE", `configmaps/${owner?.name}`);
  await system.heard("run.failed", "orphan");
  await system.command("run.free", { run: "orphan" });
  await nothingLeft(t, "the deletion");
  t.same(await system.faults(["orphan"]), []);
});

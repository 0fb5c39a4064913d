/**
 * Programs that speak to the cluster's API, on a node that runs real containers: one writes its outputs as annotations of its own
 * pod, one makes pods and is killed.
 */
// needs kubernetes, rabbitmq, node
// runs at most 8 min
import { LABELS } from "@longshore/domain/run/marks.ts";
import t from "tap";
import { found, only } from "../../harness/kubernetes/admin.ts";
import { POD_PROGRAM } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { podProgram } from "../../harness/kubernetes/pod-program.ts";
import { makeStepAccounts } from "../../harness/kubernetes/step-accounts.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { kubectl, sent } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "real" });
const cluster = only(cloud.clusters);
if (cluster.node === undefined) throw new Error("the cluster has no real node");
await cluster.node.addImage(await podProgram());
const policy = { serviceAccounts: ["annotator", "spawner"], tokens: true };
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [cluster], policy });
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const asked = (...words: readonly string[]): Promise<string> => kubectl(cluster, system.site, ...words);
await makeStepAccounts(cluster, system.site.namespace);

const { node } = cluster;
const program = (account: string, text: string, more: object = {}): object => ({
  image: POD_PROGRAM,
  command: ["sh", "-ec", text],
  env: { ...node.env, IMAGE: POD_PROGRAM, POD: { field: "metadata.name" } },
  serviceAccount: { name: account, token: true },
  ...more,
});

await t.test("annotations that a program writes on its own pod are the outputs of its step", async (t) => {
  const run = "children/annotates";
  const text = `pod-program annotate "$POD" rows=7 example.org/file=x.csv`;
  await sent(system, [run], program("annotator", text, { outputs: { annotations: ["rows", "example.org/file"] } }));
  const { data } = await system.heard("run.succeeded", run, 120_000);
  t.match(data, { outputs: { rows: "7", "example.org/file": "x.csv" } });
  t.same(await system.faults([run]), []);
});

await t.test("a program that annotates another pod is refused by the policy, and its step fails with its words", async (t) => {
  await asked("run", "another", "--image", POD_PROGRAM, "--restart", "Never", "--command", "--", "sleep", "600");
  const run = "children/annotates-another";
  await sent(system, [run], program("annotator", "pod-program annotate another rows=7"));
  const { data } = await system.heard("run.failed", run, 120_000);
  t.match(data, { log: { tail: /A step's program changes no pod but its own/ } });
  await asked("delete", "pod", "another", "--now");
});

const spawning = `pod-program spawn $NAME-1 sleep 600; pod-program spawn $NAME-2 true; sleep 2; `;
for (const { how, rest, outcome } of [
  { how: "is-killed", rest: "tail /dev/zero", outcome: "run.failed" },
  { how: "succeeds", rest: "true", outcome: "run.succeeded" },
  { how: "is-cancelled", rest: "sleep 600", outcome: "run.cancelled" },
] as const)
  await t.test(`nothing is left of the pods that a program made which ${how.replaceAll("-", " ")}`, async (t) => {
    const run = `children/${how}`;
    const limits = { memory: "64Mi" };
    const asks = program("spawner", spawning + rest, { grace: "1s", resources: { limits, requests: limits } });
    await sent(system, [run], { ...asks, env: { ...node.env, IMAGE: POD_PROGRAM, NAME: how } });
    const children = (): Promise<string> => asked("get", "pods", "-l", LABELS.parent, "-o", "name");
    await found("two children", async () => (await children()).split("\n").filter((it) => it !== "").length === 2, 120_000);
    if (outcome === "run.cancelled") await system.command("run.cancel", { run });
    await system.heard(outcome, run, 120_000);
    t.equal(await children(), "", "none was there when the end was told");
    t.same(await system.faults([run]), []);
  });

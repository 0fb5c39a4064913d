/**
 * Both definitions of Lando's example on a node that runs real containers, from Bespin's message to what Bespin is told: volumes
 * made by hand, a failure and a restart with the same files, a cancel; and at the end nothing is left in the namespace.
 */
// needs kubernetes, rabbitmq, node
// runs at most 12 min
import t, { type Test } from "tap";
import { adminOf, only } from "../../harness/kubernetes/admin.ts";
import { POD_PROGRAM } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { podProgram } from "../../harness/kubernetes/pod-program.ts";
import { makeStepAccounts } from "../../harness/kubernetes/step-accounts.ts";
import { VOLUMES_PATH, volumeByHand } from "../../harness/kubernetes/volume-by-hand.ts";
import { DEFINITIONS, landoStage, POLICY, VARIANTS } from "../../harness/lando/stage.ts";
import { pythonWithPika } from "../../harness/python.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { shown } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const python = await pythonWithPika((sentence) => t.comment(sentence));
await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "real" });
const cluster = only(cloud.clusters);
const { node } = cluster;
if (node === undefined) throw new Error("the cluster has no real node");
await node.addImage(await podProgram());
const { must } = adminOf(cluster.admin);
const launcher = { definitionsDir: DEFINITIONS };
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [cluster], policy: POLICY, launcher });
const { site } = system;
await using stage = await landoStage({ brokerUrl: rabbit.url, ledgerUrl: system.postgres.url, python });
const { bespin } = stage;

const GIVEN = "given-by-people"; // what a run must not touch
const claim = { accessModes: ["ReadWriteMany"], resources: { requests: { storage: "1Gi" } }, storageClassName: GIVEN };
for (const [kind, name, more] of [
  ["PersistentVolumeClaim", "system-data", { spec: claim }],
  ["Secret", "ddsclient-agent", { stringData: { config: "agent_key: none" } }],
  ["ServiceAccount", "workflow", {}],
] as const)
  await site.ask("POST", `${kind.toLowerCase()}s`, { apiVersion: "v1", kind, metadata: { name }, ...more });
await makeStepAccounts(cluster, site.namespace, ["annotator"]);
for (let n = 0; n < 9; n++) {
  const of = { class: n === 0 ? GIVEN : "glusterfs-storage" };
  await must("POST", VOLUMES_PATH, volumeByHand({ name: `by-hand-${n}`, for: of, size: "20Gi" }));
}

/** Where the API server is: a cluster with a network of its own tells each container so by itself. */
const reach = Object.entries(node.env).map(([name, value]) => `export ${name}=${value}`);
const annotates = [...reach, 'pod-program annotate "$MY_POD_NAME" project_id=p-1 readme_file_id=r-1'].join("; ");
/** In place of lando-util and Calrissian, with their words. */
const does = {
  stage_data: `grep -q agent_key "$DDSCLIENT_CONF"; grep -q '"items"' "$1"; echo '[]' > "$2"; echo staged > /bespin/job-data/reads`,
  run_workflow: `grep staged /bespin/job-data/reads; test -n "$CALRISSIAN_POD_NAME"; ls /bespin/system; grep -q longshore.dev/parent /bespin/config/pod-labels.json
    if touch /bespin/job-data/mine 2> /dev/null; then echo 'the inputs can be changed'; exit 4; fi
    mkdir -p /bespin/output-data/results; echo called > /bespin/output-data/results/calls`,
  organize_output: `grep -q '"workflow_type":"zipped"' "$1"
    if [ ! -e /bespin/output-data/tried ]; then touch /bespin/output-data/tried; echo 'no such sample'; exit 3; fi
    grep called /bespin/output-data/results/calls`,
  save_output: `grep -q agent_key "$DDSCLIENT_CONF"; grep -q '"dds_user_ids"' "$1"; grep called calls
    if [ "$3" = --outfile-format ]; then printf '{"project_id":"p-1","readme_file_id":"r-1"}' > "$2"; else echo '${annotates}' > "$2"; fi`,
  record_output_project: "exit 9", // never: the step runs the script that the one before wrote
};
const commands = Object.fromEntries(Object.entries(does).map(([step, text]) => [step, ["sh", "-ec", text, step]]));

await using _launcher = await system.launcher();
await using _watcher = await system.watcher();
await stage.recorder();
for (const variant of VARIANTS) await stage.bridge(variant);

const told = (job: number, state: string, last: string): Promise<void> =>
  system.until(
    `job ${job} to be told as ${state}`,
    () => bespin.stateOf(job) === state && bespin.wordsOf(job).at(-1)?.startsWith(last) === true,
    240_000,
  );

/** Everything in the namespace, in listings without a selector, but what people put there. */
async function left(): Promise<readonly string[]> {
  const kinds = ["jobs", "pods", "configmaps", "persistentvolumeclaims", "secrets"];
  const all = await Promise.all(kinds.map(async (kind) => (await shown(site, kind)).map(({ metadata }) => metadata.name)));
  return all.flat().filter((it) => !["kube-root-ca.crt", "system-data", "ddsclient-agent"].includes(it));
}
async function nothingLeft(t: Test): Promise<void> {
  await system.until("nothing to be left", async () => (await left()).length === 0, 120_000);
  t.pass("nothing is left in the namespace");
}

for (const [at, variant] of VARIANTS.entries())
  await t.test(`${variant}: it fails, goes on with the same files, and succeeds`, async (t) => {
    const job = at + 1;
    bespin.add({ id: job, image: POD_PROGRAM, commands });
    await stage.send(variant, { command: "start", job });
    await told(job, "E", "error");
    const begun = ["state R", "step V", "step S", "step R", "step o", "state E", "error o"];
    t.same(bespin.wordsOf(job), begun);
    t.match(bespin.told.at(-1)?.body, { content: "no such sample" });
    await stage.send(variant, { command: "restart", job });
    await told(job, "F", "state F");
    t.same(bespin.wordsOf(job), [
      ...begun,
      "state R",
      "step o",
      "step O",
      "step P",
      `project ${1_000 + job}`,
      "step ''",
      "state F",
    ]);
    t.match(bespin.told.find(({ words }) => words.startsWith(`project ${1_000 + job}`))?.body, {
      project_id: "p-1",
      readme_file_id: "r-1",
    });
    await nothingLeft(t);
  });

await t.test("a cancel while the workflow runs", async (t) => {
  const job = 3;
  bespin.add({ id: job, image: POD_PROGRAM, commands: { ...commands, run_workflow: ["sh", "-ec", "echo working; sleep 600"] } });
  await stage.send("lando", { command: "start", job });
  await system.until("the workflow", () => bespin.wordsOf(job).at(-1) === "step R", 240_000);
  await stage.send("lando", { command: "cancel", job });
  await told(job, "C", "state C");
  t.same(bespin.wordsOf(job), ["state R", "step V", "step S", "step R", "step ''", "state C"]);
  await nothingLeft(t);
});

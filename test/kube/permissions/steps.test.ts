/**
 * The Roles and the policy of `longshore rbac --steps` on a real API server: with its pod's token a program annotates that pod, and
 * changes nothing else.
 */
// needs kubernetes
// runs with kube
import type { Transport } from "@longshore/kubernetes/transport.ts";
import t from "tap";
import { found } from "../../harness/kubernetes/admin.ts";
import { lentPlane } from "../../harness/kubernetes/lent-plane.ts";
import { makeStepAccounts } from "../../harness/kubernetes/step-accounts.ts";

const forever = new AbortController().signal;
const { cluster, admin } = await lentPlane(t);
const namespace = await cluster.namespace();
await makeStepAccounts(cluster, namespace);

async function kubectl(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.kubectl(["-n", namespace, ...args]);
  if (code !== 0 || /warning/i.test(stderr)) throw new Error(`kubectl ${args.join(" ")}: ${stderr}`);
  return stdout.trim();
}

const pods = `/api/v1/namespaces/${namespace}/pods`;
const podOf = (name: string, serviceAccountName: string) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: "x" }, annotations: { "longshore.dev/run-id": "orders/1" } },
  spec: { restartPolicy: "Never", serviceAccountName, containers: [{ name: "main", image: "busybox" }] },
});
for (const name of ["mine", "another"]) await admin.must("POST", pods, podOf(name, "annotator"));
const tokenOf = (account: string, ...bound: readonly string[]): Promise<string> =>
  kubectl(["create", "token", account, ...bound]);
const ofPod = ["--bound-object-kind", "Pod", "--bound-object-name", "mine"];
const program = await cluster.as(await tokenOf("annotator", ...ofPod));

const patch = (as: Transport, pod: string, metadata: object, more: object = {}) =>
  as.send(
    {
      method: "PATCH",
      path: `${pods}/${pod}`,
      contentType: "application/strategic-merge-patch+json",
      body: { metadata, ...more },
    },
    forever,
  );
const written = { annotations: { rows: "7" } };

await t.test("a program writes annotations of its own pod", async (t) => {
  await found("the policy to be in force", async () => (await patch(program, "another", written)).status === 422);
  t.equal((await patch(program, "mine", written)).status, 200);
  t.equal(await kubectl(["get", "pod", "mine", "-o", "jsonpath={.metadata.annotations.rows}"]), "7");
  t.equal((await patch(program, "mine", { annotations: { rows: null } })).status, 200, "and takes them away");
});

for (const { name, pod = "mine", metadata = {}, more, says } of [
  { name: "another pod", pod: "another", metadata: written, says: /changes no pod but its own/ },
  { name: "its pod's labels", metadata: { labels: { app: "y" } }, says: /nothing of its pod but annotations/ },
  { name: "its pod's finalizers", metadata: { finalizers: ["example.org/stay"] }, says: /nothing of its pod but annotations/ },
  { name: "its pod's image", more: { spec: { containers: [{ name: "main", image: "other" }] } }, says: /nothing of its pod but/ },
  { name: "our annotation", metadata: { annotations: { "longshore.dev/run-id": "orders/2" } }, says: /Longshore's own/ },
  { name: "the absence of our annotation", metadata: { annotations: { "longshore.dev/run-id": null } }, says: /Longshore's own/ },
  { name: "what another annotation of ours says", metadata: { annotations: { "longshore.dev/outputs": "x" } }, says: /Longshore's own/ },
]) // biome-ignore format: a table is read down its columns
  await t.test(`a program does not change ${name}`, async (t) => {
    const answer = await patch(program, pod, metadata, more);
    t.match(answer, { status: 422, body: { message: says } });
  });

await t.test("a token that is no pod's changes no pod, and the policy is about accounts of this namespace alone", async (t) => {
  const unbound = await cluster.as(await tokenOf("annotator"));
  t.match(await patch(unbound, "mine", written), { status: 422, body: { message: /changes no pod but its own/ } });
  t.equal((await patch(cluster.admin, "another", { labels: { app: "z" } })).status, 200, "an administrator");
});

await t.test("a program that makes pods may make, follow and delete them, and change none", async (t) => {
  const spawner = await cluster.as(await tokenOf("spawner", ...[]));
  t.equal((await spawner.send({ method: "POST", path: pods, body: podOf("child", "default") }, forever)).status, 201);
  t.equal((await spawner.send({ method: "GET", path: pods }, forever)).status, 200);
  t.equal((await patch(spawner, "child", written)).status, 403);
  t.equal((await spawner.send({ method: "DELETE", path: `${pods}/child`, body: {} }, forever)).status, 200);
  t.equal((await spawner.send({ method: "GET", path: `/api/v1/namespaces/${namespace}/secrets` }, forever)).status, 403);
});

/** The Roles of `longshore rbac` on a real API server: it accepts them, they are enough, and they allow nothing more. */
// needs kubernetes
// runs with kube
import { randomBytes } from "node:crypto";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { rbac } from "@longshore/cli/commands/rbac.ts";
import { openReads } from "@longshore/kubernetes/request/read.ts";
import { rulesOf } from "@longshore/kubernetes/permissions/rbac.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { openWrites } from "@longshore/kubernetes/request/write.ts";
import { HOLD, LABELS } from "@longshore/domain/run/marks.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import t from "tap";
import { discover, type Resource } from "../../harness/kubernetes/discovery.ts";
import { found, heldJob, jobPath, plainJob } from "../../harness/kubernetes/admin.ts";
import { lentPlane } from "../../harness/kubernetes/lent-plane.ts";

const forever = new AbortController().signal;
const { cluster, admin } = await lentPlane(t);
const folder = await fs.mkdtemp(path.join(tmpdir(), "longshore-permissions-"));
t.teardown(() => fs.rm(folder, { recursive: true, force: true }));

async function printed(...args: readonly string[]): Promise<string> {
  let out = "";
  await rbac.run(args, { out: (text) => void (out += text), env: {}, cwd: folder, signal: forever });
  return out;
}

async function bare(prefix: string): Promise<string> {
  const name = `${prefix}-${randomBytes(4).toString("hex")}`;
  const made = await cluster.kubectl(["create", "namespace", name]);
  if (made.code !== 0) throw new Error(made.stderr);
  return name;
}

t.test("the objects printed for a namespace, and for a group with two, are accepted, and there are no others", async (t) => {
  const [plain, first, second] = [await bare("plain"), await bare("first"), await bare("second")];
  const groups = path.join(folder, "groups.yaml");
  await fs.writeFile(groups, `groups: { prod-a: { cluster: { inCluster: true }, namespaces: [${first}, ${second}] } }\n`);
  for (const text of [await printed("--namespace", plain), await printed("prod-a", "--groups", groups)]) {
    const applied = await cluster.kubectl(["apply", "--server-side", "-f", "-"], text);
    t.equal(applied.code, 0, applied.stderr);
    t.equal(applied.stderr, "", "and no warning");
  }
  for (const namespace of [plain, first, second]) {
    const found = await cluster.kubectl(["-n", namespace, "get", "role,rolebinding,serviceaccount", "-o", "name"]);
    t.same(
      found.stdout
        .trim()
        .split("\n")
        .filter((it) => it.includes("longshore")).length,
      6,
      `the objects of both roles are in ${namespace}`,
    );
  }
  const again = await cluster.kubectl(["apply", "--server-side", "-f", "-"], await printed("--namespace", plain));
  t.equal(again.code, 0, "applying it again changes nothing and is no fault");
});

for (const role of ["launcher", "watcher"] as const) {
  t.test(`the ${role} may do what its list says, and nothing else that this cluster knows`, async (t) => {
    const namespace = await cluster.namespace();
    const elsewhere = await cluster.namespace();
    const token = await cluster.token(namespace, `longshore-${role}`);
    const transport = await cluster.as(token);
    const resources = await discover(cluster.admin);
    t.ok(resources.length > 60, `${resources.length} resources were found, with their subresources`);
    const listed = (verb: string, { group, resource }: Resource): boolean =>
      rulesOf(role, { volumes: true, secretValues: true, prepared: true }).some(
        (it) => it.apiGroups.includes(group) && it.resources.includes(resource) && it.verbs.includes(verb),
      );
    const wrong: string[] = [];
    for (const where of [namespace, elsewhere, undefined]) {
      for (const it of resources) {
        for (const verb of VERBS) {
          const wanted = where === namespace && it.namespaced && listed(verb, it);
          const isOwn = where === namespace && it.resource === "namespaces" && verb === "get" && role === "launcher";
          if (isOwn || isReview(it)) continue;
          if ((await may(transport, verb, it, where)) !== wanted)
            wrong.push(`${verb} ${it.group}/${it.resource} in ${where ?? "the cluster"}: ${wanted ? "refused" : "allowed"}`);
        }
      }
    }
    t.same(wrong, []);
  });
}

t.test(
  "the launcher really creates, reads, releases and deletes Jobs with its token, and nothing in another namespace",
  async (t) => {
    const namespace = await cluster.namespace();
    const elsewhere = await cluster.namespace();
    const transport = await cluster.as(await cluster.token(namespace, "longshore-launcher"));
    const writes = openWrites({ transport, clock, namespace });
    const reads = openReads({ transport, clock, namespace });
    const created = await writes.createJob(heldJob("one", namespace), forever);
    t.equal(created.kind, "created");
    if (created.kind !== "created") return;
    t.equal((await reads.getNamespace(forever)).kind, "found", "its own namespace, whose UID tells clusters apart");
    t.equal((await reads.getJob("one", forever)).kind, "found");
    t.equal((await reads.podsOf(created.uid, forever)).kind, "listed");
    const quotas = { method: "GET", path: `/api/v1/namespaces/${namespace}/resourcequotas` } as const;
    t.equal((await transport.send(quotas, forever)).status, 200);
    t.equal((await writes.releaseJob("one", created.uid, HOLD, { ttlSeconds: 60 }, forever)).kind, "done");
    t.equal((await writes.deleteJob("one", created.uid, { propagation: "Foreground" }, forever)).kind, "done");

    const there = openWrites({ transport, clock, namespace: elsewhere });
    t.match(await there.createJob(heldJob("two", elsewhere), forever), { kind: "answered", status: 403 });
    t.match(await openReads({ transport, clock, namespace: elsewhere }).getNamespace(forever), { kind: "answered", status: 403 });
    t.match(await openReads({ transport, clock, namespace }).eventsOf(created.uid, forever), { kind: "answered", status: 403 });
  },
);

t.test("--confine: the cluster lets the launcher work, and refuses what it would do to other people's Jobs", async (t) => {
  const namespace = await cluster.namespace();
  // The harness made Roles with more rights there.
  const applied = await cluster.kubectl(
    ["apply", "--server-side", "--force-conflicts", "-f", "-"],
    await printed("--namespace", namespace, "--confine"),
  );
  t.equal(applied.code, 0, applied.stderr);
  t.equal(applied.stderr, "", "and no warning of an expression that does not fit");
  const token = await cluster.token(namespace, "longshore-launcher");
  const transport = await cluster.as(token);
  const writes = openWrites({ transport, clock, namespace });
  const probe = { method: "POST", path: `${jobPath(namespace)}?dryRun=All`, body: plainJob("probe", namespace) } as const;
  await found("the policy to be in force", async () => (await transport.send(probe, forever)).status !== 201);
  const theirs = (await admin.must("POST", jobPath(namespace), plainJob("theirs", namespace))).metadata.uid;

  const refused = (answer: unknown, says: RegExp) =>
    t.match(answer, { kind: "answered", body: { message: says } }, "refused, with a sentence that says by what rule");
  refused(await writes.createJob(plainJob("unmarked", namespace), forever), /creates only what carries the label/);
  refused(await writes.deleteJob("theirs", theirs, { propagation: "Background" }, forever), /only what Longshore created/);
  refused(
    await writes.releaseJob("theirs", theirs, "example.com/theirs", { ttlSeconds: 0 }, forever),
    /only what Longshore created/,
  );
  refused(await writes.holdAgain("theirs", theirs, HOLD, forever), /only what Longshore created/);

  const pods = `/api/v1/namespaces/${namespace}/pods`;
  for (const { name, labels, says } of [
    { name: "nobodys", labels: {}, says: /only what Longshore created/ },
    { name: "child", labels: { [LABELS.parent]: "x" }, says: undefined },
  ]) {
    const spec = { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] };
    const pod = { apiVersion: "v1", kind: "Pod", metadata: { name, labels }, spec };
    const { uid } = (await admin.must("POST", pods, pod)).metadata;
    const deleted = await writes.deletePod(name, uid, {}, forever);
    if (says) refused(deleted, says);
    else t.equal(deleted.kind, "done", "a pod that a step's program made");
  }

  const ours = await writes.createJob(heldJob("ours", namespace), forever);
  t.equal(ours.kind, "created");
  if (ours.kind !== "created") return;
  const woken = await transport.send(patchOf("ours", namespace, { spec: { suspend: false, activeDeadlineSeconds: 1 } }), forever);
  t.match(woken, { status: 422, body: { message: /never changes what a Job runs/ } });
  const stripped = await cluster.kubectl(["-n", namespace, "label", "job", "ours", "app.kubernetes.io/managed-by-"]);
  t.equal(stripped.code, 0, stripped.stderr);
  t.equal((await writes.releaseJob("ours", ours.uid, HOLD, { ttlSeconds: 60 }, forever)).kind, "done", "also without its label");
  t.equal((await writes.deleteJob("ours", ours.uid, { propagation: "Foreground" }, forever)).kind, "done");
});

const VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] as const;

/** Reviews of the asking user's own rights, which every user may create. */
const isReview = ({ group, resource }: Resource): boolean =>
  /^(selfsubjectaccessreviews|selfsubjectrulesreviews)$/.test(resource)
    ? group === "authorization.k8s.io"
    : group === "authentication.k8s.io" && resource === "selfsubjectreviews";

async function may(transport: Transport, verb: string, it: Resource, namespace: string | undefined): Promise<boolean> {
  const [resource = "", subresource] = it.resource.split("/");
  const resourceAttributes = {
    verb,
    group: it.group,
    resource,
    ...(subresource && { subresource }),
    ...(namespace && { namespace }),
  };
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: { resourceAttributes } };
  const answer = await transport.send(
    { method: "POST", path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body },
    forever,
  );
  const status = (answer.body as { readonly status?: { readonly allowed?: boolean } }).status;
  if (answer.status !== 201 || status?.allowed === undefined)
    throw new Error(`the review was not answered: ${JSON.stringify(answer.body)}`);
  return status.allowed;
}

const patchOf = (name: string, namespace: string, body: object) => ({
  method: "PATCH" as const,
  path: jobPath(namespace, name),
  contentType: "application/strategic-merge-patch+json",
  body,
});

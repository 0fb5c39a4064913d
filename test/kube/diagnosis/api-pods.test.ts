/**
 * Jobs whose pods are not made, find no node, or are taken away: what a real cluster shows, and what a person is told. The real
 * controllers and the real scheduler make each of these happen. The test writes only what a kubelet would.
 */
// needs kubernetes
// runs with kube
// runs at most 8 min
import t, { type Test } from "tap";
import { found, adminOf, heldJob, jobPath, only, podPath, type Shown } from "../../harness/kubernetes/admin.ts";
import { failPod, writtenNode, runningPod } from "../../harness/kubernetes/written-node.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { type Happening, recorded } from "../../harness/recording.ts";
import { startWebhook, webhookConfiguration } from "../../harness/faults/webhook.ts";

t.setTimeout(0);
const test = await kubernetes({ nodes: "none" });
t.teardown(() => test[Symbol.asyncDispose]());
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);
const JOB = "export-1";

type Shows = Pick<Happening, "name" | "happened" | "code" | "says">;

interface View {
  readonly job: Shown;
  readonly pods: readonly Shown[];
}

const look = async (namespace: string): Promise<View> => ({
  job: await admin.must("GET", jobPath(namespace, JOB)),
  pods: await admin.podsOf(namespace, JOB),
});

/**
 * Records the Job, its pods and the Events about them, as they are now. `earlier`: a view from before the pods were gone, such
 * as a watcher had.
 */
async function show(t: Test, namespace: string, happening: Shows, earlier?: View): Promise<void> {
  const { job, pods } = await look(namespace);
  const about = await Promise.all([job, ...pods].map(({ metadata }) => admin.eventsOf(namespace, metadata.uid)));
  const seen = { kind: "objects", ...(earlier && { earlier }), job, pods, events: about.flat() } as const;
  recorded(t, { ...happening, kubernetes: cluster.version, seen, renamed: { [namespace]: "batch" } });
}

async function createIn(namespace: string, step: object = {}, pod: object = {}): Promise<Shown> {
  const job = heldJob(JOB, namespace, step) as { readonly spec: { readonly template: { readonly spec: object } } };
  const template = { ...job.spec.template, spec: { ...job.spec.template.spec, ...pod } };
  return await admin.must("POST", jobPath(namespace), { ...job, spec: { ...job.spec, template } });
}

const conditionOf = (object: Shown, type: string): unknown =>
  (
    (object["status"] as { readonly conditions?: readonly { readonly type: string; readonly status: string }[] }).conditions ?? []
  ).find((it) => it.type === type && it.status === "True");

async function untilFailed(namespace: string): Promise<void> {
  await found("the Job to have failed", async () => conditionOf(await admin.must("GET", jobPath(namespace, JOB)), "Failed"));
}

async function untilEvent(namespace: string, uid: string, reason: string): Promise<void> {
  await found(`an Event ${reason}`, async () => (await admin.eventsOf(namespace, uid)).find((it) => it["reason"] === reason));
}

/** Waits until admission obeys a new setting, which takes a moment. A pod that is admitted before that would show nothing. */
async function untilRefused(what: string, namespace: string, container: object = {}): Promise<void> {
  const containers = [{ name: "main", image: "x", ...container }];
  const path = `${podPath(namespace)}?dryRun=All`;
  const dry = { method: "POST", path, body: { metadata: { name: "probe" }, spec: { containers } } } as const;
  await found(what, async () => (await admin.ask(dry)).status !== 201);
}

/** Returns the first pod with this condition that a watch shows: it may exist for a moment only. */
async function seenWith(namespace: string, condition: string): Promise<Shown> {
  const path = `${podPath(namespace)}?watch=true&timeoutSeconds=600`;
  const { lines } = await cluster.admin.open({ method: "GET", path }, new AbortController().signal);
  for await (const line of lines) {
    const { object } = JSON.parse(line) as { readonly object: Shown };
    if (conditionOf(object, condition) !== undefined) return object;
  }
  throw new Error(`the watch of ${namespace} ended before a pod had the condition ${condition}`);
}

// A lost node's pods are collected only after a minute: all other tests run meanwhile.
const lost = await cluster.namespace();
{
  await using node = await writtenNode(admin, "node-that-vanishes", { cpu: "4" });
  await createIn(lost);
  await runningPod(admin, lost, JOB);
  await node.remove();
}
const { job: lostJob } = await look(lost);
const lostPod = seenWith(lost, "DisruptionTarget");
lostPod.catch(() => undefined); // the test that awaits it gets the error

t.test("the namespace's Pod Security level", async (t) => {
  const namespace = await cluster.namespace();
  await admin.must("PATCH", `/api/v1/namespaces/${namespace}`, {
    metadata: { labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
  });
  const asked = { method: "POST", body: heldJob(JOB, namespace) } as const;
  // The API server reads namespaces from its own watch, which is a moment late.
  await found("the level to be obeyed", async () => {
    const { headers } = await admin.ask({ ...asked, path: `${jobPath(namespace)}?dryRun=All` });
    return /PodSecurity/.test(String(headers["warning"]));
  });
  const answer = await admin.ask({ ...asked, path: jobPath(namespace) });
  t.equal(answer.status, 201, "the Job itself is taken");
  t.match(answer.headers["warning"], /would violate PodSecurity/, "with a warning");
  const { uid } = (answer.body as Shown).metadata;
  await untilEvent(namespace, uid, "FailedCreate");
  await show(t, namespace, {
    name: "pod-security-refuses",
    happened: "the namespace enforces Pod Security's restricted level",
    code: "AdmissionDenied",
    says: /Pod Security level "restricted" refuses the pod: .*must set securityContext.runAsNonRoot=true/,
  });
});

for (const { verdict, ...happening } of [
  { name: "webhook-refuses-the-pod", happened: "a webhook refuses the Job's pods", verdict: { kind: "refuse", message: "no team label" }, code: "AdmissionDenied", says: /"images.example.com".*no team label/ },
  { name: "webhook-of-pods-is-broken", happened: "a webhook that is asked about pods answers 500", verdict: { kind: "broken", status: 500 }, code: "EndpointUnreachable", says: /its webhook "images.example.com" before it takes a pod, and that is out of order/ },
] as const) // biome-ignore format: rows are read side by side
  t.test(happening.happened, async (t) => {
    const namespace = await cluster.namespace();
    await using webhook = await startWebhook(() => verdict);
    const path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
    const of = { namespace, resource: "pods" } as const;
    const { metadata } = await admin.must(
      "POST",
      path,
      webhookConfiguration("ValidatingWebhookConfiguration", "images.example.com", webhook, of),
    );
    await untilRefused("the webhook to be asked", namespace);
    await untilEvent(namespace, (await createIn(namespace)).metadata.uid, "FailedCreate");
    await show(t, namespace, happening);
    await admin.must("DELETE", `${path}/${metadata.name}`);
  });

const QUOTAS: readonly (Shows & { readonly hard: object; readonly step?: object })[] = [
  { name: "quota-of-pods-is-full", happened: "the namespace's quota of pods is used up", hard: { pods: "1" }, code: "QuotaExceeded", says: /"few" has no room now: 1 pod wanted, 1 of 1 in use/ },
  { name: "quota-of-cpu-is-less", happened: "the step asks for more CPU than the namespace's quota allows in all", hard: { "requests.cpu": "1" }, step: { resources: { requests: { cpu: "2" } } }, code: "QuotaImpossible", says: /asks for 2 CPU \(requests\), and the quota "few" allows 1 in all/ },
  { name: "quota-wants-amounts", happened: "the namespace's quota demands a memory limit, and the step states none", hard: { "limits.memory": "4Gi" }, code: "AdmissionDenied", says: /"few" demands that the request states limits of memory/ },
]; // biome-ignore format: rows are read side by side

for (const { hard, step = {}, ...happening } of QUOTAS)
  t.test(happening.happened, async (t) => {
    const namespace = await cluster.namespace();
    const path = `/api/v1/namespaces/${namespace}/resourcequotas`;
    if ("pods" in hard) {
      await admin.must("POST", jobPath(namespace), heldJob("other", namespace));
      await found("the other Job's pod", async () => (await admin.podsOf(namespace, "other"))[0]);
    }
    await admin.must("POST", path, { metadata: { name: "few" }, spec: { hard } });
    await found(
      "the quota to be counted",
      async () => ((await admin.must("GET", `${path}/few`))["status"] as { readonly used?: object }).used,
    );
    await untilRefused("the quota to be obeyed", namespace);
    await untilEvent(namespace, (await createIn(namespace, step)).metadata.uid, "FailedCreate");
    await show(t, namespace, happening);
  });

t.test("a range that the step's amounts break", async (t) => {
  const namespace = await cluster.namespace();
  const limits = [{ type: "Container", max: { memory: "1Gi" } }];
  await admin.must("POST", `/api/v1/namespaces/${namespace}/limitranges`, { metadata: { name: "small" }, spec: { limits } });
  const resources = { limits: { memory: "2Gi" } };
  await untilRefused("the range to be obeyed", namespace, { resources });
  const { metadata } = await createIn(namespace, { resources });
  await untilEvent(namespace, metadata.uid, "FailedCreate");
  await show(t, namespace, {
    name: "limit-range-is-broken",
    happened: "the step's memory limit is above the namespace's maximum for a container",
    code: "QuotaImpossible",
    says: /limit of 2Gi memory breaks the namespace's maximum of 1Gi per container/,
  });
});

const UNPLACED: readonly (Shows & { readonly node?: { readonly cpu: string }; readonly taint?: true; readonly step?: object; readonly pod?: object })[] = [
  { name: "no-node-at-all", happened: "the cluster has no node", code: "Unschedulable", says: /the cluster has no node\./ },
  { name: "too-little-cpu", happened: "no node has as much CPU as the step asks for", node: { cpu: "1" }, step: { resources: { requests: { cpu: "64" } } }, code: "Unschedulable", says: /1 has too little CPU left/ },
  { name: "node-is-tainted", happened: "the only node is kept for others by a taint", node: { cpu: "4" }, taint: true, code: "Unschedulable", says: /1 has a taint/ },
  { name: "no-node-matches", happened: "no node has the labels that the pod must have", node: { cpu: "4" }, pod: { nodeSelector: { disk: "ssd" } }, code: "Unschedulable", says: /1 does not match/ },
  { name: "volume-claim-missing", happened: "the pod names a volume claim that is not there", node: { cpu: "4" }, pod: { volumes: [{ name: "data", persistentVolumeClaim: { claimName: "orders" } }] }, code: "VolumeUnavailable", says: /persistentvolumeclaim "orders" not found/ },
]; // biome-ignore format: rows are read side by side

for (const { node: wanted, taint, step = {}, pod = {}, ...happening } of UNPLACED)
  t.test(happening.happened, async (t) => {
    const namespace = await cluster.namespace();
    await using node = wanted && (await writtenNode(admin, "node-1", wanted));
    if (taint) await node?.taint({ key: "team-b", effect: "NoSchedule" });
    await createIn(namespace, step, pod);
    await found("the scheduler's word", async () => {
      const [it] = await admin.podsOf(namespace, JOB);
      const { conditions = [] } = (it?.["status"] ?? {}) as { readonly conditions?: readonly { readonly reason?: string }[] };
      return conditions.some(({ reason }) => reason === "Unschedulable");
    });
    await show(t, namespace, happening);
  });

/**
 * Runs a pod on a node, calls `take` with it, and returns the view right after that. Afterwards its kubelet reports an end, so
 * that the pod is gone or Failed.
 */
async function taken(namespace: string, take: (pod: Shown) => Promise<void>, status: object = {}): Promise<View> {
  const pod = await runningPod(admin, namespace, JOB);
  await take(pod);
  const seen = await look(namespace);
  await failPod(admin, namespace, pod.metadata.name, { ...KILLED, ...status });
  await untilFailed(namespace);
  return seen;
}

const KILLED = {
  containerStatuses: [
    { name: "main", image: "registry.example/orders/export:1", imageID: "", ready: false, restartCount: 0, state: { terminated: { exitCode: 143, reason: "Error", startedAt: "2026-01-01T00:00:00Z", finishedAt: "2026-01-01T00:00:09Z" } } },
  ],
}; // biome-ignore format: as a kubelet would write it

const disruptedBy = (reason: string, namespace: string) =>
  found(`the condition DisruptionTarget ${reason}`, async () => {
    const [it] = await admin.podsOf(namespace, JOB);
    const condition = it && (conditionOf(it, "DisruptionTarget") as { readonly reason?: string } | undefined);
    return condition?.reason === reason;
  });

t.test("a pod that is evicted by whoever drains its node", async (t) => {
  const namespace = await cluster.namespace();
  await using _node = await writtenNode(admin, "node-1", { cpu: "4" });
  await createIn(namespace);
  const seen = await taken(namespace, async ({ metadata: { name } }) => {
    const eviction = { apiVersion: "policy/v1", kind: "Eviction", metadata: { name, namespace } };
    await admin.must("POST", `${podPath(namespace, name)}/eviction`, eviction);
    await disruptedBy("EvictionByEvictionAPI", namespace);
  });
  await show(
    t,
    namespace,
    {
      name: "evicted-by-a-drain",
      happened: "somebody drained the node, by the eviction API",
      code: "Evicted",
      says: /evicted from the node node-1, which somebody empties/,
    },
    seen,
  );
});

t.test("a pod that is evicted by a node that ran short", async (t) => {
  const namespace = await cluster.namespace();
  await using _node = await writtenNode(admin, "node-1", { cpu: "4" });
  await createIn(namespace);
  const message =
    "The node was low on resource: memory. Threshold quantity: 100Mi, available: 54328Ki. Container main was using 512Mi, request is 0, has larger consumption of memory. ";
  const disrupted = { type: "DisruptionTarget", status: "True", reason: "TerminationByKubelet", message };
  const seen = await taken(namespace, async () => undefined, { reason: "Evicted", message, conditions: [disrupted] });
  await show(
    t,
    namespace,
    {
      name: "evicted-for-memory",
      happened: "the node ran out of memory, and its kubelet evicted the pod",
      code: "Evicted",
      says: /node node-1 ran short of memory and evicted the pod/,
    },
    seen,
  );
});

t.test("a pod that makes room for more important work", async (t) => {
  const namespace = await cluster.namespace();
  await using _node = await writtenNode(admin, "node-1", { cpu: "1" });
  const priority = { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "important" }, value: 1000 };
  await admin.must("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", priority);
  await createIn(namespace, { resources: { requests: { cpu: "800m" } } });
  const seen = await taken(namespace, async () => {
    const containers = [{ name: "main", image: "registry.example/orders/export:1", resources: { requests: { cpu: "800m" } } }];
    await admin.must("POST", podPath(namespace), {
      metadata: { name: "urgent" },
      spec: { priorityClassName: "important", containers },
    });
    await disruptedBy("PreemptionByScheduler", namespace);
  });
  await show(
    t,
    namespace,
    {
      name: "preempted",
      happened: "the scheduler took the pod's place for a pod of higher priority",
      code: "Preempted",
      says: /More important work took the pod's place on the node node-1/,
    },
    seen,
  );
});

t.test("a pod whose node is taken out of use", async (t) => {
  const namespace = await cluster.namespace();
  await using node = await writtenNode(admin, "node-1", { cpu: "4" });
  await createIn(namespace);
  const seen = await taken(namespace, async () => {
    await node.taint({ key: "maintenance", effect: "NoExecute" });
    await disruptedBy("DeletionByTaintManager", namespace);
  });
  await show(
    t,
    namespace,
    {
      name: "node-taken-out-of-use",
      happened: "the node was tainted so that its pods must go",
      code: "NodeLost",
      says: /node node-1 was lost, or taken out of use, while the pod was on it/,
    },
    seen,
  );
});

t.test("a Job that runs longer than its own deadline", async (t) => {
  const namespace = await cluster.namespace();
  const job = heldJob(JOB, namespace) as { readonly spec: object };
  await admin.must("POST", jobPath(namespace), { ...job, spec: { ...job.spec, activeDeadlineSeconds: 1 } });
  await untilFailed(namespace);
  await show(t, namespace, {
    name: "deadline-of-the-job",
    happened: "the Job's own deadline passed",
    code: "DeadlineExceeded",
    says: /longer than the Job's deadline/,
  });
});

t.test("a Job that somebody deletes while it runs", async (t) => {
  const namespace = await cluster.namespace();
  await using _node = await writtenNode(admin, "node-1", { cpu: "4" });
  await createIn(namespace);
  await runningPod(admin, namespace, JOB);
  const deleted = await cluster.kubectl(["-n", namespace, "delete", "job", JOB, "--wait=false"]);
  t.equal(deleted.code, 0, deleted.stderr);
  await show(t, namespace, {
    name: "deleted-with-kubectl",
    happened: "somebody deleted the Job with kubectl while it ran",
    code: "DeletedExternally",
    says: /Somebody deleted the Job/,
  });
});

t.test("a pod whose node vanished", async (t) => {
  const seen = { job: lostJob, pods: [await lostPod] };
  await untilFailed(lost);
  t.same(await admin.podsOf(lost, JOB), [], "when the Job has failed the pod is gone, so only who watched it knows why");
  await show(
    t,
    lost,
    {
      name: "node-vanished",
      happened: "the node was removed from the cluster while the pod ran on it",
      code: "NodeLost",
      says: /node node-that-vanishes was lost while/,
    },
    seen,
  );
});

/** The Job controller beyond what Longshore asks of it today: retries, indexes, suspending, parallel pods. */
import { virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import t from "tap";
import { createCluster } from "../cluster.ts";
import { podOf } from "../testing/local-pods.ts";
import { createModel, type Model } from "../testing/model.ts";
import type { JobObject, PodObject } from "../objects.ts";
import { type PodScript, scriptedPods } from "../testing/scripted.ts";

const JOBS = "/apis/batch/v1/namespaces/default/jobs";
const forever = new AbortController().signal;

function open(script: (pod: PodObject, nth: number) => PodScript) {
  const clock = virtualClock();
  let pods = 0;
  const model = createModel({ clock, kubelet: scriptedPods(clock, (pod) => script(pod, pods++)) });
  return { clock, model };
}

async function create(model: Model, spec: object): Promise<void> {
  const template = { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] } };
  const { status, body } = await model
    .transport()
    .send({ method: "POST", path: JOBS, body: { metadata: { name: "one" }, spec: { template, ...spec } } }, forever);
  if (status !== 201) throw new Error(JSON.stringify(body));
}

const patch = (model: Model, spec: object) =>
  model
    .transport()
    .send({ method: "PATCH", path: `${JOBS}/one`, contentType: "application/merge-patch+json", body: { spec } }, forever);

const types = (job: JobObject | undefined): readonly string[] =>
  (job?.status.conditions ?? []).filter((it) => it.status === "True").map((it) => it.type);

t.test("a failed pod is tried again after a pause, as often as backoffLimit says", async (t) => {
  const { clock, model } = open(() => ({ runsMs: 10, exitCode: 1 }));
  await using _ = model;
  await create(model, { backoffLimit: 2 });
  await clock.sleep(5_000);
  t.equal(model.pods().length, 1, "not at once");
  await clock.sleep(300_000);
  t.equal(model.pods().length, 3);
  t.match(model.jobs(), [{ status: { failed: 3 } }]);
  t.same(types(model.jobs()[0]), ["FailureTarget", "Failed"]);
});

t.test("a pod keeps the time at which it was scheduled", async (t) => {
  const { clock, model } = open(() => ({ startsAfterMs: 0, runsMs: 12_000 }));
  await using _ = model;
  const beganMs = clock.now();
  await create(model, {});
  await clock.sleep(12_000);
  const scheduled = model.pods()[0]?.status.conditions?.find(({ type }) => type === "PodScheduled")?.lastTransitionTime ?? "";
  t.equal(model.pods()[0]?.status.phase, "Running");
  await clock.sleep(30_000);
  const ended = model.pods()[0];
  t.equal(ended?.status.phase, "Succeeded");
  t.equal(ended?.status.conditions?.find(({ type }) => type === "PodScheduled")?.lastTransitionTime, scheduled);
  t.ok(Date.parse(scheduled) - beganMs <= 1_000, "at once");
});

t.test("a retry that succeeds completes the Job", async (t) => {
  const { clock, model } = open((_, nth) => ({ runsMs: 10, exitCode: nth === 0 ? 1 : 0 }));
  await using _ = model;
  await create(model, {});
  await clock.sleep(60_000);
  t.match(model.jobs(), [{ status: { failed: 1, succeeded: 1 } }]);
  t.same(types(model.jobs()[0]), ["SuccessCriteriaMet", "Complete"]);
});

t.test("parallel pods are as many as asked for, until there are enough", async (t) => {
  const { clock, model } = open(() => ({ runsMs: 1_000 }));
  await using _ = model;
  await create(model, { completions: 5, parallelism: 2 });
  await clock.sleep(500);
  t.equal(model.pods().length, 2);
  await clock.sleep(60_000);
  t.match(model.jobs(), [{ status: { succeeded: 5 } }]);
  t.equal(model.pods().length, 5);
});

t.test("an Indexed Job runs each index once", async (t) => {
  const { clock, model } = open(() => ({ runsMs: 10 }));
  await using _ = model;
  await create(model, { completions: 3, parallelism: 3, completionMode: "Indexed" });
  await clock.sleep(10_000);
  t.match(model.jobs(), [{ status: { succeeded: 3, completedIndexes: "0-2" } }]);
  const indexes = model.pods().map((it) => it.metadata.labels?.["batch.kubernetes.io/job-completion-index"]);
  t.match(model.pods()[0]?.spec.containers[0]?.env, [{ name: "JOB_COMPLETION_INDEX" }]);
  t.same(new Set(indexes), new Set(["0", "1", "2"]));
});

t.test("suspending takes the pods, which count neither way; resuming starts anew", async (t) => {
  const { clock, model } = open((_, nth) => (nth === 0 ? {} : { runsMs: 10 }));
  await using _ = model;
  await create(model, { backoffLimit: 0 });
  await clock.sleep(1_000);
  await patch(model, { suspend: true });
  await clock.sleep(10_000);
  const [suspended] = model.jobs();
  t.same(types(suspended), ["Suspended"]);
  const before = suspended?.status.startTime;
  t.equal(suspended?.status.failed, undefined);
  t.same(model.pods(), []);
  await patch(model, { suspend: false });
  await clock.sleep(10_000);
  t.same(types(model.jobs()[0]), ["SuccessCriteriaMet", "Complete"]);
  t.ok(before !== undefined && Date.parse(model.jobs()[0]?.status.startTime ?? "") > Date.parse(before));
});

t.test("a deadline that passes before a pod could start fails the Job, and one pod counts", async (t) => {
  const { clock, model } = open(() => ({ unschedulable: "0/1 nodes are available" }));
  await using _ = model;
  await create(model, { activeDeadlineSeconds: 5, podReplacementPolicy: "Failed" });
  await clock.sleep(2_000);
  t.match(model.pods(), [
    { status: { phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }] } },
  ]);
  await clock.sleep(10_000);
  t.match(model.jobs(), [{ status: { failed: 1 } }]);
  t.same(types(model.jobs()[0]), ["FailureTarget", "Failed"]);
  t.same(model.pods(), []);
});

t.test("a pod that somebody deletes fails a Job without retries", async (t) => {
  const { clock, model } = open(() => ({}));
  await using _ = model;
  await create(model, { backoffLimit: 0, podReplacementPolicy: "Failed" });
  await clock.sleep(1_000);
  model.meddle({ kind: "delete pod", namespace: "default", name: model.pods()[0]?.metadata.name ?? "" });
  await clock.sleep(10_000);
  t.same(types(model.jobs()[0]), ["FailureTarget", "Failed"]);
});

t.test("a pod goes whose end was written before a kill, but not that its grace is over", async (t) => {
  const clock = virtualClock();
  const pod = podOf({}, [], { deletionTimestamp: "2026-01-01T00:00:30Z", deletionGracePeriodSeconds: 30 });
  const ended: PodObject = { ...pod, spec: { ...pod.spec, nodeName: "pocket" }, status: { phase: "Failed" } };
  const disk = { version: 1, objects: [{ resource: "pods", object: ended } as const], append: () => undefined };
  using cluster = createCluster({ clock, kubelet: scriptedPods(clock, () => ({})), firstVersion: 1, disk });
  await clock.sleep(1_000);
  t.same(cluster.store.list("pods", undefined), []);
});

t.test("a second DELETE that shortens the grace is heard, though the first one has not reached the node yet", async (t) => {
  const { clock, model } = open(() => ({ onStop: { kind: "ends", afterMs: 20_000 } }));
  await using _ = model;
  await create(model, { backoffLimit: 0, podReplacementPolicy: "Failed" });
  await clock.sleep(1_000);
  const [pod] = model.pods();
  const path = `/api/v1/namespaces/default/pods/${pod?.metadata.name}`;
  for (const gracePeriodSeconds of [30, 0])
    await model.transport().send({ method: "DELETE", path, body: { gracePeriodSeconds } }, forever);
  await clock.sleep(5_000);
  t.notOk(model.pods().some((it) => it.metadata.uid === pod?.metadata.uid));
});

t.test("a deletion right after a pod's success may still find it counted", async (t) => {
  const { clock, model } = open(() => ({ runsMs: 100 }));
  await using _ = model;
  await create(model, { backoffLimit: 0 });
  await model.transport().send(
    {
      method: "PATCH",
      path: `${JOBS}/one`,
      contentType: "application/merge-patch+json",
      body: { metadata: { finalizers: ["example.com/hold"] } },
    },
    forever,
  );
  while (model.pods()[0]?.status.phase !== "Succeeded") await clock.sleep(1);
  model.meddle({ kind: "delete Job", propagation: "Background", namespace: "default", name: "one" });
  await clock.sleep(1_000);
  t.same(types(model.jobs()[0]), ["SuccessCriteriaMet", "Complete"]);
});

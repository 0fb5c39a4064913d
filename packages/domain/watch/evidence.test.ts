/** Whether anything ran, as far as the evidence can say, and the evidence that is told with an end. */
import t from "tap";
import { evidenceOf, isLookedDeleted, startedOf } from "./evidence.ts";
import { condition, job, pod, type RawJob, type RawPod, running, terminated, waiting } from "./testing/fixtures.ts";

const deleting = { deletionTimestamp: "2026-03-01T10:10:00Z" };
const failed: RawJob = {
  status: { active: 0, failed: 1, conditions: [condition("Failed", "BackoffLimitExceeded", "too many retries")] },
};
const complete: RawJob = { status: { active: 0, succeeded: 1, conditions: [condition("Complete", "CompletionsReached")] } };

const neverMade = { terminated: { exitCode: 137, reason: "ContainerStatusUnknown", startedAt: null, finishedAt: null } };

interface Case {
  readonly name: string;
  readonly of?: RawJob;
  readonly pods: readonly RawPod[];
  readonly want: "yes" | "no" | "unknown";
}

const unstarted = terminated(128, { reason: "StartError", startedAt: "1970-01-01T00:00:00Z" });
const pulling = waiting("ImagePullBackOff");
// biome-ignore format: rows are read side by side
const cases: readonly Case[] = [
  { name: "a container runs", pods: [{ state: running }], want: "yes" },
  { name: "a container has ended", pods: [{ state: terminated(1) }], want: "yes" },
  { name: "an init container has ended", pods: [{ spec: { initContainers: [{ name: "i" }] }, status: { initContainerStatuses: [{ name: "i", state: terminated(1) }] } }], want: "yes" },
  { name: "the Job is Complete and its pods are gone", of: complete, pods: [], want: "yes" },
  { name: "the Job failed and its pods are gone", of: failed, pods: [], want: "unknown" },
  { name: "a pod waits for its image and still may get it", pods: [{ state: pulling }], want: "unknown" },
  { name: "the Job is deleted and its pod not yet", of: { metadata: deleting }, pods: [{ state: pulling }], want: "unknown" },
  { name: "Job and pod are deleted and the pod has a node, whose kubelet may not have heard of it", of: { metadata: deleting }, pods: [{ state: pulling, metadata: deleting }], want: "unknown" },
  { name: "the pod was taken away before it got its image, and has ended", of: failed, pods: [{ status: { phase: "Failed" }, state: neverMade, metadata: deleting }], want: "no" },
  { name: "the pod was ended for its node, which told nothing more", of: failed, pods: [{ status: { phase: "Failed", conditions: [{ type: "DisruptionTarget", status: "True" }] }, state: pulling, metadata: deleting }], want: "unknown" },
  { name: "the pod has ended and its container was once there", of: failed, pods: [{ status: { phase: "Failed", containerStatuses: [{ name: "main", containerID: "containerd://1", state: neverMade }] } }], want: "unknown" },
  { name: "Job and pod are deleted and the pod was never on a node", of: { metadata: deleting }, pods: [{ spec: { nodeName: undefined }, metadata: deleting }], want: "no" },
  { name: "Job and pod are deleted and the node says nothing of the container", of: { metadata: deleting }, pods: [{ metadata: deleting }], want: "unknown" },
  { name: "the pod failed since its program could not be started", of: failed, pods: [{ status: { phase: "Failed" }, state: unstarted }], want: "no" },
  { name: "the pod failed and its node no longer knows how", of: failed, pods: [{ status: { phase: "Failed" }, state: terminated(137, { reason: "ContainerStatusUnknown" }) }], want: "unknown" },
  { name: "one of two pods is no longer there", of: { metadata: deleting, status: { active: 1, failed: 1 } }, pods: [{ state: pulling, metadata: deleting }], want: "unknown" },
  { name: "a container was restarted", of: { metadata: deleting }, pods: [{ metadata: deleting, status: { containerStatuses: [{ name: "main", restartCount: 1, state: waiting("CrashLoopBackOff") }] } }], want: "yes" },
];

for (const { name, of, pods, want } of cases)
  t.test(`started is "${want}" where ${name}`, async (t) => {
    t.equal(startedOf(job(of), pods.map(pod)), want);
  });

t.test("an end is told with all that its pod shows", async (t) => {
  const evidence = evidenceOf(job(complete), {
    pods: [pod({ status: { phase: "Succeeded" }, state: terminated(0, { message: '{"rows":1}' }) })],
  });
  t.same(evidence, {
    started: "yes",
    pod: "orders-8812-export-main-1-abcdefghijk-x7k2p",
    node: "node-1",
    imageDigest: `sha256:${"ab".repeat(32)}`,
    scheduledAt: "2026-03-01T10:00:02Z",
    startedAt: "2026-03-01T10:00:10Z",
    finishedAt: "2026-03-01T10:04:00Z",
    exitCode: 0,
    message: '{"rows":1}',
  });
});

t.test("a failure is told with its cause", async (t) => {
  const evidence = evidenceOf(job(failed), { pods: [pod({ status: { phase: "Failed" }, state: terminated(3) })] });
  t.match(evidence, { exitCode: 3, diagnosis: { code: "ExitCode" } });
});

t.test("a container that was never made has no exit code", async (t) => {
  const seen = evidenceOf(job(failed), { pods: [pod({ status: { phase: "Failed" }, state: neverMade, metadata: deleting })] });
  t.match(seen, { started: "no" });
  t.notOk("exitCode" in seen);
});

t.test("a deleted Job's pod that ended well is no failure's evidence", async (t) => {
  const seen = evidenceOf(job({ metadata: deleting }), { pods: [pod({ status: { phase: "Succeeded" }, state: terminated(0) })] });
  t.match(seen, { started: "yes", exitCode: 0, diagnosis: undefined });
});

t.test("the pod that ran is told of, not the one that came after it", async (t) => {
  const later = pod({ metadata: { name: "later", uid: "uid-2", creationTimestamp: "2026-03-01T11:00:00Z" } });
  t.match(evidenceOf(job(failed), { pods: [later, pod({ status: { phase: "Failed" }, state: terminated(3) })] }), {
    exitCode: 3,
  });
});

t.test("a sidecar's end is not the step's", async (t) => {
  const seen = pod({
    spec: { initContainers: [{ name: "proxy", restartPolicy: "Always" }] },
    status: { phase: "Succeeded", initContainerStatuses: [{ name: "proxy", state: terminated(143) }] },
    state: terminated(0),
  });
  t.match(evidenceOf(job(complete), { pods: [seen] }), { exitCode: 0, diagnosis: undefined });
});

for (const [name, of, pods, want] of [
  ["a pod of it is still pending", { metadata: deleting }, [{}], false],
  ["a pod of it is still ending", { metadata: deleting }, [{ metadata: deleting, status: { phase: "Running" } }], false],
  ["its pods have ended", { metadata: deleting }, [{ status: { phase: "Failed" } }], true],
  ["it has no pods", { metadata: deleting }, [], true],
  [
    "something else holds it too",
    { metadata: { ...deleting, finalizers: ["longshore.dev/unrecorded", "foregroundDeletion"] } },
    [],
    false,
  ],
  ["it is not being deleted", {}, [], false],
] as const)
  t.test(`a look says ${want ? "deleted" : "not yet deleted"} where ${name}`, async (t) => {
    t.equal(
      isLookedDeleted(
        job(of),
        pods.map((it) => pod(it)),
      ),
      want,
    );
  });

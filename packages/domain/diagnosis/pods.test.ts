/** Pods as kubelets and registries describe them, and the diagnosis that a person is told. */
import type { Code } from "@longshore/contract/messages/diagnosis.ts";
import t from "tap";
import { condition, event, pod, type RawPod, running, terminated, waiting } from "../watch/testing/fixtures.ts";
import { seeEvent } from "../watch/seen.ts";
import { diagnoseEnd, diagnoseStall, isPullUnexplained, type Pulls, rememberPulls } from "./pods.ts";
import { saysWhatToDo } from "./testing/action.ts";
import { firstLineOf } from "./foreign-words.ts";

interface Case {
  readonly name: string;
  readonly of: RawPod;
  readonly pulls?: Pulls;
  readonly events?: readonly object[];
  readonly want: Code | undefined;
  readonly says?: RegExp;
}

/** The words of containerd, CRI-O and registries. */
const pulls = {
  hubMissing:
    'rpc error: code = NotFound desc = failed to pull and unpack image "docker.io/demo/nope:1": failed to resolve reference "docker.io/demo/nope:1": docker.io/demo/nope:1: not found',
  hubPrivate:
    'failed to pull and unpack image "docker.io/demo/nope:1": failed to resolve reference "docker.io/demo/nope:1": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed',
  forbidden:
    'failed to resolve reference "ghcr.io/a/b:1": unexpected status from HEAD request to https://ghcr.io/v2/a/b/manifests/1: 403 Forbidden',
  manifest: "reading manifest 9 in registry.example.com/a: manifest unknown",
  dns: 'failed to do request: Head "https://registry.invalid/v2/a/manifests/1": dial tcp: lookup registry.invalid on 10.96.0.10:53: no such host',
  withoutTls:
    'failed to do request: Head "https://10.0.0.1:5000/v2/a/manifests/1": http: server gave HTTP response to HTTPS client',
  untrusted:
    'failed to do request: Head "https://registry/v2/a/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority',
  unworded: 'rpc error: code = Unknown desc = failed to pull and unpack image "demo/export:1": mismatched rootfs',
  timeout: 'Get "https://registry.example.com/v2/": net/http: request canceled while waiting for connection',
};

const unscheduled = (message: string, reason = "Unschedulable"): RawPod => ({
  spec: { nodeName: undefined },
  status: { conditions: [condition("PodScheduled", reason, message, "False")] },
});

// biome-ignore format: rows are read side by side
const stalls: readonly Case[] = [
  { name: "a missing image", of: { state: waiting("ErrImagePull", pulls.hubMissing) }, want: "ImageNotFound", says: /^The registry has no demo\/export:1\.$/ },
  { name: "a missing tag", of: { state: waiting("ErrImagePull", pulls.manifest) }, want: "ImageNotFound" },
  { name: "an image that may never be pulled and is not there", of: { state: waiting("ErrImageNeverPull", "") }, want: "ImageNotFound" },
  { name: "a private image", of: { state: waiting("ErrImagePull", pulls.hubPrivate) }, want: "ImagePullDenied" },
  { name: "a forbidden image", of: { state: waiting("ImagePullBackOff", pulls.forbidden) }, want: "ImagePullDenied" },
  { name: "a registry without a name", of: { state: waiting("ErrImagePull", pulls.dns) }, want: "RegistryUnreachable", says: /no such host/ },
  { name: "a registry that does not answer", of: { state: waiting("ErrImagePull", pulls.timeout) }, want: "RegistryUnreachable" },
  { name: "a registry without TLS", of: { state: waiting("ErrImagePull", pulls.withoutTls) }, want: "RegistryUnreachable", says: /speaks HTTP/ },
  { name: "a registry whose certificate nobody knows", of: { state: waiting("ErrImagePull", pulls.untrusted) }, want: "RegistryUnreachable", says: /do not trust/ },
  { name: "a pull that fails in a way of its own", of: { state: waiting("ErrImagePull", pulls.unworded) }, want: "RegistryUnreachable", says: /demo\/export:1: mismatched rootfs\.$/ },
  { name: "a back-off that repeats its cause", of: { state: waiting("ImagePullBackOff", `Back-off pulling image "demo/nope:1": ErrImagePull: ${pulls.hubMissing}`) }, want: "ImageNotFound" },
  { name: "a back-off whose cause was said before", of: { state: waiting("ImagePullBackOff", 'Back-off pulling image "demo/export:1"') }, pulls: { main: pulls.hubMissing }, want: "ImageNotFound" },
  { name: "a back-off whose cause only the Events say", of: { state: waiting("ImagePullBackOff", 'Back-off pulling image "demo/export:1"') }, events: [event("uid-pod", "Failed", `Failed to pull image "demo/export:1": ${pulls.hubMissing}`)], want: "ImageNotFound" },
  { name: "a back-off without a known cause", of: { state: waiting("ImagePullBackOff", 'Back-off pulling image "demo/export:1"') }, want: "RegistryUnreachable" },
  { name: "a name that is no image's", of: { state: waiting("InvalidImageName", "couldn't parse image reference"), container: { image: "Not An Image" } }, want: "ImageNameInvalid", says: /"Not An Image" is not an image name/ },
  { name: "a Secret that is not there", of: { state: waiting("CreateContainerConfigError", 'secret "db" not found') }, want: "ConfigMissing", says: /needs the Secret "db", which is not there/ },
  { name: "a program that would run as root", of: { state: waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root") }, want: "PolicyRefused" },
  { name: "a container that cannot be made", of: { state: waiting("CreateContainerError", "no command specified") }, want: "Unknown", says: /no command specified/ },
  { name: "no node with room", of: unscheduled("0/3 nodes are available: 3 Insufficient cpu."), want: "Unschedulable", says: /^No node can take the pod: of 3 nodes, 3 have too little CPU left\.$/ },
  { name: "a volume that is not bound", of: unscheduled("0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims."), want: "VolumeUnavailable" },
  { name: "a volume claim that is not there", of: unscheduled('persistentvolumeclaim "data" not found'), want: "VolumeUnavailable" },
  { name: "a node that vanished under a running pod", of: { state: running, status: { phase: "Running", conditions: [condition("DisruptionTarget", "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")] } }, want: "NodeLost" },
  { name: "a pod that a scheduler has not come to yet", of: unscheduled("", "SchedulingGated"), want: undefined },
  { name: "a Secret that is there and that a busy node has not read yet", of: { state: waiting("CreateContainerConfigError", "failed to sync secret cache: timed out waiting for the condition") }, want: undefined },
  { name: "a pod that is being made", of: { state: waiting("ContainerCreating") }, want: undefined },
  { name: "a pod that runs", of: { state: running }, want: undefined },
  { name: "a pod that has ended, however badly", of: { status: { phase: "Failed" }, state: terminated(1) }, want: undefined },
  { name: "an image that a finished pod once waited for", of: { status: { phase: "Failed" }, state: waiting("ErrImagePull", pulls.hubMissing) }, want: undefined },
];

const seenOf = ({ of, pulls, events = [] }: Case) => ({
  pods: [pod(of)],
  ...(pulls && { pulls }),
  events: events.flatMap((it) => seeEvent(it) ?? []),
});

for (const it of stalls)
  t.test(`stalls: ${it.name}`, async (t) => {
    const found = diagnoseStall(seenOf(it));
    t.equal(found?.code, it.want);
    if (it.says) t.match(found?.sentence, it.says);
    if (found) t.ok(saysWhatToDo(found.hint), `the hint says what to do: ${found.hint}`);
  });

/** A deletion. `at` is when it was asked for, or when the pod's end was reported. */
const deleted = (at: string, grace: number) => ({
  deletionTimestamp: new Date(Date.parse(`2026-03-01T${at}Z`) + grace * 1000).toISOString().replace(".000", ""),
  deletionGracePeriodSeconds: grace,
});

const withInit = (state: object): RawPod => ({
  spec: { initContainers: [{ name: "prepare" }] },
  status: { phase: "Failed", initContainerStatuses: [{ name: "prepare", state }] },
  state: waiting("PodInitializing"),
});

// biome-ignore format: rows are read side by side
const ends: readonly Case[] = [
  { name: "a program that ended with an error", of: { status: { phase: "Failed" }, state: terminated(3, { message: "no such order" }) }, want: "ExitCode", says: /exit code 3/ },
  { name: "a program that does not exist", of: { status: { phase: "Failed" }, state: terminated(128, { reason: "StartError", message: 'exec: "nope": executable file not found in $PATH' }) }, want: "StartError", says: /could not be started: no folder of the image's PATH has the program "nope"/ },
  { name: "a program that was killed", of: { status: { phase: "Failed" }, state: terminated(137) }, want: "Signal", says: /signal 9 \(SIGKILL\)/ },
  { name: "a program that ended itself", of: { status: { phase: "Failed" }, state: terminated(255) }, want: "ExitCode", says: /exit code 255/ },
  { name: "too little memory", of: { status: { phase: "Failed" }, state: terminated(137, { reason: "OOMKilled" }) }, want: "OutOfMemory", says: /64Mi/ },
  { name: "a preparation that failed", of: withInit(terminated(1)), want: "InitFailed", says: /prepare.*exit code 1/ },
  { name: "a preparation that had too little memory", of: withInit(terminated(137, { reason: "OOMKilled" })), want: "OutOfMemory" },
  { name: "an eviction", of: { status: { phase: "Failed", reason: "Evicted", message: "The node was low on resource: memory." }, state: terminated(137) }, want: "Evicted", says: /^The node node-1 ran short of memory and evicted the pod\.$/ },
  { name: "an eviction by the API", of: { status: { phase: "Failed", conditions: [condition("DisruptionTarget", "EvictionByEvictionAPI")] }, state: terminated(143) }, want: "Evicted" },
  { name: "a node that was shut down", of: { status: { phase: "Failed", reason: "Terminated", message: "Pod was terminated in response to imminent node shutdown." } }, want: "Evicted" },
  { name: "more important work", of: { status: { phase: "Failed", conditions: [condition("DisruptionTarget", "PreemptionByScheduler")] }, state: terminated(143) }, want: "Preempted" },
  { name: "a pod that was deleted while it ran", of: { metadata: deleted("10:03:58", 30), status: { phase: "Failed" }, state: terminated(143) }, want: "DeletedExternally", says: /while its program ran/ },
  { name: "a pod that was deleted, once its kubelet said that it has ended", of: { metadata: deleted("10:04:01", 0), status: { phase: "Failed" }, state: terminated(1) }, want: "DeletedExternally" },
  { name: "a pod that was deleted before its containers were made", of: { metadata: deleted("10:03:58", 30), status: { phase: "Failed" }, state: terminated(137, { reason: "ContainerStatusUnknown", startedAt: null, finishedAt: null }) }, want: "DeletedExternally", says: /before its program started/ },
  { name: "a pod that failed, and was deleted afterwards", of: { metadata: deleted("10:05:00", 0), status: { phase: "Failed" }, state: terminated(3) }, want: "ExitCode" },
  { name: "a pod that was deleted for more important work", of: { metadata: deleted("10:03:58", 30), status: { phase: "Failed", conditions: [condition("DisruptionTarget", "PreemptionByScheduler")] }, state: terminated(143) }, want: "Preempted" },
  { name: "a lost node", of: { status: { phase: "Failed", reason: "NodeLost" } }, want: "NodeLost", says: /node node-1 was lost/ },
  { name: "a lost node that forgot how it ended", of: { status: { phase: "Failed" }, state: terminated(137, { reason: "ContainerStatusUnknown" }) }, want: "NodeLost" },
  { name: "an eviction of a container that its node had lost sight of", of: { status: { phase: "Failed", reason: "Evicted", message: 'Usage of EmptyDir volume "data" exceeds the limit "10Mi". ' }, state: terminated(137, { reason: "ContainerStatusUnknown", startedAt: null, finishedAt: null }) }, want: "Evicted", says: /^The pod wrote more than 10Mi into its volume "data"/ },
  { name: "a stop of the Longshore whose process it was", of: { status: { phase: "Failed", reason: "LocalStop", message: "Longshore was stopped while this ran." }, state: terminated(143) }, want: "LocalStop", says: /^Longshore was stopped while this ran\.$/ },
  { name: "a machine that was restarted under a local process", of: { status: { phase: "Failed", reason: "LocalStop", message: "The machine was restarted while this ran." }, state: terminated(137, { reason: "ContainerStatusUnknown" }) }, want: "LocalStop", says: /restarted/ },
  { name: "a node that would not take it after all", of: { status: { phase: "Failed", reason: "OutOfcpu", message: "Node didn't have enough resource: cpu" } }, want: "Unschedulable" },
  { name: "an image that was never there", of: { state: waiting("ErrImagePull", pulls.hubMissing) }, want: "ImageNotFound" },
  { name: "a program that ended well", of: { status: { phase: "Succeeded" }, state: terminated(0) }, want: undefined },
  { name: "a disruption that is over", of: { status: { phase: "Succeeded", conditions: [condition("DisruptionTarget", "PreemptionByScheduler", "", "False")] }, state: terminated(0) }, want: undefined },
];

for (const it of ends)
  t.test(`ends: ${it.name}`, async (t) => {
    const found = diagnoseEnd(seenOf(it));
    t.equal(found?.code, it.want);
    if (it.says) t.match(found?.sentence, it.says);
    if (found) t.ok(found.evidence.length > 0, "says what it saw");
    if (found) t.ok(saysWhatToDo(found.hint), `the hint says what to do: ${found.hint}`);
  });

t.test("a step's own exit is told, not that of its sidecar", async (t) => {
  const of: RawPod = {
    spec: { initContainers: [{ name: "proxy", restartPolicy: "Always" }] },
    status: { phase: "Failed", initContainerStatuses: [{ name: "proxy", state: terminated(1) }] },
    state: terminated(3),
  };
  t.match(diagnoseEnd({ pods: [pod(of)] }), { code: "ExitCode", sentence: /exit code 3/ });
});

// biome-ignore format: rows are read side by side
for (const { name, message, retryable } of [
  { name: "not in the PATH", message: 'exec: "nope": executable file not found in $PATH', retryable: false },
  { name: "not in the image", message: 'exec: "/nope": stat /nope: no such file or directory', retryable: false },
  { name: "not executable", message: 'exec: "/etc/passwd": permission denied', retryable: false },
  { name: "not on this machine, in the pocket", message: 'the pocket runs programs of this machine, and no folder of PATH has "nope"', retryable: false },
  { name: "for another processor, which another node may have", message: "exec /x: exec format error", retryable: true },
  { name: "unknown why", message: "failed to create shim task: something passing", retryable: true },
]) {
  const state = terminated(128, { reason: "StartError", message });
  t.equal(diagnoseEnd({ pods: [pod({ status: { phase: "Failed" }, state })] })?.retryable, retryable, `a program: ${name}`);
  t.equal(diagnoseEnd({ pods: [pod(withInit(state))] })?.retryable, retryable, `a preparation: ${name}`);
}

t.test("remembers why an image could not be pulled, by container, until it says something new", async (t) => {
  const first = rememberPulls({}, { pods: [pod({ state: waiting("ErrImagePull", "not found") })] });
  t.same(first, { main: "not found" });
  const later = rememberPulls(first, {
    pods: [pod({ state: waiting("ImagePullBackOff", 'Back-off pulling image "demo/export:1"') })],
  });
  t.same(later, { main: "not found" });
  t.same(rememberPulls(later, { pods: [pod({ state: waiting("ErrImagePull", "denied") })] }), { main: "denied" });
});

t.test("knows whether it was told why", async (t) => {
  const inBackOff = { pods: [pod({ state: waiting("ImagePullBackOff", 'Back-off pulling image "demo/export:1"') })] };
  t.ok(isPullUnexplained(inBackOff));
  t.notOk(isPullUnexplained({ ...inBackOff, pulls: { main: "not found" } }));
});

t.test("a sentence stays one sentence", async (t) => {
  t.equal(firstLineOf("first line.\nsecond line."), "first line");
  t.ok(firstLineOf("x".repeat(10_000)).length <= 240);
  t.ok(firstLineOf(`${"x".repeat(238)}😀😀`).isWellFormed());
});

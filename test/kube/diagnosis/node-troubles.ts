/**
 * Troubles that only a kubelet can make: how each differs from an ordinary step, and how a person would notice it.
 *
 * The failure this prevents: rules of diagnosis that were written for remembered statuses.
 */
import type { Code } from "@longshore/contract/messages/diagnosis.ts";
import type { RenderedStep } from "@longshore/contract/request/request.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import type { Admin, Shown } from "../../harness/kubernetes/admin.ts";
import type { Registry } from "../../harness/kubernetes/registry.ts";

export interface View {
  readonly job: Shown;
  readonly pods: readonly Shown[];
  readonly events: readonly Shown[];
}

export interface Trouble {
  readonly name: string;
  readonly happened: string;
  readonly code: Code;
  readonly says: RegExp;
  /** True when there is something to tell. */
  readonly until: (view: View) => boolean;
  /** Set if the sentence depends on the machine. */
  readonly varies?: true;
  readonly step?: Partial<RenderedStep>;
  readonly job?: object;
  readonly pod?: object;
  readonly container?: object;
  /** Makes the objects that must be in the namespace before the Job. */
  readonly before?: (admin: Admin, namespace: string) => Promise<unknown>;
}

interface Status {
  readonly phase?: string;
  readonly conditions?: readonly { readonly type: string; readonly status: string; readonly reason?: string }[];
  readonly containerStatuses?: readonly Container[];
  readonly initContainerStatuses?: readonly Container[];
}
interface Container {
  readonly state: { readonly running?: object; readonly waiting?: { readonly reason: string; readonly message?: string } };
}

const statusOf = (object: Shown | undefined): Status => (object?.["status"] ?? {}) as Status;

export const failed = ({ job }: View): boolean =>
  statusOf(job).conditions?.some(({ type, status }) => type === "Failed" && status === "True") === true;

export const runs = ({ pods }: View): boolean =>
  statusOf(pods[0]).containerStatuses?.some(({ state }) => state.running !== undefined) === true;

const waits =
  (...reasons: readonly string[]) =>
  ({ pods: [pod] }: View): boolean =>
    [...(statusOf(pod).containerStatuses ?? []), ...(statusOf(pod).initContainerStatuses ?? [])].some(({ state }) =>
      reasons.includes(state.waiting?.reason ?? ""),
    );
export const unpulled = waits("ErrImagePull", "ImagePullBackOff");
const has =
  (reason: string) =>
  ({ events }: View): boolean =>
    events.some((it) => it["reason"] === reason && !isLate(it["message"]));
/** A busy kubelet reports this for a moment; it is no trouble of the pod. */
const isLate = (message: unknown): boolean => /failed to sync \w+ cache/.test(String(message));
const unconfigured = (view: View): boolean =>
  waits("CreateContainerConfigError")(view) && !isLate(statusOf(view.pods[0]).containerStatuses?.[0]?.state.waiting?.message);
const unscheduled = ({ pods: [pod] }: View): boolean =>
  statusOf(pod).conditions?.some((it) => it.reason === "Unschedulable") === true;

const shell = (script: string): Partial<RenderedStep> => ({ image: BUSYBOX, command: ["sh", "-c", script] });
/** In a command, Kubernetes turns `$$` into `$`. */
export const sleeps = shell("trap 'exit 143' TERM; sleep 600 & wait");
const env = (name: string, valueFrom: object): object => ({ env: [{ name, valueFrom }] });
const mounted = (volume: object): object => ({ volumes: [{ name: "data", ...volume }] });
const MOUNT = { volumeMounts: [{ name: "data", mountPath: "/data" }] };
const fill = (file: string): Partial<RenderedStep> => shell(`dd if=/dev/zero of=${file} bs=1M count=30; sleep 600`);

async function make(admin: Admin, namespace: string, kind: string, name: string, fields: object): Promise<unknown> {
  return await admin.must("POST", `/api/v1/namespaces/${namespace}/${kind}`, { metadata: { name }, ...fields });
}

// biome-ignore format: rows are read side by side
export const imageTroubles = (images: Registry, refusing: string): readonly Trouble[] => [
  { name: "image-tag-missing", happened: "the repository has no such tag", step: { image: images.missing }, until: waits("ErrImagePull"), code: "ImageNotFound", says: /The registry has no / },
  { name: "image-missing-backing-off", happened: "the cluster waits before it asks again for a tag that is not there", step: { image: images.missing }, until: waits("ImagePullBackOff"), code: "ImageNotFound", says: /The registry has no / },
  { name: "image-repository-missing", happened: "the registry has no such repository", step: { image: `${images.host}/no-such-repository/busybox:1` }, until: unpulled, code: "ImageNotFound", says: /The registry has no / },
  { name: "image-without-credentials", happened: "the registry wants credentials, and the pod has none", step: { image: images.locked }, until: unpulled, code: "ImagePullDenied", says: /will not let/ },
  { name: "image-pull-secret-missing", happened: "the pod names a Secret of credentials that is not there", step: { image: images.locked }, pod: { imagePullSecrets: [{ name: "registry-login" }] }, until: unpulled, code: "ImagePullDenied", says: /will not let/ },
  { name: "image-forbidden", happened: "the registry answers 403", step: { image: images.forbidden }, until: unpulled, code: "ImagePullDenied", says: /will not let/ },
  { name: "registry-broken", happened: "the registry answers 500", step: { image: images.broken }, until: unpulled, code: "RegistryUnreachable", says: /out of order \(500 Internal Server Error\)/ },
  { name: "registry-limits-pulls", happened: "the registry answers 429", step: { image: images.limited }, until: unpulled, code: "RegistryUnreachable", says: /allows no more pulls for now \(429\)/ },
  { name: "registry-refuses-connections", happened: "nothing listens where the registry should be", step: { image: `${refusing}/a/b:1` }, until: unpulled, code: "RegistryUnreachable", says: /refuses connections/ },
  { name: "image-for-another-processor", happened: "the image is not made for the node's processor", step: { image: images.elsewhere }, until: unpulled, code: "ImageNotFound", says: /is not made for the processor of the node/ },
  { name: "user-without-number", happened: "the pod may not run as root, and its image names its user by a word", step: { image: images.named }, pod: { securityContext: { runAsNonRoot: true } }, until: unconfigured, code: "PolicyRefused", says: /names its user by a word \("nobody"\)/ },
  { name: "image-name-invalid", happened: "the image's name has capitals", step: { image: "registry.example/Orders/Export:1" }, until: waits("InvalidImageName"), code: "ImageNameInvalid", says: /is not an image name/ },
  { name: "image-of-init-missing", happened: "the image of an init container is not there", step: sleeps, pod: { initContainers: [{ name: "prepare", image: images.missing }] }, until: unpulled, code: "ImageNotFound", says: /The registry has no / },
];

// biome-ignore format: rows are read side by side
export const STANDING: readonly Trouble[] = [
  { name: "secret-of-variable-missing", happened: "a variable's Secret is not there", step: sleeps, container: env("PASSWORD", { secretKeyRef: { name: "db", key: "password" } }), until: unconfigured, code: "ConfigMissing", says: /main needs the Secret "db", which is not there/ },
  { name: "config-of-variable-missing", happened: "a variable's ConfigMap is not there", step: sleeps, container: env("MODE", { configMapKeyRef: { name: "settings", key: "mode" } }), until: unconfigured, code: "ConfigMissing", says: /"settings"/ },
  { name: "config-of-all-variables-missing", happened: "the ConfigMap that all variables come from is not there", step: sleeps, container: { envFrom: [{ configMapRef: { name: "settings" } }] }, until: unconfigured, code: "ConfigMissing", says: /"settings"/ },
  { name: "key-of-secret-missing", happened: "a variable's Secret has no such key", step: sleeps, container: env("PASSWORD", { secretKeyRef: { name: "db", key: "password" } }), before: (admin, namespace) => make(admin, namespace, "secrets", "db", { stringData: { user: "ada" } }), until: unconfigured, code: "ConfigMissing", says: /the key "password" of the Secret "db", which has no such key/ },
  { name: "key-of-config-missing", happened: "a variable's ConfigMap has no such key", step: sleeps, container: env("MODE", { configMapKeyRef: { name: "settings", key: "mode" } }), before: (admin, namespace) => make(admin, namespace, "configmaps", "settings", { data: { colour: "blue" } }), until: unconfigured, code: "ConfigMissing", says: /the key "mode" of the ConfigMap "settings", which has no such key/ },
  { name: "mounted-secret-missing", happened: "a mounted Secret is not there", step: sleeps, container: MOUNT, pod: mounted({ secret: { secretName: "keys" } }), until: has("FailedMount"), code: "ConfigMissing", says: /volume "data" needs the Secret "keys", which is not there/ },
  { name: "mounted-config-missing", happened: "a mounted ConfigMap is not there", step: sleeps, container: MOUNT, pod: mounted({ configMap: { name: "settings" } }), until: has("FailedMount"), code: "ConfigMissing", says: /"settings"/ },
  { name: "mounted-key-missing", happened: "a mounted Secret has no such key", step: sleeps, container: MOUNT, pod: mounted({ secret: { secretName: "keys", items: [{ key: "private", path: "private" }] } }), before: (admin, namespace) => make(admin, namespace, "secrets", "keys", { stringData: { public: "x" } }), until: has("FailedMount"), code: "ConfigMissing", says: /the key "private" of its Secret, which has no such key/ },
  { name: "volume-folder-missing", happened: "the volume is a folder of the node that is not there", step: sleeps, container: MOUNT, pod: mounted({ hostPath: { path: "/no-such-folder", type: "Directory" } }), until: has("FailedMount"), code: "VolumeUnavailable", says: /volume "data" cannot be mounted: .*no-such-folder is not a directory/ },
  { name: "volume-server-missing", happened: "the volume's file server does not answer", step: sleeps, container: MOUNT, pod: mounted({ nfs: { server: "127.0.0.1", path: "/exports" } }), until: has("FailedMount"), varies: true, code: "VolumeUnavailable", says: /volume "data" cannot be mounted: / },
  { name: "volume-claim-unbound", happened: "no volume fits the pod's claim", step: sleeps, container: MOUNT, pod: mounted({ persistentVolumeClaim: { claimName: "orders" } }), before: (admin, namespace) => make(admin, namespace, "persistentvolumeclaims", "orders", { spec: { accessModes: ["ReadWriteOnce"], storageClassName: "fast", resources: { requests: { storage: "1Gi" } } } }), until: unscheduled, code: "VolumeUnavailable", says: /its claim has no volume yet/ },
  { name: "runs-as-root", happened: "the pod may not run as root, and its image does", step: sleeps, pod: { securityContext: { runAsNonRoot: true } }, until: unconfigured, code: "PolicyRefused", says: /would run as root/ },
  { name: "sub-path-impossible", happened: "a mounted path inside a volume cannot be prepared", step: sleeps, container: { volumeMounts: [{ name: "data", mountPath: "/data", subPath: "a/b" }] }, pod: mounted({ configMap: { name: "settings" } }), before: (admin, namespace) => make(admin, namespace, "configmaps", "settings", { data: { a: "a file" } }), until: waits("CreateContainerConfigError", "CreateContainerError"), code: "VolumeUnavailable", says: /subPath/ },
];

// biome-ignore format: rows are read side by side
export const ENDING: readonly Trouble[] = [
  { name: "init-fails", happened: "an init container ends with an error", step: sleeps, pod: { initContainers: [{ name: "prepare", image: BUSYBOX, command: ["sh", "-c", "echo no orders; exit 3"] }] }, until: failed, code: "InitFailed", says: /prepare .*exit code 3/ },
  { name: "init-program-missing", happened: "the program of an init container is not in its image", step: sleeps, pod: { initContainers: [{ name: "prepare", image: BUSYBOX, command: ["/no-such-program"] }] }, until: failed, code: "InitFailed", says: /prepare could not be started: the image has no program "\/no-such-program"/ },
  { name: "exit-code", happened: "the program ends with an error", step: shell("exit 7"), until: failed, code: "ExitCode", says: /exit code 7/ },
  { name: "exit-code-127", happened: "the shell does not find the command", step: shell("no-such-program"), until: failed, code: "ExitCode", says: /127/ },
  { name: "exit-code-126", happened: "the shell may not execute the command", step: shell("/etc/passwd"), until: failed, code: "ExitCode", says: /126/ },
  { name: "program-missing", happened: "the image does not have the program", step: { image: BUSYBOX, command: ["/no-such-program"] }, until: failed, code: "StartError", says: /the image has no program "\/no-such-program"/ },
  { name: "program-not-in-path", happened: "no folder of the image's PATH has the program", step: { image: BUSYBOX, command: ["no-such-program"] }, until: failed, code: "StartError", says: /PATH has the program "no-such-program"/ },
  { name: "program-not-executable", happened: "the program's file may not be executed", step: { image: BUSYBOX, command: ["/etc/passwd"] }, until: failed, code: "StartError", says: /"\/etc\/passwd" may not be executed/ },
  { name: "program-of-another-kind", happened: "the program's file is of another processor, or is no program", step: { image: BUSYBOX, command: ["/data/program"] }, container: MOUNT, pod: mounted({ configMap: { name: "program", defaultMode: 0o755 } }), before: (admin, namespace) => make(admin, namespace, "configmaps", "program", { data: { program: "\u0001 no program" } }), until: failed, code: "ExitCode", says: /./ },
  { name: "working-dir-is-a-file", happened: "the working directory is a file", step: { ...shell("true"), workingDir: "/etc/passwd" }, until: failed, code: "StartError", says: /working directory "\/etc\/passwd" cannot be used/ },
  { name: "killed", happened: "the program kills itself", step: shell("kill -KILL $$$$"), pod: { shareProcessNamespace: true }, until: failed, code: "Signal", says: /SIGKILL/ },
  { name: "terminated", happened: "the program terminates itself", step: shell("kill -TERM $$$$"), pod: { shareProcessNamespace: true }, until: failed, code: "Signal", says: /SIGTERM/ },
  { name: "segmentation-fault", happened: "the program breaks the rules of memory", step: shell("kill -SEGV $$$$"), pod: { shareProcessNamespace: true }, until: failed, code: "Signal", says: /SIGSEGV/ },
  { name: "out-of-memory", happened: "the program needs more memory than its limit", step: { image: BUSYBOX, command: ["tail", "/dev/zero"], resources: { limits: { memory: "20Mi" } } }, until: failed, code: "OutOfMemory", says: /more than its 20Mi/ },
  { name: "out-of-memory-in-a-child", happened: "a program that the program started needs more memory than the limit", step: { ...shell("tail /dev/zero; exit 3"), resources: { limits: { memory: "20Mi" } } }, until: failed, code: "OutOfMemory", says: /20Mi/ },
  { name: "memory-too-little-to-start", happened: "the limit of memory is less than it takes to start anything", step: { ...sleeps, resources: { limits: { memory: "1Mi" } } }, until: (view) => failed(view) || has("FailedCreatePodSandBox")(view) || waits("CreateContainerError", "RunContainerError")(view), code: "OutOfMemory", says: /too little to start anything/ },
  { name: "disk-limit", happened: "the program writes more than its limit of disk", step: { ...fill("/filled"), resources: { limits: { "ephemeral-storage": "10Mi" } } }, until: failed, code: "Evicted", says: /wrote more than its 10Mi of disk/ },
  { name: "volume-limit", happened: "the program writes more into a temporary volume than it may hold", step: fill("/data/filled"), container: MOUNT, pod: mounted({ emptyDir: { sizeLimit: "10Mi" } }), until: failed, code: "Evicted", says: /wrote more than 10Mi into its volume "data"/ },
  { name: "deadline-while-running", happened: "the Job's own deadline passed while its program ran", step: sleeps, job: { activeDeadlineSeconds: 5 }, until: failed, code: "DeadlineExceeded", says: /longer than the Job's deadline/ },
  { name: "deadline-of-the-pod", happened: "a deadline of the pod itself passed", step: sleeps, pod: { activeDeadlineSeconds: 3 }, until: failed, code: "DeadlineExceeded", says: /longer than its pod's own deadline/ },
  { name: "node-has-too-little", happened: "the pod was put on a node that has too little for it", step: { ...sleeps, resources: { requests: { cpu: "64" } } }, pod: { nodeName: "localhost" }, until: failed, code: "Unschedulable", says: /node localhost did not take the pod: it has too little CPU left/ },
];

export interface Taken extends Omit<Trouble, "code"> {
  /** Undefined if nothing is wrong with how the pod ended. */
  readonly code: Code | undefined;
  /** True when the test may take the pod away. */
  readonly ready: (view: View) => boolean;
  /** The arguments of kubectl; `JOB` and `POD` stand for the names. */
  readonly kubectl: readonly string[];
}

const DELETE_POD = ["delete", "pod", "POD", "--wait=false"];
const drained = ({ job, pods }: View): boolean =>
  pods.length === 0 && (job.metadata["finalizers"] as readonly string[]).length === 1;

// biome-ignore format: rows are read side by side
export const TAKEN = (images: Registry): readonly Taken[] => [
  { name: "job-deleted-in-foreground", happened: "somebody deleted the Job in the foreground while its program ran", step: sleeps, ready: runs, kubectl: ["delete", "job", "JOB", "--cascade=foreground", "--wait=false"], until: drained, code: "DeletedExternally", says: /Somebody deleted the Job/ },
  { name: "job-deleted-in-background", happened: "somebody deleted the Job in the background while its program ran", step: sleeps, ready: runs, kubectl: ["delete", "job", "JOB", "--wait=false"], until: ({ job }) => job.metadata["deletionTimestamp"] !== undefined, code: "DeletedExternally", says: /Somebody deleted the Job/ },
  { name: "pod-deleted", happened: "somebody deleted the pod while its program ran", step: sleeps, ready: runs, kubectl: DELETE_POD, until: failed, code: "DeletedExternally", says: /Somebody deleted the pod while its program ran/ },
  { name: "pod-deleted-and-killed", happened: "somebody deleted the pod, and its program did not stop in its time", step: shell("trap '' TERM; sleep 600"), pod: { terminationGracePeriodSeconds: 2 }, ready: runs, kubectl: DELETE_POD, until: failed, code: "DeletedExternally", says: /Somebody deleted the pod while its program ran/ },
  { name: "pod-deleted-by-force", happened: "somebody deleted the pod by force while its program ran", step: sleeps, ready: runs, kubectl: [...DELETE_POD, "--force", "--grace-period=0"], until: failed, code: "DeletedExternally", says: /Somebody deleted the pod/ },
  { name: "pod-deleted-before-its-image", happened: "somebody deleted the pod while it waited for its image", step: { image: images.missing }, ready: unpulled, kubectl: DELETE_POD, until: failed, code: "DeletedExternally", says: /Somebody deleted the pod before its program started/ },
  { name: "pod-deleted-before-its-volume", happened: "somebody deleted the pod while it waited for a volume", step: sleeps, container: MOUNT, pod: mounted({ secret: { secretName: "keys" } }), ready: has("FailedMount"), kubectl: DELETE_POD, until: failed, code: "DeletedExternally", says: /Somebody deleted the pod before its program started/ },
  { name: "pod-deleted-before-its-node", happened: "somebody deleted the pod while it waited for a node", step: sleeps, pod: { nodeSelector: { disk: "ssd" } }, ready: unscheduled, kubectl: DELETE_POD, until: failed, code: "DeletedExternally", says: /Somebody deleted the pod before its program started/ },
  { name: "pod-deleted-and-ended-well", happened: "somebody deleted the pod, and its program ended well", step: shell("trap 'exit 0' TERM; sleep 600 & wait"), ready: runs, kubectl: DELETE_POD, until: (view) => statusOf(view.job).conditions?.some(({ type }) => type === "Complete") === true, code: undefined, says: /./ },
];

/**
 * The kinds of objects that the pocket keeps, and those of their fields that its controllers read.
 *
 * A stored object is never changed: each write makes a new one that shares the unchanged parts, and everything is frozen. So
 * lists, watches and history can hand out the same object, and no client can change the server's object by accident.
 */
export type Fields = Readonly<Record<string, unknown>>;

export interface OwnerReference {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
  readonly controller?: boolean;
  readonly blockOwnerDeletion?: boolean;
}

export interface Metadata {
  readonly name: string;
  readonly namespace?: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly generation?: number;
  readonly creationTimestamp: string;
  readonly deletionTimestamp?: string;
  readonly deletionGracePeriodSeconds?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly finalizers?: readonly string[];
  readonly ownerReferences?: readonly OwnerReference[];
}

export interface ApiObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Metadata;
  readonly spec?: unknown;
  readonly status?: unknown;
}

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason?: string;
  readonly message?: string;
  readonly lastProbeTime?: string;
  readonly lastTransitionTime?: string;
}

export interface JobObject extends ApiObject {
  readonly spec: JobSpec;
  readonly status: JobStatus;
}

export interface JobSpec {
  readonly parallelism: number;
  readonly completions?: number;
  readonly completionMode: "NonIndexed" | "Indexed";
  readonly backoffLimit: number;
  readonly backoffLimitPerIndex?: number;
  readonly maxFailedIndexes?: number;
  readonly suspend: boolean;
  readonly activeDeadlineSeconds?: number;
  readonly ttlSecondsAfterFinished?: number;
  readonly podReplacementPolicy: "TerminatingOrFailed" | "Failed";
  readonly selector: { readonly matchLabels: Readonly<Record<string, string>> };
  readonly template: PodTemplate;
}

export interface JobStatus {
  readonly conditions?: readonly Condition[];
  readonly startTime?: string;
  readonly completionTime?: string;
  readonly active?: number;
  readonly ready?: number;
  readonly terminating?: number;
  readonly succeeded?: number;
  readonly failed?: number;
  readonly completedIndexes?: string;
  readonly failedIndexes?: string;
  readonly uncountedTerminatedPods?: Fields;
}

export interface PodTemplate {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: PodSpec;
}

export interface PodSpec {
  readonly nodeName?: string;
  readonly nodeSelector?: Readonly<Record<string, string>>;
  readonly restartPolicy: string;
  readonly terminationGracePeriodSeconds?: number;
  readonly containers: readonly Container[];
  readonly initContainers?: readonly Container[];
  readonly volumes?: readonly Volume[];
}

export interface Volume {
  readonly name: string;
  readonly emptyDir?: { readonly sizeLimit?: string };
  readonly persistentVolumeClaim?: { readonly claimName: string; readonly readOnly?: boolean };
  readonly ephemeral?: { readonly volumeClaimTemplate: { readonly metadata?: Fields; readonly spec?: unknown } };
  readonly secret?: { readonly secretName: string; readonly items?: readonly KeyToPath[]; readonly optional?: boolean };
  readonly configMap?: { readonly name: string; readonly items?: readonly KeyToPath[]; readonly optional?: boolean };
  readonly downwardAPI?: {
    readonly items: readonly { readonly path: string; readonly fieldRef?: { readonly fieldPath: string } }[];
  };
}

interface KeyToPath {
  readonly key: string;
  readonly path: string;
}

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly workingDir?: string;
  readonly env?: readonly EnvVar[];
  readonly terminationMessagePath?: string;
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly subPath?: string;
    readonly readOnly?: boolean;
  }[];
  readonly resources?: {
    readonly requests?: Readonly<Record<string, string>>;
    readonly limits?: Readonly<Record<string, string>>;
  };
}

export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: {
    readonly fieldRef?: { readonly fieldPath: string };
    readonly secretKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean };
    readonly configMapKeyRef?: { readonly name: string; readonly key: string; readonly optional?: boolean };
  };
}

export type PodPhase = "Pending" | "Running" | "Succeeded" | "Failed";

export interface PodObject extends ApiObject {
  readonly spec: PodSpec;
  readonly status: PodStatus;
}

export interface PodStatus {
  readonly phase: PodPhase;
  readonly reason?: string;
  readonly message?: string;
  readonly conditions?: readonly Condition[];
  readonly startTime?: string;
  readonly containerStatuses?: readonly Fields[];
  readonly initContainerStatuses?: readonly Fields[];
}

export const KINDS = {
  namespaces: { group: "", kind: "Namespace", namespaced: false },
  pods: { group: "", kind: "Pod", namespaced: true },
  events: { group: "", kind: "Event", namespaced: true },
  secrets: { group: "", kind: "Secret", namespaced: true },
  configmaps: { group: "", kind: "ConfigMap", namespaced: true },
  persistentvolumeclaims: { group: "", kind: "PersistentVolumeClaim", namespaced: true },
  resourcequotas: { group: "", kind: "ResourceQuota", namespaced: true },
  jobs: { group: "batch", kind: "Job", namespaced: true },
  cronjobs: { group: "batch", kind: "CronJob", namespaced: true },
} as const;

export type Resource = keyof typeof KINDS;
export const RESOURCES = Object.keys(KINDS) as readonly Resource[];

export const apiVersionOf = (resource: Resource): string => (KINDS[resource].group === "" ? "v1" : `${KINDS[resource].group}/v1`);

/** "jobs.batch", as messages and quotas write it. */
export const qualified = (resource: Resource): string =>
  KINDS[resource].group === "" ? resource : `${resource}.${KINDS[resource].group}`;

/** Marks a pod that its Job has not counted yet. */
export const TRACKING = "batch.kubernetes.io/job-tracking";
/** Keeps a claim as long as a pod mounts it. */
export const CLAIM_PROTECTION = "kubernetes.io/pvc-protection";
export const FOREGROUND = "foregroundDeletion";
export const ORPHAN = "orphan";
export const CONTROLLER_UID = "batch.kubernetes.io/controller-uid";
export const JOB_NAME = "batch.kubernetes.io/job-name";
export const COMPLETION_INDEX = "batch.kubernetes.io/job-completion-index";
/** How many pods of the index had failed before this one. */
export const FAILURE_COUNT = "batch.kubernetes.io/job-index-failure-count";

export const isFields = (value: unknown): value is Fields => typeof value === "object" && value !== null && !Array.isArray(value);

export const fieldsIn = (value: unknown): Fields => (isFields(value) ? value : {});

/** The Kubernetes API writes times to the second. */
export const timestamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export const finishedPhase = (pod: PodObject): boolean => pod.status.phase === "Succeeded" || pod.status.phase === "Failed";
export const isDeleting = (object: ApiObject): boolean => object.metadata.deletionTimestamp !== undefined;
export const holds = (object: ApiObject, finalizer: string): boolean => object.metadata.finalizers?.includes(finalizer) === true;

export function conditionTrue(job: JobObject, type: string): Condition | undefined {
  return job.status.conditions?.find((it) => it.type === type && it.status === "True");
}

export function finishedJob(job: JobObject): Condition | undefined {
  return conditionTrue(job, "Complete") ?? conditionTrue(job, "Failed");
}

/** Returns the owner that is the object's controller. */
export const controllerOf = (object: ApiObject): OwnerReference | undefined =>
  object.metadata.ownerReferences?.find((it) => it.controller === true);

export function withoutFinalizer<T extends ApiObject>(object: T, finalizer: string): T {
  return withFinalizers(
    object,
    (object.metadata.finalizers ?? []).filter((it) => it !== finalizer),
  );
}

export function withFinalizers<T extends ApiObject>(object: T, finalizers: readonly string[]): T {
  const { finalizers: _, ...metadata } = object.metadata;
  return { ...object, metadata: finalizers.length === 0 ? metadata : { ...metadata, finalizers } };
}

/** Freezes the new parts of an object; parts that are frozen already come from an earlier version. */
export function freeze<T>(value: T): T {
  if (typeof value !== "object" || value === null || Object.isFrozen(value)) return value;
  Object.freeze(value);
  for (const inner of Object.values(value)) freeze(inner);
  return value;
}

/** The JSON text of a stored object, made once for all watches and answers. */
const texts = new WeakMap<object, string>();
export function textOf(object: object): string {
  const known = texts.get(object);
  if (known !== undefined) return known;
  const text = JSON.stringify(object);
  if (Object.isFrozen(object)) texts.set(object, text);
  return text;
}

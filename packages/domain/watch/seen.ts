/**
 * Reads an API server's Jobs, pods and Events: raw JSON in, plain values out.
 *
 * A Job is read whether it carries our marks or not. The bug this prevents: somebody removes a label from a running Job, the
 * launcher looks, finds nothing that it can read, and declares the Job gone. `mark` says whether facts can be published about
 * it.
 */
import { GroupName, Installation, RunId, StepName, Uid } from "@longshore/contract/ids.ts";
import type { About } from "@longshore/contract/messages/fact.ts";
import { SLICES_MAX } from "@longshore/contract/request/slices.ts";
import { ANNOTATION_OUTPUTS_MAX } from "@longshore/contract/request/request.ts";
import { ANNOTATION_BYTES_MAX } from "../run/outputs.ts";
import { ANNOTATIONS, COMPLETION_INDEX, CONTROLLER_UID, HOLD, LABELS, MANAGED_BY, WITHOUT_HOLD } from "../run/marks.ts";
import { at, field, integer, list, text } from "./raw.ts";

/** The identity that the Job claims. It is believed only together with a proof that fits. */
export type Mark = Pick<About, "installation" | "group" | "proof" | "run" | "step" | "attempt"> & { readonly occupant: boolean };

export interface Condition {
  readonly type: string;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly at: string | undefined;
}

interface Seen {
  readonly name: string;
  readonly namespace: string;
  readonly uid: Uid;
  readonly resourceVersion: string;
  readonly createdAt: string | undefined;
  /** Set while it is being deleted. */
  readonly deletionAt: string | undefined;
}

/** Metadata alone: enough to count a Job and to see whose it is, not whether it has ended. */
export interface MarkedSeen extends Seen {
  readonly mark: Mark | undefined;
  readonly proof: string | undefined;
  readonly finalizers: readonly string[];
  /** Our finalizer is on it. */
  readonly held: boolean;
  /** The outcome is not in the ledger, as far as the Job shows: it is held, or was created without a hold and not released. */
  readonly awaited: boolean;
}

export interface JobSeen extends MarkedSeen {
  /** Only conditions whose status is "True": a "False" one says that something is not so. */
  readonly conditions: readonly Condition[];
  readonly suspended: boolean;
  readonly active: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly startedAt: string | undefined;
  readonly completedAt: string | undefined;
  /** The Job's time to live. Only our release sets it, so it shows whether we took the hold off or somebody stripped it. */
  readonly ttlSeconds: number | undefined;
  /** The annotations of its pod that are outputs of the step. */
  readonly outputs: readonly string[];
  /** Of an Indexed Job: how many indexes it has, and which of them have succeeded and failed, such as "0,2,5-9". */
  readonly slices?: { readonly count: number; readonly completed: string; readonly failed: string };
}

/** A Job, whole or as PartialObjectMetadata. */
export function seeMarked(raw: unknown): MarkedSeen | undefined {
  const seen = see(raw, ["Job", "PartialObjectMetadata"]);
  if (seen === undefined) return undefined;
  const finalizers = list(at(raw, "metadata", "finalizers")).flatMap((it) => text(it, 253) ?? []);
  const proof = text(at(raw, "metadata", "annotations", ANNOTATIONS.proof), 256);
  const held = finalizers.includes(HOLD);
  const awaited = held || at(raw, "metadata", "annotations", ANNOTATIONS.hold) === WITHOUT_HOLD.awaited;
  return { ...seen, mark: mark(field(raw, "metadata")), proof, finalizers, held, awaited };
}

export function seeJob(raw: unknown): JobSeen | undefined {
  const seen = field(raw, "kind") === "PartialObjectMetadata" ? undefined : seeMarked(raw);
  if (seen === undefined) return undefined;
  const status = field(raw, "status");
  return {
    ...seen,
    conditions: list(field(status, "conditions")).flatMap((it) => condition(it, "True") ?? []),
    suspended: at(raw, "spec", "suspend") === true,
    active: integer(field(status, "active")) ?? 0,
    succeeded: integer(field(status, "succeeded")) ?? 0,
    failed: integer(field(status, "failed")) ?? 0,
    startedAt: text(field(status, "startTime"), 64),
    completedAt: text(field(status, "completionTime"), 64),
    ttlSeconds: integer(at(raw, "spec", "ttlSecondsAfterFinished")),
    outputs: outputsIn(raw),
    ...(at(raw, "spec", "completionMode") === "Indexed" && {
      slices: {
        count: Math.min(SLICES_MAX, integer(at(raw, "spec", "completions")) ?? 0),
        completed: text(field(status, "completedIndexes"), INDEXES_CHARS_MAX) ?? "",
        failed: text(field(status, "failedIndexes"), INDEXES_CHARS_MAX) ?? "",
      },
    }),
  };
}

/** Every second one of the most slices that a step may have. */
const INDEXES_CHARS_MAX = 8192;

/** An annotation's name holds no comma. */
const outputsIn = (raw: unknown): readonly string[] =>
  (text(at(raw, "metadata", "annotations", ANNOTATIONS.outputs), 8192) ?? "")
    .split(",")
    .filter((it) => it !== "")
    .slice(0, ANNOTATION_OUTPUTS_MAX);

/**
 * "Complete" and "Failed" end a Job. FailureTarget and SuccessCriteriaMet only announce an end, and unknown conditions say
 * nothing.
 */
export function finishedCondition(job: JobSeen): (Condition & { readonly type: "Complete" | "Failed" }) | undefined {
  for (const it of job.conditions) if (it.type === "Complete" || it.type === "Failed") return { ...it, type: it.type };
  return undefined;
}

/** The Job is being deleted, and only our hold still keeps it. */
export const isOnlyHoldLeft = (job: JobSeen): boolean =>
  job.deletionAt !== undefined && job.held && job.finalizers.every((it) => it === HOLD);

export interface PodSeen extends Seen {
  /** The UID of the Job that made the pod, even if that Job was deleted since and the pod left behind. */
  readonly jobUid: Uid;
  readonly phase: string | undefined;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly node: string | undefined;
  readonly scheduledAt: string | undefined;
  /**
   * The earliest time at which somebody can have asked for the deletion. `deletionAt` is the end of its grace, and the API
   * server writes it anew, without any grace, when the kubelet reports that the pod has ended.
   */
  readonly deletionAskedAt: string | undefined;
  /** The scheduler's reason why it found no node. */
  readonly unscheduled: Condition | undefined;
  /** The pod is being removed: by a full or vanished node, more important work, an eviction. */
  readonly disruption: Condition | undefined;
  /** The annotations that its step declares as outputs, as far as they are there. A longer one is cut, and is still too long. */
  readonly outputs: Readonly<Record<string, string>>;
  /** Which index of an Indexed Job. */
  readonly index?: number;
  /** Init containers first, in the order of the spec, each with its status if known. */
  readonly containers: readonly ContainerSeen[];
}

export interface ContainerSeen {
  readonly name: string;
  /** "init" runs before the others; "sidecar" runs beside them and is stopped when they are done. */
  readonly role: "main" | "init" | "sidecar";
  readonly image: string;
  readonly imageId: string | undefined;
  readonly memoryLimit: string | undefined;
  readonly restarts: number;
  readonly waiting: { readonly reason: string | undefined; readonly message: string | undefined } | undefined;
  readonly running: { readonly startedAt: string | undefined } | undefined;
  readonly terminated: Terminated | undefined;
  /** The runtime has, or once had, a container for it. */
  readonly wasMade: boolean;
}

export interface Terminated {
  readonly exitCode: number | undefined;
  readonly signal: number | undefined;
  readonly reason: string | undefined;
  readonly message: string | undefined;
  readonly startedAt: string | undefined;
  readonly finishedAt: string | undefined;
}

/** A pod that some Job made; `undefined` for any other. */
export function seePod(raw: unknown): PodSeen | undefined {
  const seen = see(raw, ["Pod"]);
  const jobUid = seen && jobUidOf(field(raw, "metadata"));
  if (seen === undefined || jobUid === undefined) return undefined;
  const status = field(raw, "status");
  const conditions = list(field(status, "conditions"));
  const is = (type: string, status: string) =>
    conditions.filter((it) => field(it, "type") === type).flatMap((it) => condition(it, status) ?? []);
  return {
    ...seen,
    jobUid,
    phase: text(field(status, "phase"), 64),
    reason: text(field(status, "reason"), 256),
    message: text(field(status, "message"), 4096),
    node: text(at(raw, "spec", "nodeName"), 253),
    scheduledAt: is("PodScheduled", "True")[0]?.at,
    deletionAskedAt: seen.deletionAt && before(seen.deletionAt, graceSeconds(raw)),
    unscheduled: is("PodScheduled", "False")[0],
    disruption: is("DisruptionTarget", "True")[0],
    ...indexIn(raw),
    outputs: Object.fromEntries(
      outputsIn(raw).flatMap((name) => {
        const value = at(raw, "metadata", "annotations", name);
        return typeof value === "string" ? [[name, text(value, ANNOTATION_BYTES_MAX + 1) ?? ""] as const] : [];
      }),
    ),
    containers: [
      ...containers(at(raw, "spec", "initContainers"), field(status, "initContainerStatuses"), "init"),
      ...containers(at(raw, "spec", "containers"), field(status, "containerStatuses"), "main"),
    ],
  };
}

function indexIn(pod: unknown): { readonly index?: number } {
  const said = text(at(pod, "metadata", "annotations", COMPLETION_INDEX), 16) ?? "";
  return /^\d{1,9}$/.test(said) ? { index: Number(said) } : {};
}

const graceSeconds = (pod: unknown): number =>
  integer(at(pod, "metadata", "deletionGracePeriodSeconds")) || (integer(at(pod, "spec", "terminationGracePeriodSeconds")) ?? 30);

/** As Kubernetes writes times: without milliseconds. */
function before(time: string, seconds: number): string {
  const at = new Date(Date.parse(time) - seconds * 1000);
  return Number.isNaN(at.getTime()) ? time : `${at.toISOString().slice(0, 19)}Z`;
}

/** Neither Succeeded nor Failed: the pod may still run something, also while it is pending or being deleted. */
export const isUnfinished = (pod: Pick<PodSeen, "phase">): boolean => pod.phase !== "Succeeded" && pod.phase !== "Failed";

export interface EventSeen {
  /** The UID of the object that the Event is about. */
  readonly about: string;
  readonly type: string | undefined;
  readonly reason: string;
  readonly message: string;
  readonly at: string | undefined;
}

/** Reads a Kubernetes Event, whatever object it is about. */
export function seeEvent(raw: unknown): EventSeen | undefined {
  const about = text(at(raw, "involvedObject", "uid"), 64);
  const reason = text(field(raw, "reason"), 256);
  if (about === undefined || reason === undefined) return undefined;
  return {
    about,
    type: text(field(raw, "type"), 64),
    reason,
    message: text(field(raw, "message"), 4096) ?? "",
    at:
      text(at(raw, "series", "lastObservedTime"), 64) ??
      text(field(raw, "lastTimestamp"), 64) ??
      text(field(raw, "eventTime"), 64) ??
      text(at(raw, "metadata", "creationTimestamp"), 64),
  };
}

/** Items of a list come without their kind; an object with a kind must have the right one. */
function see(raw: unknown, kinds: readonly string[]): Seen | undefined {
  const says = field(raw, "kind");
  const metadata = field(raw, "metadata");
  const uid = Uid.safeParse(field(metadata, "uid"));
  const name = text(field(metadata, "name"), 253);
  const namespace = text(field(metadata, "namespace"), 63);
  const resourceVersion = text(field(metadata, "resourceVersion"), 64);
  if (says !== undefined && !kinds.some((kind) => kind === says)) return undefined;
  if (!uid.success || name === undefined || namespace === undefined || resourceVersion === undefined) return undefined;
  return {
    name,
    namespace,
    uid: uid.data,
    resourceVersion,
    createdAt: text(field(metadata, "creationTimestamp"), 64),
    deletionAt: text(field(metadata, "deletionTimestamp"), 64),
  };
}

/** All fields or nothing: half an identity is somebody's copy, or a mistake. */
function mark(metadata: unknown): Mark | undefined {
  const label = (name: string) => at(metadata, "labels", name);
  const annotation = (name: string) => at(metadata, "annotations", name);
  const installation = Installation.safeParse(label(LABELS.installation));
  const run = RunId.safeParse(annotation(ANNOTATIONS.runId));
  const group = GroupName.safeParse(annotation(ANNOTATIONS.group));
  const step = StepName.safeParse(label(LABELS.step));
  const attempt = /^[1-9]\d{0,8}$/.exec(text(label(LABELS.attempt), 16) ?? "")?.[0];
  const proof = text(annotation(ANNOTATIONS.proof), 256);
  if (label(LABELS.managedBy) !== MANAGED_BY || attempt === undefined || proof === undefined) return undefined;
  if (!installation.success || !run.success || !group.success || !step.success) return undefined;
  return {
    installation: installation.data,
    group: group.data,
    proof,
    run: run.data,
    step: step.data,
    attempt: Number(attempt),
    occupant: label(LABELS.occupant) === "true",
  };
}

function condition(raw: unknown, status: string): Condition | undefined {
  const type = text(field(raw, "type"), 128);
  if (type === undefined || field(raw, "status") !== status) return undefined;
  return {
    type,
    reason: text(field(raw, "reason"), 256),
    message: text(field(raw, "message"), 4096),
    at: text(field(raw, "lastTransitionTime"), 64),
  };
}

function jobUidOf(metadata: unknown): Uid | undefined {
  const owner = list(field(metadata, "ownerReferences")).find(
    (it) => field(it, "controller") === true && field(it, "kind") === "Job",
  );
  const labels = field(metadata, "labels");
  // Pods of Jobs from before Kubernetes 1.27 carry the older label.
  const said = field(owner, "uid") ?? field(labels, CONTROLLER_UID) ?? field(labels, "controller-uid");
  const uid = Uid.safeParse(said);
  return uid.success ? uid.data : undefined;
}

function containers(specs: unknown, statuses: unknown, role: "main" | "init"): readonly ContainerSeen[] {
  const known = list(statuses);
  return list(specs).flatMap((spec) => {
    const name = text(field(spec, "name"), 253);
    if (name === undefined) return [];
    const status = known.find((it) => field(it, "name") === name);
    const sidecar = role === "init" && field(spec, "restartPolicy") === "Always";
    return [
      {
        name,
        role: sidecar ? ("sidecar" as const) : role,
        image: text(field(spec, "image"), 512) ?? "",
        imageId: text(field(status, "imageID"), 1024),
        memoryLimit: text(at(spec, "resources", "limits", "memory"), 64),
        restarts: integer(field(status, "restartCount")) ?? 0,
        wasMade: (text(field(status, "containerID"), 256) ?? "") !== "" || isObject(at(status, "lastState", "terminated")),
        ...state(field(status, "state")),
      },
    ];
  });
}

function state(raw: unknown): Pick<ContainerSeen, "waiting" | "running" | "terminated"> {
  const waiting = field(raw, "waiting");
  const running = field(raw, "running");
  const ended = field(raw, "terminated");
  return {
    waiting: isObject(waiting)
      ? { reason: text(field(waiting, "reason"), 256), message: text(field(waiting, "message"), 4096) }
      : undefined,
    running: isObject(running) ? { startedAt: text(field(running, "startedAt"), 64) } : undefined,
    terminated: isObject(ended)
      ? {
          exitCode: integer(field(ended, "exitCode")),
          signal: integer(field(ended, "signal")),
          reason: text(field(ended, "reason"), 256),
          message: text(field(ended, "message"), 8192),
          startedAt: text(field(ended, "startedAt"), 64),
          finishedAt: text(field(ended, "finishedAt"), 64),
        }
      : undefined,
  };
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;

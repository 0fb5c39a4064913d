/** For tests: complete, ordinary objects as an API server shows them. Each test adds the part that it is about. */
import { ANNOTATIONS, CONTROLLER_UID, HOLD, LABELS, MANAGED_BY } from "../../run/marks.ts";
import { type JobSeen, type PodSeen, seeJob, seePod } from "../seen.ts";

type Raw = Readonly<Record<string, unknown>>;

export interface RawJob {
  readonly metadata?: Raw;
  readonly labels?: Raw;
  readonly annotations?: Raw;
  readonly spec?: Raw;
  readonly status?: Raw;
}

export const rawJob = ({ metadata, labels, annotations, spec, status }: RawJob = {}): Raw => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: {
    name: "orders-8812-export-main-1-abcdefghijk",
    namespace: "batch",
    uid: "uid-job",
    resourceVersion: "100",
    creationTimestamp: "2026-03-01T10:00:00Z",
    labels: {
      [LABELS.installation]: "demo",
      [LABELS.managedBy]: MANAGED_BY,
      [LABELS.step]: "main",
      [LABELS.attempt]: "1",
      ...labels,
    },
    annotations: {
      [ANNOTATIONS.runId]: "orders/8812/export",
      [ANNOTATIONS.proof]: "proof-1",
      [ANNOTATIONS.group]: "prod-a",
      ...annotations,
    },
    finalizers: [HOLD],
    ...metadata,
  },
  spec: { backoffLimit: 0, ...spec },
  status: { active: 1, ...status },
});

export interface RawPod {
  readonly metadata?: Raw;
  readonly spec?: Raw;
  readonly status?: Raw;
  /** The state of the container `main`. */
  readonly state?: Raw;
  readonly container?: Raw;
}

export const rawPod = ({ metadata, spec, status, state, container }: RawPod = {}): Raw => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "orders-8812-export-main-1-abcdefghijk-x7k2p",
    namespace: "batch",
    uid: "uid-pod",
    resourceVersion: "101",
    creationTimestamp: "2026-03-01T10:00:01Z",
    labels: { [CONTROLLER_UID]: "uid-job" },
    ownerReferences: [{ kind: "Job", controller: true, uid: "uid-job" }],
    ...metadata,
  },
  spec: {
    nodeName: "node-1",
    containers: [{ name: "main", image: "demo/export:1", resources: { limits: { memory: "64Mi" } }, ...container }],
    ...spec,
  },
  status: {
    phase: "Pending",
    conditions: [{ type: "PodScheduled", status: "True", lastTransitionTime: "2026-03-01T10:00:02Z" }],
    ...(state && {
      containerStatuses: [{ name: "main", state, restartCount: 0, imageID: `docker.io/demo/export@sha256:${"ab".repeat(32)}` }],
    }),
    ...status,
  },
});

export const condition = (type: string, reason: string, message = "", status = "True"): Raw => ({
  type,
  status,
  reason,
  message,
  lastTransitionTime: "2026-03-01T10:05:00Z",
});

export const event = (about: string, reason: string, message: string, at = "2026-03-01T10:00:05Z"): Raw => ({
  involvedObject: { uid: about },
  type: "Warning",
  reason,
  message,
  lastTimestamp: at,
});

export const waiting = (reason: string, message?: string): Raw => ({
  waiting: { reason, ...(message !== undefined && { message }) },
});
export const running: Raw = { running: { startedAt: "2026-03-01T10:00:10Z" } };
export const terminated = (exitCode: number, more: Raw = {}): Raw => ({
  terminated: {
    exitCode,
    reason: exitCode === 0 ? "Completed" : "Error",
    startedAt: "2026-03-01T10:00:10Z",
    finishedAt: "2026-03-01T10:04:00Z",
    ...more,
  },
});

const read = <T>(what: T | undefined): T => {
  if (what === undefined) throw new Error("This fixture cannot be read as what it stands for.");
  return what;
};

export const job = (of: RawJob = {}): JobSeen => read(seeJob(rawJob(of)));
export const pod = (of: RawPod = {}): PodSeen => read(seePod(rawPod(of)));

/** Writes a pod and the status of its Job as a kubelet and the Job controller would, for a Job that runs or ended well. */
import { CONTAINER, CONTROLLER_UID } from "@longshore/domain/run/marks.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { ask, MERGE } from "./ask.ts";
import { NODE } from "./node.ts";

type Words = Readonly<Record<string, string>>;

export interface BenchJob {
  readonly metadata: { readonly name: string; readonly uid: string; readonly annotations?: Words };
  readonly spec: { readonly template: { readonly metadata: { readonly labels: Words }; readonly spec: object } };
}

export async function startPod(admin: Transport, namespace: string, job: BenchJob): Promise<void> {
  const startedAt = new Date().toISOString();
  await putPod(admin, namespace, job, { phase: "Running", ready: true, state: { running: { startedAt } } });
}

export async function finishPod(admin: Transport, namespace: string, job: BenchJob): Promise<void> {
  const now = new Date().toISOString();
  const terminated = { exitCode: 0, reason: "Completed", startedAt: now, finishedAt: now };
  await putPod(admin, namespace, job, { phase: "Succeeded", ready: false, state: { terminated } });
}

interface PodNow {
  readonly phase: "Running" | "Succeeded";
  readonly ready: boolean;
  readonly state: object;
}

/** A pod of the Job, on the bench's node. */
async function putPod(admin: Transport, namespace: string, job: BenchJob, { phase, ready, state }: PodNow): Promise<void> {
  const { name, uid } = job.metadata;
  const { metadata, spec } = job.spec.template;
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  const own = { apiVersion: "batch/v1", kind: "Job", name, uid, controller: true, blockOwnerDeletion: true };
  const labels = { ...metadata.labels, [CONTROLLER_UID]: uid, "batch.kubernetes.io/job-name": name };
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: `${name}-bench`, labels, ownerReferences: [own] },
    spec: { ...spec, nodeName: NODE },
  };
  await ask(admin, { method: "POST", path: pods, body: pod });
  const container = { name: CONTAINER, image: "busybox", imageID: "", ready, restartCount: 0, state };
  const status = { phase, startTime: new Date().toISOString(), containerStatuses: [container] };
  await ask(admin, { method: "PATCH", path: `${pods}/${name}-bench/status`, contentType: MERGE, body: { status } });
}

export async function finishJob(admin: Transport, namespace: string, { metadata: { name } }: BenchJob): Promise<void> {
  const now = new Date().toISOString();
  const met = (type: string): object => ({ type, status: "True", reason: "CompletionsReached", lastTransitionTime: now });
  const conditions = [met("SuccessCriteriaMet"), met("Complete")];
  const status = { startTime: now, completionTime: now, succeeded: 1, ready: 0, terminating: 0, conditions };
  const path = `/apis/batch/v1/namespaces/${namespace}/jobs/${name}/status`;
  await ask(admin, { method: "PATCH", path, contentType: MERGE, body: { status } });
}

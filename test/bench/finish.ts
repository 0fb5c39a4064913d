/** What a kubelet and the Job controller would write of a Job that ended well: its pod's status, and its own. */
import { CONTAINER, CONTROLLER_UID } from "@longshore/domain/run/marks.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { ask, MERGE } from "./ask.ts";
import { NODE } from "./node.ts";

type Words = Readonly<Record<string, string>>;

export interface BenchJob {
  readonly metadata: { readonly name: string; readonly uid: string; readonly annotations?: Words };
  readonly spec: { readonly template: { readonly metadata: { readonly labels: Words }; readonly spec: object } };
}

/** A pod of the Job, on the bench's node, which has ended with exit code 0. */
export async function finishPod(admin: Transport, namespace: string, job: BenchJob): Promise<void> {
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
  const now = new Date().toISOString();
  const terminated = { exitCode: 0, reason: "Completed", startedAt: now, finishedAt: now };
  const container = { name: CONTAINER, image: "busybox", imageID: "", ready: false, restartCount: 0, state: { terminated } };
  const status = { phase: "Succeeded", startTime: now, containerStatuses: [container] };
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

/**
 * The Job controller: makes pods, counts how they ended, and concludes.
 *
 * The bug this prevents: a Job that ends more reliably than a real one. As on a real cluster, a pod is counted only while it
 * has its tracking finalizer, and the deletion of its Job removes that finalizer at once. So a Job that is deleted while its
 * pod runs never gets a condition, but a Job whose pod had just succeeded still may.
 */
import { pick } from "./delays.ts";
import type { Parts } from "./parts.ts";
import { deleteObject } from "../server/delete.ts";
import { failureCountOf, indexOf } from "./indexes.ts";
import { conclude, countPods, failedAtMs, type Tally } from "./job-status.ts";
import {
  type ApiObject,
  COMPLETION_INDEX,
  CONTROLLER_UID,
  type Container,
  conditionTrue,
  controllerOf,
  FAILURE_COUNT,
  finishedJob,
  finishedPhase,
  holds,
  isDeleting,
  type JobObject,
  type JobStatus,
  type PodObject,
  TRACKING,
  timestamp,
  withoutFinalizer,
} from "../objects.ts";
import { Refusal } from "../server/status.ts";
import type { Change } from "../server/store.ts";
import { admit } from "../server/admission.ts";
import { recordEvent } from "./events.ts";
import { createName, createUid } from "../server/write.ts";

const BACKOFF_MS = 10_000;
const BACKOFF_MOST_MS = 600_000;
const REFUSED_FIRST_MS = 1_000;

export function startJobController(parts: Parts): void {
  const { store, clock, agenda, delays } = parts;
  /** How often in a row admission refused the pods of a Job. */
  const refused = new Map<string, number>();
  /** Jobs that had begun before this start, and were not looked at since. */
  const begunBefore = new Set<string>();

  function hear(change: Change): void {
    const { object } = change;
    if (change.resource === "jobs") {
      if (change.type === "ADDED" && (object as JobObject).status.startTime !== undefined) begunBefore.add(object.metadata.uid);
      if (change.type === "DELETED") forget(object);
      else wake(object.metadata.uid);
    }
    if (change.resource !== "pods") return;
    const owner = controllerOf(object);
    const known = owner === undefined ? undefined : store.exists(owner.uid);
    if (owner !== undefined && known !== undefined) wake(owner.uid);
    else if (change.type !== "DELETED" && holds(object, TRACKING)) letGoSoon(object.metadata.uid);
  }

  const wake = (uid: string): void => agenda.soon(`job:${uid}`, pick(delays.jobMs, clock), () => sync(uid));

  function forget(job: ApiObject): void {
    const { uid } = job.metadata;
    refused.delete(uid);
    begunBefore.delete(uid);
    for (const it of ["job", "deadline", "retry"]) agenda.cancel(`${it}:${uid}`);
    for (const { resource, object } of store.dependents(uid)) {
      if (resource === "pods" && holds(object, TRACKING)) letGoSoon(object.metadata.uid);
    }
  }

  const letGoSoon = (podUid: string): void => agenda.soon(`stray:${podUid}`, pick(delays.jobMs, clock), () => letGo(podUid));

  /** Removes the tracking finalizer of a pod that is counted already, or that no Job will count. */
  function letGo(podUid: string): void {
    const pod = store.exists(podUid);
    if (pod !== undefined && holds(pod, TRACKING)) store.replace("pods", withoutFinalizer(pod, TRACKING));
  }

  function sync(uid: string): void {
    const job = store.exists(uid) as JobObject | undefined;
    if (job === undefined) return;
    const pods = podsOf(uid);
    if (finishedJob(job) !== undefined) {
      for (const pod of pods) letGo(pod.metadata.uid);
      return;
    }
    const nowMs = clock.now();
    // A suspended Job keeps its start time. A resumed Job gets a new one, unless its old deadline has passed: that is checked
    // first.
    const resumed = !job.spec.suspend && conditionTrue(job, "Suspended") !== undefined;
    const tally = countPods(job, pods);
    // Work that ended by itself while no controller ran is told as it ended, though its deadline may have passed since.
    const endedAlone = begunBefore.delete(uid) && pods.length > 0 && tally.active.length === 0;
    const verdict = conclude(job, tally, endedAlone ? undefined : job.status.startTime, nowMs);
    const standing = resumed && verdict === undefined ? undefined : job.status.startTime;
    const startTime = standing ?? (job.spec.suspend ? undefined : timestamp(nowMs));
    // Pods that still run when a Job fails count as failed with it.
    const lost = verdict?.type === "Failed" && conditionTrue(job, "FailureTarget") === undefined ? tally.active.length : 0;
    const write = (final: boolean): void =>
      writeStatus(uid, tally.status(job, { ...podsNow(uid), startTime, verdict, final, lost, nowMs }));
    if (verdict !== undefined) stopPods(tally.active);
    else if (!isDeleting(job) && job.spec.suspend) suspendPods(tally.active);
    else if (!isDeleting(job)) manage(job, tally);
    write(false);
    for (const pod of pods) {
      const counted = (finishedPhase(pod) && !awaitsSuccessor(tally, pod)) || tally.failed.includes(pod);
      if (isDeleting(job) || verdict !== undefined || counted) letGo(pod.metadata.uid);
    }
    if (verdict !== undefined && podsNow(uid).terminating === 0) write(true);
    if (verdict === undefined && startTime !== undefined && !job.spec.suspend) watchDeadline(job, startTime);
  }

  function stopPods(pods: readonly PodObject[]): void {
    for (const pod of pods) deleteObject(store, "pods", pod, {}, clock.now());
  }

  /** Deletes the pods of a suspended Job. They count neither as failed nor as succeeded. */
  function suspendPods(pods: readonly PodObject[]): void {
    for (const { metadata } of pods) {
      letGo(metadata.uid);
      const pod = store.exists(metadata.uid);
      if (pod !== undefined) deleteObject(store, "pods", pod, {}, clock.now());
    }
  }

  function podsNow(uid: string): { readonly active: readonly PodObject[]; readonly terminating: number } {
    const unfinished = podsOf(uid).filter((it) => !finishedPhase(it));
    return { active: unfinished.filter((it) => !isDeleting(it)), terminating: unfinished.filter(isDeleting).length };
  }

  const podsOf = (uid: string): readonly PodObject[] =>
    store
      .dependents(uid)
      .flatMap(({ resource, object }) => (resource === "pods" && controllerOf(object)?.uid === uid ? [object as PodObject] : []));

  function writeStatus(uid: string, status: JobStatus): void {
    const job = store.exists(uid) as JobObject | undefined;
    if (job !== undefined && JSON.stringify(job.status) !== JSON.stringify(status)) store.replace("jobs", { ...job, status });
  }

  function watchDeadline(job: JobObject, startTime: string): void {
    const seconds = job.spec.activeDeadlineSeconds;
    if (seconds === undefined) return;
    const { uid } = job.metadata;
    const atMs = Date.parse(startTime) + seconds * 1000;
    if (atMs > clock.now()) agenda.at(`deadline:${uid}`, atMs, () => sync(uid));
  }

  function manage(job: JobObject, tally: Tally): void {
    const { uid } = job.metadata;
    const perIndex = tally.indexes?.failed !== undefined;
    const dueMs = perIndex ? 0 : tally.lastFailureMs + backoffMs(tally.failedCount);
    if (tally.wanted > 0 && dueMs > clock.now()) {
      agenda.at(`retry:${uid}`, dueMs, () => sync(uid));
      return;
    }
    let nextMs = Number.POSITIVE_INFINITY;
    for (const index of tally.missing) {
      const before = index === undefined ? undefined : tally.indexes?.replaced.get(index);
      const atMs = before === undefined ? 0 : failedAtMs(before) + backoffMs(failureCountOf(before) + 1);
      if (atMs > clock.now()) nextMs = Math.min(nextMs, atMs);
      else if (!createPod(job, index, before)) return;
    }
    if (nextMs < Number.POSITIVE_INFINITY) agenda.at(`retry:${uid}`, nextMs, () => sync(uid));
  }

  function createPod(job: JobObject, index: number | undefined, before: PodObject | undefined): boolean {
    const pod = podFor(job, index, before, parts);
    const { uid, namespace = "" } = job.metadata;
    try {
      admit(store, "pods", namespace, pod).book();
    } catch (refusal) {
      if (!(refusal instanceof Refusal)) throw refusal;
      const { message } = refusal.answer.body as { readonly message: string };
      recordEvent(parts, job, "FailedCreate", `Error creating: ${message}`);
      const times = refused.get(uid) ?? 0;
      refused.set(uid, times + 1);
      agenda.at(`retry:${uid}`, clock.now() + Math.min(REFUSED_FIRST_MS * 2 ** times, BACKOFF_MOST_MS), () => sync(uid));
      return false;
    }
    refused.delete(uid);
    store.insert("pods", pod);
    return true;
  }

  store.listen(hear);
}

const backoffMs = (failures: number): number =>
  failures === 0 ? 0 : Math.min(BACKOFF_MS * 2 ** (failures - 1), BACKOFF_MOST_MS);

/** The number of its index's failures would be lost with it. */
const awaitsSuccessor = ({ indexes }: Tally, pod: PodObject): boolean => indexes?.replaced.get(indexOf(pod)) === pod;

/** The pod of a Job, or of one of its indexes, whose last pod was `before`. */
function podFor(job: JobObject, index: number | undefined, before: PodObject | undefined, parts: Parts): PodObject {
  const { template } = job.spec;
  const mark: Readonly<Record<string, string>> = index === undefined ? {} : { [COMPLETION_INDEX]: String(index) };
  const { name, namespace = "", uid } = job.metadata;
  const prefix = `${name}-${index === undefined ? "" : `${index}-`}`;
  const failures = before === undefined ? 0 : failureCountOf(before) + 1;
  const counted = job.spec.backoffLimitPerIndex === undefined ? {} : { [FAILURE_COUNT]: String(failures) };
  const annotations = { ...template.metadata?.annotations, ...mark, ...counted };
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: createName(parts, "pods", namespace, prefix),
      namespace,
      uid: createUid(parts),
      resourceVersion: "",
      generation: 1,
      creationTimestamp: timestamp(parts.clock.now()),
      labels: { ...template.metadata?.labels, [CONTROLLER_UID]: uid, ...mark },
      ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
      finalizers: [TRACKING],
      ownerReferences: [{ apiVersion: "batch/v1", kind: "Job", name, uid, controller: true, blockOwnerDeletion: true }],
    },
    spec: index === undefined ? template.spec : indexed(template.spec),
    status: { phase: "Pending" },
  };
}

function indexed(spec: PodObject["spec"]): PodObject["spec"] {
  const variable = {
    name: "JOB_COMPLETION_INDEX",
    valueFrom: { fieldRef: { fieldPath: `metadata.labels['${COMPLETION_INDEX}']` } },
  };
  const withIndex = (it: Container): Container => ({ ...it, env: [...(it.env ?? []), variable] });
  const { containers, initContainers } = spec;
  return {
    ...spec,
    containers: containers.map(withIndex),
    ...(initContainers && { initContainers: initContainers.map(withIndex) }),
  };
}

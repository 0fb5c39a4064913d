/**
 * Tells how the pods of one attempt ran, as far as was seen: the evidence of an outcome.
 *
 * The bug this prevents: telling people that nothing ran, although work did run. `started` is "no" only if every pod shows that
 * it never started anything and can start nothing any more; if that is not known, `started` is "unknown".
 */
import type { Evidence } from "@longshore/contract/messages/fact.ts";
import { diagnoseFailedJob } from "../diagnosis/jobs.ts";
import { diagnoseEnd, type Pods } from "../diagnosis/pods.ts";
import { CONTAINER } from "../run/marks.ts";
import { failedSlices, slicesSeen } from "./slices.ts";
import { type ContainerSeen, finishedCondition, isUnfinished, type JobSeen, isOnlyHoldLeft, type PodSeen } from "./seen.ts";

type Started = Evidence["started"];

/** Evidence of a finished or deleted Job and its remaining pods. */
export function evidenceOf(job: JobSeen, seen: Pods): Evidence {
  const pod = tellingOf(job, seen.pods);
  const failed = finishedCondition(job)?.type !== "Complete";
  const diagnosis = failed ? (diagnoseFailedJob(job, seen) ?? diagnoseEnd(seen)) : undefined;
  return {
    ...(pod ? evidenceOfPod(pod) : {}),
    ...(job.slices && evidenceOfSlices(job, seen.pods)),
    started: startedOf(job, seen.pods),
    ...(diagnosis && { diagnosis }),
  };
}

/** Their messages are told by index, and the step ran from its first slice's start to its last slice's end. */
function evidenceOfSlices(job: JobSeen, pods: readonly PodSeen[]): object {
  const all = pods.map(evidenceOfPod);
  return {
    message: undefined,
    slices: slicesSeen(job, pods, mainOf),
    ...some({
      startedAt: earliest(all.flatMap(({ startedAt }) => startedAt ?? [])),
      finishedAt: all
        .flatMap(({ finishedAt }) => finishedAt ?? [])
        .toSorted()
        .at(-1),
    }),
  };
}

/** Evidence of a pod that has begun to run. */
export function evidenceOfPod(pod: PodSeen): Evidence {
  const main = mainOf(pod);
  const ended = main?.terminated;
  const startedAt = earliest(
    pod.containers.flatMap((it) => it.running?.startedAt ?? (hasRun(it) ? (it.terminated?.startedAt ?? []) : [])),
  );
  return {
    started: pod.containers.some(hasRun) ? "yes" : "unknown",
    pod: pod.name,
    ...some({
      node: pod.node,
      imageDigest: main?.imageId === undefined ? undefined : /sha256:[0-9a-f]{64}/.exec(main.imageId)?.[0],
      scheduledAt: pod.scheduledAt,
      startedAt,
      finishedAt: ended?.finishedAt,
      // Kubernetes gives a container that was never made the exit code 137, as if a program had been killed.
      exitCode: main !== undefined && neverMade(main) ? undefined : ended?.exitCode,
      message: ended?.message,
      annotations: Object.keys(pod.outputs).length === 0 ? undefined : pod.outputs,
    }),
  };
}

/** True if the pod, as it was seen, lacks an annotation that is an output of the step. */
export const lacksOutputs = ({ outputs }: JobSeen, pods: readonly PodSeen[]): boolean =>
  outputs.some((name) => !Object.hasOwn(telling(pods)?.outputs ?? {}, name));

/** Of slices, the pod of the first that failed. */
export const tellingOf = (job: JobSeen, pods: readonly PodSeen[]): PodSeen | undefined =>
  failedSlices(job, pods)[0] ?? telling(pods);

/** Whether any container ran. A Complete Job ran one, even if nobody saw it. */
export function startedOf(job: JobSeen, pods: readonly PodSeen[]): Started {
  if (job.slices?.count === 0) return "no";
  if (finishedCondition(job)?.type === "Complete" || job.succeeded > 0 || pods.some((pod) => pod.containers.some(hasRun)))
    return "yes";
  const all = pods.length > 0 && pods.length >= job.active + job.failed;
  return all && pods.every(endedUnstarted) ? "no" : "unknown";
}

/**
 * True if no further container of this pod can start: the pod has ended, or it is being deleted without a node, and the API
 * server gives it no node now. A pod that is being deleted on a node does not count: its kubelet may start a container before
 * it hears of the deletion.
 */
const isPastStarting = (pod: PodSeen): boolean => !isUnfinished(pod) || (pod.deletionAt !== undefined && pod.node === undefined);

/** The pod can start nothing any more, and shows that it never did. */
export const endedUnstarted = (pod: PodSeen): boolean => isPastStarting(pod) && neverStarted(pod);

/** No node was ever told of the pod. */
export const isUnplaced = (pod: PodSeen): boolean => isUnfinished(pod) && pod.node === undefined && pod.deletionAt === undefined;

/**
 * True if each container of the pod shows that it never ran. If a pod on a node shows no containers, they may have run; if a
 * pod was ended because its node was lost, it shows only the node's last report.
 */
const neverStarted = (pod: PodSeen): boolean =>
  pod.node === undefined ||
  (pod.disruption === undefined &&
    pod.containers.length > 0 &&
    pod.containers.every((it) => it.restarts === 0 && (it.waiting !== undefined || couldNotStart(it) || neverMade(it))));

const couldNotStart = ({ terminated }: ContainerSeen): boolean =>
  terminated?.reason === "StartError" || terminated?.reason === "ContainerCannotRun";

/** The status of a container that was never made, once its pod has ended. A container that the node lost is shown as made. */
const neverMade = ({ terminated, wasMade }: ContainerSeen): boolean =>
  terminated?.reason === "ContainerStatusUnknown" && terminated.startedAt === undefined && !wasMade;

/** "ContainerStatusUnknown" means that the node does not know whether the container ran. */
export const hasRun = (it: ContainerSeen): boolean =>
  it.running !== undefined ||
  it.restarts > 0 ||
  (it.terminated !== undefined && !couldNotStart(it) && it.terminated.reason !== "ContainerStatusUnknown");

/** True if a look shows the Job deleted for good: only our hold is left, and no unfinished pod. */
export const isLookedDeleted = (job: JobSeen, pods: readonly PodSeen[]): boolean =>
  isOnlyHoldLeft(job) && !pods.some(isUnfinished);

/**
 * If a pod of a Job under deletion is orphaned and runs on, the Job becomes Failed, too: the condition says only that the
 * controller cannot find the pod. So the failure is believed only if all pods that the Job counts are seen to have finished.
 */
export const isFailureBelieved = (job: JobSeen, pods: readonly PodSeen[]): boolean =>
  job.deletionAt === undefined || (pods.length >= Math.max(1, job.failed) && !pods.some(isUnfinished));

/** Picks the pod to tell of: one that succeeded, else one that ran, else the newest. */
export function telling(pods: readonly PodSeen[]): PodSeen | undefined {
  const rank = (pod: PodSeen): number => (pod.phase === "Succeeded" ? 2 : pod.containers.some(hasRun) ? 1 : 0);
  return pods.toSorted((a, b) => rank(b) - rank(a) || ((b.createdAt ?? "") < (a.createdAt ?? "") ? -1 : 1))[0];
}

/** Our container; if the pod has none of that name, the first that is no init container. */
export const mainOf = (pod: PodSeen): ContainerSeen | undefined =>
  pod.containers.find((it) => it.role === "main" && it.name === CONTAINER) ?? pod.containers.find((it) => it.role === "main");

const earliest = (times: readonly string[]): string | undefined => times.toSorted()[0];

type Present<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

/** Leaves out the fields that are undefined. */
const some = <T extends object>(fields: T): Present<T> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Present<T>;

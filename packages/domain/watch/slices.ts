/**
 * How the slices of a step stand and ended: what their Job counts, and what their pods show of it.
 *
 * The bugs this prevents: a slice that was ended because too many others failed, told as the one to blame; and a thousand pods'
 * words in one message.
 */
import {
  type Evidence, SLICE_MESSAGES_BYTES_MAX, type SliceCounts, SLICES_TOLD_MAX, type SliceTold,
} from "@longshore/contract/messages/fact.ts"; // biome-ignore format: a list of names
import { utf8Length } from "@longshore/contract/expressions/template.ts";
import { indexesIn } from "@longshore/contract/request/slices.ts";
import { diagnoseEnd } from "../diagnosis/pods.ts";
import { type ContainerSeen, finishedCondition, type JobSeen, type PodSeen } from "./seen.ts";

type Slices = NonNullable<JobSeen["slices"]>;

export const countsOf = ({ count, completed, failed }: Slices): SliceCounts => ({
  count,
  succeeded: indexesIn(completed).length,
  failed,
});

/** In how many tenths of its slices the Job has got an end. */
export const tenthsOf = ({ count, completed, failed }: Slices): number =>
  count === 0 ? 0 : Math.floor((10 * (indexesIn(completed).length + indexesIn(failed).length)) / count);

/** The last pods of the slices that failed, by index. Retries of a slice have pods of their own. */
export const failedSlices = ({ slices }: Pick<JobSeen, "slices">, pods: readonly PodSeen[]): readonly PodSeen[] =>
  lastPods(pods, "Failed", slices?.failed);

const succeededSlices = ({ slices }: Pick<JobSeen, "slices">, pods: readonly PodSeen[]): readonly PodSeen[] =>
  lastPods(pods, "Succeeded", slices?.completed);

/** `of`: the indexes, as Kubernetes writes them. Nothing is looked through if there are none. */
function lastPods(pods: readonly PodSeen[], phase: "Failed" | "Succeeded", of = ""): readonly PodSeen[] {
  if (of === "") return [];
  const last = new Map<number, PodSeen>();
  for (const pod of pods.filter((it) => it.phase === phase)) {
    const before = pod.index === undefined ? undefined : last.get(pod.index);
    if (pod.index !== undefined && (before?.createdAt ?? "") <= (pod.createdAt ?? "")) last.set(pod.index, pod);
  }
  return indexesIn(of).flatMap((index) => last.get(index) ?? []);
}

/** The pods of which more is told: of slices that failed, then of slices that succeeded. */
export const toldSlices = (job: JobSeen, pods: readonly PodSeen[]): readonly PodSeen[] =>
  [...failedSlices(job, pods), ...succeededSlices(job, pods)].slice(0, SLICES_TOLD_MAX);

export function slicesSeen(
  job: JobSeen,
  pods: readonly PodSeen[],
  mainOf: (pod: PodSeen) => ContainerSeen | undefined,
): Evidence["slices"] {
  if (job.slices === undefined) return undefined;
  const condition = finishedCondition(job);
  const told = toldSlices(job, pods).map((pod): SliceTold => {
    const exitCode = mainOf(pod)?.terminated?.exitCode;
    const sentence = pod.phase === "Failed" ? diagnoseEnd({ pods: [pod] })?.sentence : undefined;
    return {
      index: pod.index ?? 0,
      pod: pod.name,
      ...(exitCode !== undefined && { exitCode }),
      ...(sentence !== undefined && { sentence }),
    };
  });
  return {
    ...countsOf(job.slices),
    ...(condition?.type === "Failed" && condition.reason !== undefined && { reason: condition.reason }),
    ...(told.length > 0 && { told }),
    ...messagesOf(job, pods, mainOf),
  };
}

function messagesOf(
  job: JobSeen,
  pods: readonly PodSeen[],
  mainOf: (pod: PodSeen) => ContainerSeen | undefined,
): Pick<NonNullable<Evidence["slices"]>, "messages" | "cut"> {
  const messages: Record<string, string> = {};
  let bytes = 0;
  for (const pod of succeededSlices(job, pods)) {
    const message = mainOf(pod)?.terminated?.message ?? "";
    bytes += utf8Length(message);
    if (bytes > SLICE_MESSAGES_BYTES_MAX) return { messages, cut: true };
    if (message !== "") messages[String(pod.index)] = message;
  }
  return Object.keys(messages).length === 0 ? {} : { messages };
}

/**
 * Reads the diagnosis from a Job's own condition and from the Events about it and its pods.
 *
 * The bug this prevents: a Job whose pods may not be created waits for ever in silence, because neither quota nor admission
 * fails a Job. Only Events say why, so they are asked for when a Job stays without pods.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { indexesIn } from "@longshore/contract/request/slices.ts";
import { failedSlices } from "../watch/slices.ts";
import { type EventSeen, finishedCondition, type JobSeen } from "../watch/seen.ts";
import { diagnoseAdmission, diagnoseWebhook } from "./admission.ts";
import { diagnoseEnd, newestFirst, type Pods } from "./pods.ts";
import { diagnoseQuota } from "./quota.ts";
import { isOnlyLate, isStarved, missingOf, mountWhy, startWhy, volumeOf } from "./runtime-words.ts";
import { firstLineOf } from "./foreign-words.ts";

/** Diagnoses a failed Job. Its pods know more than the Job does, except about time. */
export function diagnoseFailedJob(job: JobSeen, seen: Pods): Diagnosis | undefined {
  const failed = finishedCondition(job);
  if (failed?.type !== "Failed") return undefined;
  const said = `Job ${job.name}: ${failed.reason ?? "Failed"}: ${failed.message ?? ""}`;
  if (failed.reason === "DeadlineExceeded")
    return diagnose("DeadlineExceeded", "It ran longer than the Job's deadline, and the cluster ended it.", [said]);
  const slices = job.slices && diagnoseSlices(job, seen, said);
  if (slices) return slices;
  const found = diagnoseEnd(seen);
  if (found) return { ...found, evidence: [...found.evidence, said] };
  return diagnose(
    "Unknown",
    `The Job failed and none of its pods shows why: ${firstLineOf(failed.message ?? failed.reason ?? "no reason is given")}.`,
    [said],
  );
}

/** Names the slices that failed, and the cause of the first. Pods that were ended with them say nothing of the cause. */
function diagnoseSlices(job: JobSeen, { pods, pulls }: Pods, said: string): Diagnosis | undefined {
  const { count, failed } = job.slices ?? { count: 0, failed: "" };
  const indexes = indexesIn(failed);
  if (indexes.length === 0) return undefined;
  const [pod] = failedSlices(job, pods);
  const found = (pod && diagnoseEnd({ pods: [pod], ...(pulls && { pulls }) })) ?? diagnose("Unknown", "Its pod is gone.");
  const which = failed.length > WHICH_MOST ? `${failed.slice(0, WHICH_MOST)}…` : failed;
  const sentence = `${indexes.length} of ${count} slices failed: ${which}. Slice ${pod?.index ?? indexes[0]}: ${found.sentence}`;
  return { ...found, sentence, evidence: [...found.evidence, said] };
}

const WHICH_MOST = 100;

type Rule = readonly [about: RegExp, says: (event: EventSeen) => Diagnosis];

const quoted = (event: EventSeen): readonly string[] => [`${event.reason}: ${event.message}`];

const ACCOUNT = "Create the service account in the group's namespace; a namespace's own, `default`, comes within seconds.";

/** Rules for Events about a Job without pods, from the clearest to the vaguest. */
const CREATING: readonly Rule[] = [
  [
    /is being terminated|NamespaceTerminating/i,
    (it) => diagnose("NamespaceTerminating", "The namespace is being deleted, so no pod can be created in it.", quoted(it)),
  ],
  [
    /serviceaccount "?([^" ]*)"? not found/i,
    (it) => diagnose("ConfigMissing", `The pod's service account is not there: ${reasonOf(it.message)}.`, quoted(it), ACCOUNT),
  ],
  [
    /denied the request|is forbidden|is invalid/i,
    (it) => diagnose("AdmissionDenied", `The cluster refuses to create the pod: ${reasonOf(it.message)}.`, quoted(it)),
  ],
  [/./, (it) => diagnose("Unknown", `The cluster cannot create the pod: ${reasonOf(it.message)}.`, quoted(it))],
];

/** Diagnoses an Event about a volume that a pod waits for on its node. */
function diagnoseMounting(event: EventSeen): Diagnosis {
  const volume = volumeOf(event.message);
  const missing = missingOf(event.message);
  return missing
    ? diagnose("ConfigMissing", `${volume} needs ${missing.why}.`, quoted(event), missing.hint)
    : diagnose("VolumeUnavailable", `${volume} cannot be mounted: ${mountWhy(event.message)}.`, quoted(event));
}

function diagnoseSettingUp(event: EventSeen): Diagnosis {
  const { why, hint } = startWhy(event.message);
  return diagnose(
    isStarved(event.message) ? "OutOfMemory" : "Unknown",
    `The node cannot set the pod up: ${why}.`,
    quoted(event),
    hint,
  );
}

/** Kubelets send this Event beside the one that names the cause. */
const isVague = ({ message }: EventSeen): boolean => /^Unable to attach or mount volumes/.test(message);

/**
 * Returns the diagnosis of the newest Event that says why there is no pod, or why a pod does not start; `undefined` if none
 * says it.
 */
export function diagnoseEvents(events: readonly EventSeen[]): Diagnosis | undefined {
  const newest = newestFirst(events.filter(({ message }) => !isOnlyLate(message)));
  for (const event of [...newest.filter((it) => !isVague(it)), ...newest.filter(isVague)]) {
    if (event.reason === "FailedCreate") return diagnoseCreating(event) ?? apply(CREATING, event);
    if (event.reason === "FailedMount" || event.reason === "FailedAttachVolume" || event.reason === "FailedMapVolume")
      return diagnoseMounting(event);
    if (event.reason === "FailedCreatePodSandBox") return diagnoseSettingUp(event);
  }
  return undefined;
}

const diagnoseCreating = (event: EventSeen): Diagnosis | undefined =>
  diagnoseQuota(event.message) ??
  diagnoseAdmission(event.message, "pod", quoted(event)) ??
  diagnoseWebhook(event.message, "The cluster", "pod", quoted(event));

function apply(rules: readonly Rule[], event: EventSeen): Diagnosis | undefined {
  return rules.find(([about]) => about.test(event.message))?.[1](event);
}

/** Removes Kubernetes' preamble: `Error creating: pods "x" is forbidden: …`. */
export const reasonOf = (message: string): string =>
  firstLineOf(message.replace(/^Error creating: /, "").replace(/^pods? "[^"]*" is (?:forbidden|invalid): /, ""));

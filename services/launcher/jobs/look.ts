/**
 * An authoritative look at the Job of an attempt's name: the Job first, then its pods by its UID. The other order races with a
 * pod that starts in between.
 *
 * The bug this prevents: a verdict from a stale view. "missing" is said only if the API server itself said so; a Job that could
 * not be read is "unseen", and nothing follows from that.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import { mayJudge, whyNot } from "@longshore/domain/group/view.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import { evidenceOf, evidenceOfPod, isLookedDeleted } from "@longshore/domain/watch/evidence.ts";
import { finishedCondition, isUnfinished, type JobSeen, type PodSeen, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import type { Listed, Unread } from "@longshore/kubernetes/request/read.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import type { Cluster, Parts } from "../parts.ts";

export type Look =
  | { readonly kind: "ours"; readonly job: JobSeen; readonly pods: readonly PodSeen[] }
  | { readonly kind: "occupant"; readonly job: JobSeen }
  /** The name is taken by a Job without our proof. */
  | { readonly kind: "foreign" }
  | { readonly kind: "missing" }
  | { readonly kind: "unseen"; readonly diagnosis: Diagnosis };

export async function look(
  parts: Pick<Parts, "keys" | "views">,
  cluster: Cluster,
  work: Pick<Work, "run" | "attempt">,
  signal: AbortSignal,
): Promise<Look> {
  // Without a namespace UID we would call our own Job foreign, and in another namespace "missing" says nothing of our Jobs.
  const view = viewOf(parts, cluster.name);
  if (!mayJudge(view)) return { kind: "unseen", diagnosis: whyNot(view, cluster.name) };
  const got = await cluster.reads.getJob(work.attempt.name, signal);
  if (got.kind === "missing") return got;
  if (got.kind !== "found") return unseen(got, cluster.name);
  const job = seeJob(got.object.raw);
  if (job === undefined || !isOurs(parts, cluster, work, job)) return { kind: "foreign" };
  if (job.mark?.occupant === true) return { kind: "occupant", job };
  const listed = await cluster.reads.podsOf(job.uid, signal);
  if (listed.kind !== "listed") return unseen(listed, cluster.name);
  return { kind: "ours", job, pods: listed.items.flatMap((it) => seePod(it) ?? []) };
}

/** True if the Job has the attempt's recorded UID, or a proof over this attempt in this namespace of this cluster. */
export function isOurs(
  parts: Pick<Parts, "keys" | "views">,
  { name: group }: Cluster,
  { run, attempt }: Pick<Work, "run" | "attempt">,
  job: JobSeen,
): boolean {
  if (job.uid === attempt.uid) return true;
  const { namespaceUid } = viewOf(parts, group);
  if (namespaceUid === undefined) return false;
  return parts.keys.isProof(job.proof, { run: run.id, step: attempt.step, attempt: attempt.n }, { group, namespaceUid });
}

function unseen(answer: Unread, group: GroupName): Look {
  const diagnosis = answer.kind === "answered" ? diagnoseReply(answer, { group }) : diagnoseTransport(answer.failure);
  return { kind: "unseen", diagnosis };
}

/** Turns a look at the attempt's own Job into the inputs that a watcher's facts would have been. */
export function inputsOf(group: GroupName, { job, pods }: Extract<Look, { kind: "ours" }>): readonly AttemptInput[] {
  const of = { uid: job.uid, rv: newest([job, ...pods]), group };
  const finished = finishedCondition(job);
  const evidence = evidenceOf(job, { pods });
  if (finished?.type === "Complete") return [{ kind: "complete", evidence, ...of }];
  // Without a deletion, the Job's own condition is enough. Otherwise its remaining pods decide: all must have finished.
  if (finished?.type === "Failed" && (job.deletionAt === undefined || !pods.some(isUnfinished)))
    return [{ kind: "failed", evidence, ...of }];
  if (isLookedDeleted(job, pods)) return [{ kind: "lookedDeleted", evidence, ...of }];
  if (job.deletionAt !== undefined) return [{ kind: "deleting", ...of }];
  const running = pods.find((pod) => evidenceOfPod(pod).started === "yes");
  return running === undefined ? [] : [{ kind: "started", evidence: evidenceOfPod(running), ...of }];
}

function newest(seen: readonly { readonly resourceVersion: string }[]): string {
  return seen.map((it) => it.resourceVersion).reduce((a, b) => (b.length > a.length || (b.length === a.length && b > a) ? b : a));
}

/**
 * Tells what is left of the recorded Job, after a look found its name free, or taken by another Job. "gone": provably nothing
 * that could still run; "orphans": pods of the Job that were left behind and have not finished. Finished pods stay behind for
 * ever, because nobody collects them. "unproved": something could not be read, or the namespace is another one.
 */
export type Remains =
  | { readonly kind: "gone"; readonly uid: Uid }
  | { readonly kind: "orphans"; readonly uid: Uid; readonly pods: readonly PodSeen[] }
  | { readonly kind: "unproved" };

export async function remainsOf(
  parts: Pick<Parts, "views">,
  cluster: Cluster,
  { uid, name }: Pick<Attempt, "uid" | "name">,
  signal: AbortSignal,
): Promise<Remains> {
  const unproved: Remains = { kind: "unproved" };
  const { namespaceUid: expected } = viewOf(parts, cluster.name);
  if (uid === undefined || expected === undefined) return unproved;
  if (!(await isNamespace(cluster, expected, signal))) return unproved;
  const again = await cluster.reads.getJob(name, signal);
  if (again.kind === "found" ? again.object.uid === uid : again.kind !== "missing") return unproved;
  const listed: Listed = await cluster.reads.podsOf(uid, signal);
  if (listed.kind !== "listed") return unproved;
  const pods = listed.items.flatMap((it) => seePod(it) ?? []);
  if (pods.length < listed.items.length || !(await isNamespace(cluster, expected, signal))) return unproved;
  const orphans = pods.filter(isUnfinished);
  return orphans.length > 0 ? { kind: "orphans", uid, pods: orphans } : { kind: "gone", uid };
}

/**
 * If the Job is gone and left pods behind, returns the deletion that a watcher would have told: the attempt is closing until
 * the pods are gone too.
 */
export function saidOf(
  remains: Exclude<Remains, { kind: "unproved" }>,
  { seenRv }: Pick<Attempt, "seenRv">,
  { name: group }: Cluster,
): AttemptInput {
  const { kind, uid } = remains;
  return kind === "gone" ? { kind, uid } : { kind: "deleting", vanished: true, uid, rv: seenRv ?? "0", group };
}

/** True if the group's namespace answers, and is the one with this UID. */
export async function isNamespace(cluster: Cluster, uid: string, signal: AbortSignal): Promise<boolean> {
  const namespace = await cluster.reads.getNamespace(signal);
  return namespace.kind === "found" && namespace.object.uid === uid;
}

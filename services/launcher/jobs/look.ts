/**
 * An authoritative look at what stands under an attempt's name: the Job first, then its pods by its UID. The other order
 * races with a pod that starts in between.
 *
 * The bug this prevents: a verdict from a stale view. "missing" is said only where the API server itself said so; whatever
 * could not be read is "unseen", and from that nothing follows.
 */
import type { GroupName, Uid } from "@longshore/contract/ids.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import { mayJudge, whyNot } from "@longshore/domain/group/may.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import { evidenceOf, evidenceOfPod, isLookedDeleted } from "@longshore/domain/watch/evidence.ts";
import { finishedCondition, isUnfinished, type JobSeen, type PodSeen, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import type { Listed, Unread } from "@longshore/kubernetes/request/read.ts";
import type { Work } from "@longshore/ledger/port.ts";
import type { Cluster, Parts } from "../parts.ts";
import { viewOf } from "../groups/views.ts";

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
  // Our own Job would be called foreign while its proof cannot be checked, and "missing" in another's namespace is no news of ours.
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

/** Its proof is of this attempt in this namespace of this cluster; a recorded UID needs no other proof. */
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

/** What a look at the attempt's own Job says, as the inputs that a watcher's facts would have been. */
export function inputsOf(group: GroupName, { job, pods }: Extract<Look, { kind: "ours" }>): readonly AttemptInput[] {
  const of = { uid: job.uid, rv: newest([job, ...pods]), group };
  const finished = finishedCondition(job);
  const evidence = evidenceOf(job, { pods });
  if (finished?.type === "Complete") return [{ kind: "complete", evidence, ...of }];
  // Without deletion its own word is enough; else what is left of its pods decides: none that has not finished.
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
 * What is left of the recorded Job, of which a look said that its name is free or another's. "gone": provably nothing that
 * could still do anything; "orphans": pods of it that were left behind and have not finished. Finished ones are left behind for
 * ever, since nobody collects them. Anything unread, or another namespace, means that nothing is proved.
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

/** A Job that went and left pods behind was deleted, as a watcher would have told: it is closed until they are gone too. */
export function saidOf(
  remains: Exclude<Remains, { kind: "unproved" }>,
  { seenRv }: Attempt,
  { name: group }: Cluster,
): AttemptInput {
  const { kind, uid } = remains;
  return kind === "gone" ? { kind, uid } : { kind: "deleting", vanished: true, uid, rv: seenRv ?? "0", group };
}

async function isNamespace(cluster: Cluster, uid: string, signal: AbortSignal): Promise<boolean> {
  const namespace = await cluster.reads.getNamespace(signal);
  return namespace.kind === "found" && namespace.object.uid === uid;
}

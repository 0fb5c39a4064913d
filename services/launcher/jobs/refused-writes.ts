/**
 * Writes that an API server refuses. The loops try them again for as long as it takes.
 *
 * The bug this prevents: a hold that nobody can take off, or a Job that nobody can delete, since the role lacks one verb, and a
 * log that says nothing of it.
 */
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import type { PodSeen } from "@longshore/domain/watch/seen.ts";
import type { Changed, Writes } from "@longshore/kubernetes/request/write.ts";
import type { Cluster, Parts } from "../parts.ts";

/** Passes the answer on. Silence is the breaker's and the probe's matter; an answer that is no success is told here. */
export function withRefusalTold<C extends Changed>(
  { log }: Pick<Parts, "log">,
  { name, namespace }: Cluster,
  what: string,
  changed: C,
): C {
  if (changed.kind !== "answered") return changed;
  const { code, sentence: why, hint } = diagnoseReply(changed, { group: name, namespace });
  log.warn("a cluster refuses a write, which is tried again", { group: name, what, status: changed.status, code, why, hint });
  return changed;
}

/** Nothing is left to do: it was done, or what it was about is not there, or is not ours. */
export const isSettled = ({ kind }: Changed): boolean => kind === "done" || kind === "missing" || kind === "foreign";

/** Pods are deleted by themselves only where nothing else will: a refusal leaves them running. */
export async function deletePod(
  parts: Pick<Parts, "log">,
  cluster: Cluster,
  { name, uid }: Pick<PodSeen, "name" | "uid">,
  how: Parameters<Writes["deletePod"]>[2],
  signal: AbortSignal,
): Promise<Changed> {
  return withRefusalTold(parts, cluster, `deleting the pod ${name}`, await cluster.writes.deletePod(name, uid, how, signal));
}

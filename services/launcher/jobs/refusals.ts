/**
 * Requests that an API server refuses. The loops try them again for as long as it takes.
 *
 * The bug this prevents: nobody can take a hold off, delete a Job or look for volumes, because the role lacks one verb, and no log
 * says so.
 */
import type { Uid } from "@longshore/contract/ids.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import type { Got, Listed } from "@longshore/kubernetes/request/read.ts";
import type { Changed, Writes } from "@longshore/kubernetes/request/write.ts";
import type { Cluster, Parts } from "../parts.ts";

/** Returns the answer, and logs it if it is a refusal. The breaker and the probe deal with missing answers. */
export function withRefusalTold<C extends Changed>(parts: Pick<Parts, "log">, cluster: Cluster, what: string, changed: C): C {
  if (changed.kind === "answered") tell(parts, cluster, "a cluster refuses a write, which is tried again", what, changed);
  return changed;
}

/** As `withRefusalTold`, for what was read. */
export function withReadRefusalTold<G extends Got | Listed>(
  parts: Pick<Parts, "log">,
  cluster: Cluster,
  what: string,
  got: G,
): G {
  if (got.kind === "answered") tell(parts, cluster, "a cluster refuses a read, which is tried again", what, got);
  return got;
}

function tell(
  { log }: Pick<Parts, "log">,
  { name: group, namespace }: Cluster,
  message: string,
  what: string,
  answer: Parameters<typeof diagnoseReply>[0],
): void {
  const { code, sentence: why, hint } = diagnoseReply(answer, { group, namespace });
  log.warn(message, { group, what, status: answer.status, code, why, hint });
}

/** True if nothing is left to do: the write was done, or its object is missing or not ours. */
export const isSettled = ({ kind }: Changed): boolean => kind === "done" || kind === "missing" || kind === "foreign";

/**
 * Deletes a pod that nothing else will delete. If the deletion is refused, the pod goes on running, so the refusal is logged.
 */
export async function deletePod(
  parts: Pick<Parts, "log">,
  cluster: Cluster,
  { name, uid }: { readonly name: string; readonly uid: string },
  how: Parameters<Writes["deletePod"]>[2],
  signal: AbortSignal,
): Promise<Changed> {
  return withRefusalTold(parts, cluster, `deleting the pod ${name}`, await cluster.writes.deletePod(name, uid, how, signal));
}

/** Puts our hold back on a Job that lost it. True if the Job has the hold again. */
export async function holdAgain(
  parts: Pick<Parts, "log">,
  cluster: Cluster,
  { name, uid }: { readonly name: string; readonly uid: Uid },
  signal: AbortSignal,
): Promise<boolean> {
  const held = await cluster.writes.holdAgain(name, uid, HOLD, signal);
  return withRefusalTold(parts, cluster, `putting our hold back on ${name}`, held).kind === "done";
}

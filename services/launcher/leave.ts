/**
 * Leaving a namespace that is being deleted, while we still may.
 *
 * The failure this prevents: Kubernetes deletes a namespace's pods first, and some seconds after the last of them its Jobs,
 * Roles and accounts all at once. From then on nobody of us may take a hold off, and the namespace hangs for ever. So its
 * Jobs are deleted as soon as the deletion is seen: they end as any deleted Job does, and are released when their pods are gone.
 */
import type { Cluster, Parts } from "./parts.ts";
import { withRefusalTold } from "./refusals.ts";

export async function leave(
  { views, ledger, log }: Pick<Parts, "views" | "ledger" | "log">,
  cluster: Cluster,
  signal: AbortSignal,
): Promise<void> {
  const { name, writes } = cluster;
  const view = views.get(name);
  if (view?.leaving !== true) return;
  for (const { attempt } of await ledger.standing(name)) {
    if (signal.aborted) return;
    if (attempt.state !== "live" || attempt.uid === undefined) continue;
    log.warn("its namespace is being deleted, so the Job is deleted too, while it can still be released", {
      group: name,
      job: attempt.name,
    });
    const changed = await writes.deleteJob(attempt.name, attempt.uid, { propagation: "Foreground" }, signal);
    withRefusalTold({ log }, cluster, "delete a Job of a namespace that is being deleted", changed);
  }
}

/**
 * Evacuates a namespace that is being deleted, while we may still write there.
 *
 * The failure this prevents: a namespace that hangs for ever. Kubernetes deletes a namespace's pods first and, some seconds
 * after the last pod is gone, its Jobs, Roles and accounts all at once. From then on no launcher may take a hold off. So the
 * Jobs are deleted as soon as the namespace's deletion is seen: they end as any deleted Job does, and are released when their
 * pods are gone.
 */
import { lanes } from "@longshore/runtime/loop.ts";
import type { Standing } from "@longshore/ledger/port.ts";
import type { Cluster, Parts } from "../parts.ts";
import { withRefusalTold } from "../jobs/refusals.ts";
import { viewOf } from "./views.ts";

/**
 * The limit for deletions at the same time. One after the other, a thousand deletions would come too late. The cluster takes
 * more at once, but other loops need some of that to release Jobs.
 */
const LANES = 8;

type Evacuating = Pick<Parts, "views" | "ledger" | "log" | "recording">;

export async function evacuate(parts: Evacuating, cluster: Cluster, signal: AbortSignal): Promise<void> {
  if (viewOf(parts, cluster.name).state !== "terminating") return;
  const standing = await parts.ledger.standing(cluster.name, jobOf);
  async function* oneByOne(stop: AbortSignal) {
    for (const it of standing) {
      if (stop.aborted) return;
      yield it;
    }
  }
  await lanes(LANES, oneByOne, (it) => evacuateOne(parts, cluster, it, signal), signal);
}

const jobOf = ({ run, attempt: { state, uid, name, step, n } }: Standing) => ({ run, state, uid, name, step, n });

async function evacuateOne(
  parts: Evacuating,
  cluster: Cluster,
  { run, state, uid, name, step, n }: ReturnType<typeof jobOf>,
  signal: AbortSignal,
): Promise<void> {
  if (state !== "live" || uid === undefined) return;
  const changed = await cluster.writes.deleteJob(name, uid, { propagation: "Foreground" }, signal);
  withRefusalTold(parts, cluster, "delete a Job of a namespace that is being deleted", changed);
  if (changed.kind !== "done") return;
  const group = cluster.name;
  parts.log.warn("its namespace is being deleted, so the Job is deleted too, while it can still be released", {
    group,
    job: name,
  });
  // Records at once what a watcher will tell later, so that the Job is not deleted again at every turn, and is closed without
  // waiting.
  const { object } = changed;
  if (object?.deleting === true)
    await parts.recording({ run, step, n, input: { kind: "deleting", uid, rv: object.resourceVersion, group } });
}

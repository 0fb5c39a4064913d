/**
 * Evacuates a namespace that is being deleted, while we may still write there.
 *
 * The failure this prevents: Kubernetes deletes a namespace's pods first, and some seconds after the last of them its Jobs,
 * Roles and accounts all at once. From then on none of us may take a hold off, and the namespace hangs for ever. So its Jobs
 * are deleted as soon as the deletion is seen: they end as any deleted Job does, and are released when their pods are gone.
 */
import { lanes } from "@longshore/runtime/loop.ts";
import type { Standing } from "@longshore/ledger/port.ts";
import type { Cluster, Parts } from "../parts.ts";
import { withRefusalTold } from "../jobs/refused-writes.ts";
import { viewOf } from "./views.ts";

/**
 * Most deletions at the same time. One after the other, a thousand deletions would come too late. A cluster takes more at once,
 * but other loops release meanwhile.
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

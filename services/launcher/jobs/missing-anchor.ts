/**
 * An anchor that somebody deleted: Kubernetes removes the run's Jobs and volumes with it.
 *
 * The bug this prevents: a run that only says that its Job was deleted, and is restarted on volumes that are gone.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { RunId } from "@longshore/contract/ids.ts";
import type { AttemptInput } from "@longshore/domain/attempt/input.ts";
import type { Anchor } from "@longshore/domain/run/record.ts";
import type { Work } from "@longshore/ledger/port.ts";
import { viewOf } from "../groups/views.ts";
import type { Cluster, Parts } from "../parts.ts";
import { isNamespace } from "./look.ts";
import { withReadRefusalTold } from "./refusals.ts";

type Asked = Pick<Anchor, "number" | "namespace"> & { readonly run: RunId };

/** True if the group's own namespace says that the anchor is not there, or is being deleted. */
export async function isAnchorMissing(parts: Parts, cluster: Cluster, anchor: Asked, signal: AbortSignal): Promise<boolean> {
  const { run, number, namespace } = anchor;
  const { namespaceUid } = viewOf(parts, cluster.name);
  if (namespaceUid === undefined || namespace !== cluster.namespace) return false;
  const got = await cluster.reads.getAnchor(parts.keys.anchorName(run, number), signal);
  withReadRefusalTold(parts, cluster, `looking for what owns the volumes of ${run}`, got);
  const isMissing = got.kind === "missing" || (got.kind === "found" && got.object.deleting);
  return isMissing && (await isNamespace(cluster, namespaceUid, signal));
}

/** Asked once of an attempt whose Job somebody deleted: Kubernetes itself deletes the Jobs of an anchor that is gone. */
export async function whetherAnchorGone(
  parts: Parts,
  cluster: Cluster,
  { run: { id: run }, attempt, anchor }: Work,
  signal: AbortSignal,
): Promise<AttemptInput | undefined> {
  if (attempt.cause !== "external" || anchor === undefined || attempt.notes.anchorGone === true) return undefined;
  if (!(await isAnchorMissing(parts, cluster, { run, ...anchor }, signal))) return undefined;
  const name = parts.keys.anchorName(run, anchor.number);
  const sentence = `Somebody deleted the ConfigMap ${name}, which owned the run's volumes and Jobs: they went with it.`;
  const hint = "Restart it from its start (`longshore runs restart <run> --from start`), which makes new volumes.";
  return { kind: "anchorGone", diagnosis: diagnose("DeletedExternally", sentence, [], hint, true) };
}

/**
 * Whether each group's cluster answers, and whether it still is the cluster and namespace that it was.
 *
 * The bug this prevents: Jobs created in, or declared gone from, another cluster that now answers behind the same address.
 * The namespace's UID is fixed at the first answer; a group whose UID differs is not used until a person decides.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import type { Got } from "@longshore/kubernetes/read.ts";
import type { Cluster, Parts } from "./parts.ts";
import { steadily } from "./steadily.ts";

export function probe(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    steadily(parts, { what: `probe ${cluster.name}`, ms: parts.timing.probeMs, signal }, async (signal) => {
      await probeOne(parts, cluster, signal);
      // Until it was reached once, and while it is down, a run may be waiting for nothing else.
      if (parts.views.get(cluster.name)?.healthy !== true)
        await parts.clock.sleep(Math.min(1_000, parts.timing.probeMs), signal).then(() => probeOne(parts, cluster, signal));
    });
}

export async function probeOne(
  parts: Pick<Parts, "views" | "ledger" | "log" | "metrics" | "clock">,
  { name, reads, namespace }: Cluster,
  signal: AbortSignal,
): Promise<void> {
  const before = parts.views.get(name);
  const first = await reads.getNamespace(signal);
  // One silence is a lost packet or a busy minute; a group is given up for two in a row.
  const got = before?.healthy === true && isSilence(first) ? await again(parts, reads, signal) : first;
  if (signal.aborted) return;
  const known = before?.namespaceUid;
  const diagnosis = verdict(got, known, namespace);
  parts.metrics.set("longshore_group_up", { group: name }, diagnosis === undefined ? 1 : 0);
  const namespaceUid = known ?? (got.kind === "found" ? got.object.uid : undefined);
  if (before?.healthy === (diagnosis === undefined) && before.namespaceUid === namespaceUid) return;
  if (diagnosis === undefined) parts.log.info("a group is healthy", { group: name });
  else
    parts.log.warn("a group is unhealthy", { group: name, code: diagnosis.code, why: diagnosis.sentence, hint: diagnosis.hint });
  await parts.ledger.setGroup(name, {
    health: diagnosis === undefined ? "healthy" : "unhealthy",
    diagnosis,
    ...(namespaceUid !== undefined && { namespaceUid }),
  });
  // After the ledger knows it: proofs made with it must be checkable by every other launcher.
  parts.views.set(name, { namespaceUid, healthy: diagnosis === undefined, diagnosis });
}

const isSilence = ({ kind }: Got): boolean => kind === "unsent" || kind === "unanswered";

async function again({ clock }: Pick<Parts, "clock">, reads: Cluster["reads"], signal: AbortSignal): Promise<Got> {
  await clock.sleep(2_000, signal);
  return await reads.getNamespace(signal);
}

/** A write was answered as no read is: the token may list and not create, or the namespace is going away. */
export async function markUnhealthy(
  parts: Pick<Parts, "views" | "ledger" | "log">,
  { name }: Cluster,
  diagnosis: Diagnosis,
): Promise<void> {
  const view = parts.views.get(name);
  if (view?.healthy === false) return;
  parts.log.warn("a group refuses our writes", {
    group: name,
    code: diagnosis.code,
    why: diagnosis.sentence,
    hint: diagnosis.hint,
  });
  await parts.ledger.setGroup(name, { health: "unhealthy", diagnosis });
  parts.views.set(name, { namespaceUid: view?.namespaceUid, healthy: false, diagnosis });
}

function verdict(got: Got, known: string | undefined, namespace: string): Diagnosis | undefined {
  switch (got.kind) {
    case "found":
      if (got.object.deleting) return diagnose("NamespaceTerminating", `The namespace ${namespace} is being deleted.`);
      if (known === undefined || got.object.uid === known) return undefined;
      return diagnose(
        "GroupMoved",
        `The namespace ${namespace} is not the one that this group's Jobs were created in: it was recreated, or another cluster answers.`,
        [`expected UID ${known}`, `found ${got.object.uid}`],
      );
    case "missing":
      return diagnose("EndpointUnreachable", `The cluster has no namespace ${namespace}.`);
    case "answered":
      return diagnoseReply(got);
    case "unsent":
    case "unanswered":
      return diagnoseTransport(got.failure);
  }
}

/**
 * Whether each group's cluster answers, and whether it still is the cluster and namespace that it was.
 *
 * The bug this prevents: Jobs created in, or declared gone from, another cluster that now answers behind the same address.
 * The namespace's UID is fixed at the first answer; a group whose UID differs is not used until a person decides, by
 * `longshore group accept`.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { diagnoseReply, NO_NAMESPACE } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import type { Got } from "@longshore/kubernetes/request/read.ts";
import { isThrottled } from "@longshore/kubernetes/request/throttled.ts";
import { evacuate } from "./evacuate.ts";
import { type Cluster, isUnverified, type Parts } from "../parts.ts";
import { retryLoop } from "../loops/retry-loop.ts";

export function probe(parts: Parts, cluster: Cluster) {
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: `probe ${cluster.name}`, ms: parts.timing.probeMs, signal }, async (signal) => {
      const wasUnverified = isUnverified(parts, cluster.name);
      await probeOne(parts, cluster, signal);
      if (wasUnverified) parts.wakeUps.ready.wake();
      await evacuate(parts, cluster, signal);
      await serve(parts, cluster);
      // Until it was reached once, and while it is down, a run may be waiting for nothing else.
      if (parts.views.get(cluster.name)?.healthy !== true)
        await parts.clock.sleep(Math.min(1_000, parts.timing.probeMs), signal).then(() => probeOne(parts, cluster, signal));
    });
}

/** How often a launcher says that it has the group: taken out of every file, a group takes no more attempts. */
const SERVED_MS = 60_000;

async function serve({ ledger, views, clock }: Parts, { name }: Cluster): Promise<void> {
  const view = views.get(name);
  if (view === undefined || clock.now() - (view.servedMs ?? Number.NEGATIVE_INFINITY) < SERVED_MS) return;
  await ledger.setGroup(name, { served: true });
  views.set(name, { ...view, servedMs: clock.now() });
}

/** For so many probes a group stays healthy that another launcher found so. */
const BELIEVED_PROBES = 3;

/**
 * Two launchers may disagree, since one of them has no way to the cluster. The group is well as long as any of us finds it well:
 * else each would overwrite the other's word at every probe, and every waiting run would be told of both. Who finds it well, or
 * refuses our writes, holds a lease on that word; whoever thinks otherwise writes it only where nobody else holds it.
 */
async function mayContradict(
  { ledger, owner, timing }: Pick<Parts, "ledger" | "owner" | "timing">,
  name: GroupName,
  health: "healthy" | "unhealthy",
  isNews: boolean,
): Promise<boolean> {
  if (health === "healthy") {
    const free = !isNews || (await ledger.lease(`refused ${name}`, owner, 0));
    if (free) await ledger.lease(`healthy ${name}`, owner, timing.probeMs * BELIEVED_PROBES);
    return free;
  }
  return !isNews || (await ledger.lease(`healthy ${name}`, owner, 0));
}

export async function probeOne(
  parts: Pick<Parts, "views" | "ledger" | "log" | "metrics" | "clock" | "owner" | "timing">,
  { name, reads, namespace }: Cluster,
  signal: AbortSignal,
): Promise<void> {
  const before = parts.views.get(name);
  const first = await reads.getNamespace(signal);
  // One silence is a lost packet or a busy minute; a group is given up for two in a row.
  const got = before?.healthy === true && isSilence(first) ? await again(parts, reads, signal) : first;
  // It has too much to do, or we hold back for its sake: that tells nothing of its health, which stays what it was.
  if (signal.aborted || isHush(got)) return;
  // What other launchers found out, too: one that judged a group and then died would else have the last word for ever.
  const recorded = (await parts.ledger.groups()).find((it) => it.name === name);
  // The ledger's word alone, or what a person accepted would be undone by who remembers how it was.
  const known = recorded === undefined ? before?.namespaceUid : recorded.namespaceUid;
  const diagnosis =
    shutOut(verdict(got, known, { group: name, namespace }), recorded?.diagnosis, namespace) ?? refusal(parts, name);
  parts.metrics.set("longshore_group_up", { group: name }, diagnosis === undefined ? 1 : 0);
  const namespaceUid = known ?? (got.kind === "found" ? got.object.uid : undefined);
  const health = diagnosis === undefined ? "healthy" : "unhealthy";
  const turned = recorded?.health !== health || recorded.diagnosis?.code !== diagnosis?.code;
  const isAgreed = await mayContradict(parts, name, health, turned);
  const isNews = turned && isAgreed;
  // A namespace that was being deleted and is gone now is the same trouble in other words, and people read the words.
  const isReworded = isAgreed && recorded?.diagnosis?.sentence !== diagnosis?.sentence;
  if (isNews && diagnosis === undefined) parts.log.info("a group is healthy", { group: name });
  else if (isNews && diagnosis !== undefined)
    parts.log.warn("a group is unhealthy", { group: name, code: diagnosis.code, why: diagnosis.sentence, hint: diagnosis.hint });
  if (isNews || isReworded || recorded?.namespaceUid !== namespaceUid)
    await parts.ledger.setGroup(name, {
      ...(isAgreed && { health, diagnosis }),
      ...(recorded?.namespaceUid === undefined && namespaceUid !== undefined && { namespaceUid }),
    });
  // After the ledger knows it: proofs made with it must be checkable by every other launcher.
  const { refused, servedMs, quiet } = parts.views.get(name) ?? {};
  const isElsewhere = diagnosis !== undefined && !isAgreed;
  parts.views.set(name, {
    namespaceUid,
    healthy: diagnosis === undefined,
    diagnosis,
    ...(got.kind === "found" && got.object.deleting && got.object.uid === namespaceUid && { isTerminating: true }),
    ...(isElsewhere && { isElsewhere }),
    ...(refused && { refused }),
    ...(quiet && { quiet }),
    ...(servedMs !== undefined && { servedMs }),
  });
}

const isSilence = (got: Got): boolean => (got.kind === "unsent" || got.kind === "unanswered") && !isHush(got);

const isHush = (got: Got): boolean =>
  got.kind === "answered" ? got.status === 429 : got.kind === "unsent" && isThrottled(got.failure);

async function again({ clock }: Pick<Parts, "clock">, reads: Cluster["reads"], signal: AbortSignal): Promise<Got> {
  await clock.sleep(2_000, signal);
  return await reads.getNamespace(signal);
}

const REFUSED_FIRST_MS = 10_000;
const REFUSED_MOST_MS = 5 * 60_000;

/**
 * A write was answered as no read is: the token may list and not create, or the namespace is going away. Reads would find the
 * group well again at once, and every waiting run would be told of both, round and round: so it rests longer each time.
 */
export async function markUnhealthy(
  parts: Pick<Parts, "views" | "ledger" | "log" | "clock" | "owner">,
  { name }: Cluster,
  diagnosis: Diagnosis,
): Promise<void> {
  const view = parts.views.get(name);
  if (view?.healthy === false) return;
  const times = (view?.refused?.times ?? 0) + 1;
  const untilMs = parts.clock.now() + Math.min(REFUSED_MOST_MS, REFUSED_FIRST_MS * 2 ** Math.min(times - 1, 10));
  parts.views.set(name, {
    ...view,
    namespaceUid: view?.namespaceUid,
    healthy: false,
    diagnosis,
    refused: { times, untilMs, diagnosis },
  });
  const { code, sentence: why, hint } = diagnosis;
  parts.log.warn("a group refuses our writes", { group: name, code, why, hint, times });
  await parts.ledger.lease(`refused ${name}`, parts.owner, untilMs - parts.clock.now());
  await parts.ledger.setGroup(name, { health: "unhealthy", diagnosis });
}

/** A Job was created: whatever refused our writes is over. */
export function writesAreTaken({ views }: Pick<Parts, "views">, { name }: Cluster): void {
  const { refused, ...view } = views.get(name) ?? {};
  if (refused !== undefined) views.set(name, { namespaceUid: undefined, healthy: true, diagnosis: undefined, ...view });
}

/** Why writes rest, while they do. */
function refusal({ views, clock }: Pick<Parts, "views" | "clock">, name: GroupName): Diagnosis | undefined {
  const refused = views.get(name)?.refused;
  return refused !== undefined && clock.now() < refused.untilMs ? refused.diagnosis : undefined;
}

/** A namespace that is deleted takes our account and Role there with it: no new token mends that. */
function shutOut(diagnosis: Diagnosis | undefined, before: Diagnosis | undefined, namespace: string): Diagnosis | undefined {
  const isShut = diagnosis?.code === "AuthRejected" || diagnosis?.code === "Forbidden";
  if (!isShut || before?.code !== "NamespaceTerminating") return diagnosis;
  return diagnose(
    "NamespaceTerminating",
    `The namespace "${namespace}" is being deleted, and Longshore's account and Role there are gone with it.`,
    diagnosis.evidence,
    "Ask an administrator of the cluster to take the holds off Jobs that are left there: the README says how.",
  );
}

function verdict(
  got: Got,
  known: string | undefined,
  { group, namespace }: { readonly group: GroupName; readonly namespace: string },
): Diagnosis | undefined {
  switch (got.kind) {
    case "found":
      // Whose it is comes first: in another's that is being deleted our Jobs would be missing as if they had never been.
      if (known === undefined || got.object.uid === known)
        return got.object.deleting ? diagnose("NamespaceTerminating", `The namespace ${namespace} is being deleted.`) : undefined;
      return diagnose(
        "GroupMoved",
        `The namespace ${namespace} is not the one that this group's Jobs were created in: it was recreated, or another cluster answers.`,
        [`expected UID ${known}`, `found ${got.object.uid}`],
        `Point it back; or trust what is there now and give up what stood in the old one: \`longshore group accept ${group} --yes\`.`,
      );
    case "missing":
      return diagnose(
        "NamespaceTerminating",
        `The cluster of group "${group}" has no namespace "${namespace}".`,
        [],
        known === undefined ? NO_NAMESPACE : `${NO_NAMESPACE} Then \`longshore group accept ${group}\`.`,
      );
    case "answered":
      return diagnoseReply(got, { group, namespace });
    case "unsent":
    case "unanswered":
      return diagnoseTransport(got.failure, `The cluster of group "${group}"`);
  }
}

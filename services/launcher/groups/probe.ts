/**
 * Asks each group's cluster for the group's namespace, and tells the ledger what follows from the answer.
 *
 * The bug this prevents: Jobs created in, or declared gone from, another cluster that now answers at the same address. The
 * namespace's UID is fixed at the first answer; the table in domain/group/health.ts says what every later answer means.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { diagnoseReply } from "@longshore/domain/diagnosis/replies.ts";
import { diagnoseTransport } from "@longshore/domain/diagnosis/transport.ts";
import { BELIEVED_PROBES, type WordLease, wordOf } from "@longshore/domain/group/recorded-health.ts";
import type { GroupInput, GroupView, RecordedHealth } from "@longshore/domain/group/view.ts";
import { isDoubted, isWell, ledgerInput, probeAgainMs } from "@longshore/domain/group/view.ts";
import type { Got } from "@longshore/kubernetes/request/read.ts";
import { isThrottled } from "@longshore/kubernetes/request/guard.ts";
import type { GroupState } from "@longshore/ledger/port.ts";
import { retryLoop } from "../loops/retry-loop.ts";
import type { Cluster, Parts } from "../parts.ts";
import { evacuate } from "./evacuate.ts";
import { foreseen, heard, viewOf } from "./views.ts";

/** How often a launcher says that it serves the group. A group that no launcher serves takes no more attempts. */
const SERVED_MS = 60_000;

export function probe(parts: Parts, cluster: Cluster) {
  const { ledger, clock, timing, wakeUps, log } = parts;
  const { name } = cluster;
  let servedMs = Number.NEGATIVE_INFINITY;
  let wasPaused = false;

  /** A pause is another program's write: without this line, the log of a launcher that creates nothing does not say why. */
  function sayPause({ paused }: Pick<GroupState, "paused">): void {
    if (paused === wasPaused) return;
    wasPaused = paused;
    log.info(paused ? "a group is paused: no Job is created there until it is resumed" : "a group is resumed", { group: name });
  }

  async function serve(): Promise<void> {
    if (clock.now() - servedMs < SERVED_MS) return;
    await ledger.setGroup(name, { served: true });
    servedMs = clock.now();
  }

  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: `probe ${name}`, ms: timing.probeMs, signal }, async (signal) => {
      const wasUnverified = viewOf(parts, name).state === "unverified";
      const recorded = await probeOne(parts, cluster, signal);
      if (recorded !== undefined) sayPause(recorded);
      if (wasUnverified) wakeUps.ready.wake();
      await evacuate(parts, cluster, signal);
      await serve();
      const againMs = probeAgainMs(viewOf(parts, name));
      if (againMs === undefined) return;
      await clock.sleep(Math.min(againMs, timing.probeMs), signal);
      await probeOne(parts, cluster, signal);
    });
}

type Probing = Pick<Parts, "views" | "ledger" | "log" | "metrics" | "clock" | "owner" | "timing">;

/** Returns the group as the ledger had it, if the answer was compared with that. */
export async function probeOne(parts: Probing, cluster: Cluster, signal: AbortSignal): Promise<GroupState | undefined> {
  for (;;) {
    const input = inputOf(await cluster.reads.getNamespace(signal), cluster);
    if (signal.aborted) return undefined;
    const found = foreseen(parts, cluster, [input]);
    if (input.kind !== "throttled" && !isDoubted(found)) return await conclude(parts, cluster, input);
    heard(parts, cluster, input);
    if (!isDoubted(found)) return undefined;
    await parts.clock.sleep(probeAgainMs(found) ?? 0, signal);
  }
}

function inputOf(got: Got, { name: group, namespace }: Cluster): GroupInput {
  switch (got.kind) {
    case "found":
      return { kind: "answered", uid: got.object.uid, deleting: got.object.deleting };
    case "missing":
      return { kind: "missing" };
    case "answered":
      return got.status === 429
        ? { kind: "throttled" }
        : { kind: "refused", diagnosis: diagnoseReply(got, { group, namespace }) };
    case "unsent":
    case "unanswered":
      if (got.kind === "unsent" && isThrottled(got.failure)) return { kind: "throttled" };
      return { kind: "silent", diagnosis: diagnoseTransport(got.failure, `The cluster of group "${group}"`) };
  }
}

async function conclude(parts: Probing, cluster: Cluster, input: GroupInput): Promise<GroupState | undefined> {
  // The recorded health is judged too: otherwise a launcher that recorded it and then died would have the last word for ever.
  const recorded = (await parts.ledger.groups()).find(({ name }) => name === cluster.name);
  const inputs = [...(recorded ? [ledgerInput(recorded)] : []), input];
  const found = foreseen(parts, cluster, inputs);
  parts.metrics.set("longshore_group_up", { group: cluster.name }, isWell(found) ? 1 : 0);
  const became = await tell(parts, cluster, found, recorded);
  // Our view gets the UID only after the ledger has the UID: every other launcher must be able to check proofs that are made
  // with it.
  heard(parts, cluster, ...inputs, { kind: became });
  return recorded;
}

async function tell(
  { ledger, log, owner, timing }: Probing,
  { name }: Cluster,
  found: GroupView,
  recorded: RecordedHealth | undefined,
): Promise<"heeded" | "overruled"> {
  const word = wordOf(found, recorded);
  if (word === undefined) return "heeded";
  const { health, diagnosis, turns } = word;
  let against: WordLease | undefined;
  for (const lease of word.needs)
    if (against === undefined && !(await ledger.lease(`${lease} ${name}`, owner, 0))) against = lease;
  const mayTell = against === undefined;
  const isOurs = mayTell && (await ledger.lease(`${health} ${name}`, owner, timing.probeMs * BELIEVED_PROBES));
  if (turns && mayTell) tellPeople(log, name, diagnosis);
  // If only the sentence changed (a namespace was being deleted and is gone now), the new sentence is recorded too, because
  // people read it.
  const isTold = mayTell && (turns || (isOurs && recorded?.diagnosis?.sentence !== diagnosis?.sentence));
  const isNamed = recorded?.namespaceUid === undefined && found.namespaceUid !== undefined;
  if (isTold || isNamed)
    await ledger.setGroup(name, {
      ...(isTold && { health, diagnosis }),
      ...(isNamed && { namespaceUid: found.namespaceUid }),
    });
  return against === "healthy" ? "overruled" : "heeded";
}

function tellPeople(log: Probing["log"], group: string, diagnosis: Diagnosis | undefined): void {
  if (diagnosis === undefined) return log.info("a group is healthy", { group });
  const { code, sentence: why, hint } = diagnosis;
  log.warn("a group is unhealthy", { group, code, why, hint });
}

/** Records a refusal that every other create would meet too, although reads are answered. */
export async function writeRefused(
  parts: Omit<Probing, "metrics" | "timing">,
  cluster: Cluster,
  diagnosis: Diagnosis,
): Promise<void> {
  const { ledger, log, clock, owner } = parts;
  const { name: group } = cluster;
  const before = viewOf(parts, group);
  const after = heard(parts, cluster, { kind: "writeRefused", diagnosis });
  if (after === before || after.state !== "refusing") return;
  const { times, untilMs } = after.refusals;
  const { code, sentence: why, hint } = diagnosis;
  log.warn("a group refuses our writes", { group, code, why, hint, times });
  await ledger.lease(`refused ${group}`, owner, untilMs - clock.now());
  await ledger.setGroup(group, { health: "unhealthy", diagnosis });
}

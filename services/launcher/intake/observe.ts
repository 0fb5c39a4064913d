/**
 * Facts: a fact is believed if its proof is ours; then the domain's table applies it to its attempt.
 *
 * The bug this prevents: a fact about somebody's copy of our Job ends our run. The proof names the attempt and the namespace;
 * the table then compares the UID. A fact is acknowledged after the commit. If a fact is lost anywhere, the watcher repeats it
 * while the Job has our hold.
 */
import type { Delivery } from "@longshore/broker/port.ts";
import { readFact } from "@longshore/contract/messages/envelope.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { inputOf, type JobFact } from "@longshore/domain/attempt/input.ts";
import { ledgerInput } from "@longshore/domain/group/view.ts";
import { isOfPrepared, notePrepared } from "../definitions/prepared.ts";
import { heard, viewOf } from "../groups/views.ts";
import type { Parts } from "../parts.ts";
import type { Outcome } from "./receive.ts";

export function observe(parts: Parts): (delivery: Delivery) => Promise<Outcome> {
  return async (delivery) => {
    const read = readFact(delivery.body);
    if (read.kind === "unreadable") return read;
    if (read.fact.type === "group.watched") {
      const { group, staleSeconds } = read.fact.data;
      // By the ledger's clock: ours may be an hour off, and then a watched group would seem unwatched.
      if (parts.clusters.has(group))
        await parts.ledger.setGroup(group, { watchedAtMs: (await parts.ledger.now()) - staleSeconds * 1000 });
      return { kind: "recorded" };
    }
    if (isOfPrepared(read.fact)) {
      await notePrepared(parts, read.fact);
      return { kind: "recorded" };
    }
    await learnNamespace(parts, read.fact.data.about.group);
    if (!isBelieved(parts, read.fact)) {
      parts.log.warn("a fact was not believed: its proof is not of that attempt in that namespace", {
        fact: read.fact.type,
        job: read.fact.data.about.name,
      });
      return { kind: "recorded" };
    }
    const { run, step, attempt, group, name, uid } = read.fact.data.about;
    // A proof can be copied with the Job that carries it: a Job of another name is a copy, and a stray.
    if (name !== parts.keys.jobName(run, step, attempt)) {
      if ((await parts.ledger.find(run)) !== undefined) await parts.ledger.addStray({ run, kind: "stray", group, name, uid });
      return { kind: "recorded" };
    }
    const recorded = await parts.recording({ run, step, n: attempt, input: inputOf(read.fact) });
    if (recorded.kind === "illegal")
      parts.log.warn("a fact does not fit what is known of its attempt", { fact: read.fact.type, run, step, attempt });
    return { kind: "recorded" };
  };
}

/**
 * A launcher that has not reached a group yet must not drop the group's facts: another launcher may have started Jobs there,
 * and not every fact is repeated. In that case the ledger has the namespace's UID.
 */
async function learnNamespace(parts: Parts, group: GroupName): Promise<void> {
  if (viewOf(parts, group).namespaceUid !== undefined) return;
  const found = (await parts.ledger.groups()).find(({ name }) => name === group);
  if (found !== undefined) heard(parts, found, ledgerInput(found));
}

function isBelieved(parts: Parts, { data: { about } }: JobFact): boolean {
  if (about.installation !== parts.installation || about.occupant === true) return false;
  const { namespaceUid } = viewOf(parts, about.group);
  if (namespaceUid === undefined) return false;
  return parts.keys.isProof(
    about.proof,
    { run: about.run, step: about.step, attempt: about.attempt },
    { group: about.group, namespaceUid },
  );
}

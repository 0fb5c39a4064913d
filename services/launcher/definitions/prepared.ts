/**
 * Definitions from clusters: what watchers see of prepared Jobs and CronJobs, judged and put into the ledger.
 *
 *   definition.seen ─▶ judged by annotations and the group's policy ─▶ ledger ─▶ a card, and what requests may name
 *
 * The failure this prevents: a card that promises what the launch would refuse. A fact carries no proof, and needs none: it makes a
 * card, and nothing runs before the launcher itself has read the object (jobs/prepared.ts).
 */
import { createHash } from "node:crypto";
import { canonical } from "@longshore/contract/json.ts";
import type { GroupSettings } from "@longshore/contract/group-settings.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import type { Fact, Prepared } from "@longshore/contract/messages/fact.ts";
import { definitionOf } from "@longshore/domain/prepared/definition-of.ts";
import type { Parts } from "../parts.ts";

type PreparedFact = Extract<Fact, { type: `definition${string}` }>;

export const isOfPrepared = (fact: Fact): fact is PreparedFact => fact.type.startsWith("definition");

/** Of what a Job made from the object runs: the same for two objects that differ in their name alone. */
export const digestOf = ({ runs = {} }: Pick<Prepared, "runs">): string =>
  createHash("sha256").update(canonical(runs)).digest("hex").slice(0, 16);

export async function notePrepared(parts: Parts, { type, data }: PreparedFact): Promise<void> {
  const { group, kind, resourceVersion } = data;
  if (data.installation !== parts.installation) return;
  if (type === "definition.gone")
    return await parts.ledger.losePrepared({ group, kind, resourceVersion, uids: { only: data.uid } });
  if (type === "definitions.listed")
    return await parts.ledger.losePrepared({ group, kind, resourceVersion, uids: { allBut: data.uids } });
  const settings = await settingsOf(parts, group);
  if (settings?.discover === undefined) return;
  const made = definitionOf(data, { name: group, settings });
  if (made === undefined) {
    parts.log.warn("a prepared object has a name that no definition can have", { group, kind, name: data.name });
    return;
  }
  const { name, uid, suspended, active, schedule, lastStartedAt, lastSucceededAt } = data;
  await parts.ledger.putPrepared({
    digest: digestOf(data),
    body: made.body,
    prepared: {
      group, kind, name, uid, resourceVersion, suspended, active, schedule, lastStartedAt, lastSucceededAt,
      problems: made.problems,
    },
  }); // biome-ignore format: one value
}

/** Another launcher may have the group. */
async function settingsOf({ clusters, ledger }: Parts, group: GroupName): Promise<GroupSettings | undefined> {
  return clusters.get(group)?.settings ?? (await ledger.groups()).find(({ name }) => name === group)?.settings;
}

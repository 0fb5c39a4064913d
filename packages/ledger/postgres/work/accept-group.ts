/**
 * A person accepts that a group is another cluster or namespace now: the group's attempts in the old one are given up, and the
 * next probe trusts the namespace that it finds.
 *
 * The bugs this prevents: a group that nobody can ever use again, since its first UID was kept for ever; and a group that is
 * trusted anew while attempts in it wait for Jobs of the old namespace, which would all seem to have vanished.
 *
 * A create that is still on its way to the old namespace may land in the new one if both have the same name, but does no harm
 * there. An attempt that is given up keeps its fence (`end` in the lifecycle makes an attempt "done" only if `isOpen` is
 * false). Until the fence has passed, the release loop keeps the attempt's name in the new namespace taken, with an occupant. A
 * Job that lands before the occupant is never adopted: its proof was made with the old UID (`isProof` in look.ts and
 * observe.ts), and no attempt has recorded the Job's own UID. The tally shows the Job as one that nobody knows, and a person
 * deletes it.
 */
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import { giveUp, lostIn } from "@longshore/domain/group/give-up.ts";
import { STANDING_STATES } from "@longshore/domain/group/group.ts";
import type { Accepted } from "../../port.ts";
import { inList, type Statement } from "../connection.ts";
import type { Parts } from "./record.ts";
import { lockRuns } from "../rows.ts";
import { write } from "../write.ts";

const LOCK_GROUP: Statement = {
  name: "lock_group",
  text: "select namespace, diagnosis ->> 'code' as code from cluster_group where name = $1 for no key update",
};

const STANDING_RUNS: Statement = {
  name: "standing_runs",
  text: `
select distinct r.id as run from attempt a join run r on r.key = a.run_key
where a.group_id = (select id from cluster_group where name = $1) and a.state in ${inList(STANDING_STATES)}
  and a.due is not null
union
select o.run_id from object o
where o.group_id = (select id from cluster_group where name = $1) and o.kind = 'anchor' and o.due < 'infinity'`,
};

const TRUST_ANEW: Statement = {
  name: "trust_anew",
  text: `update cluster_group set namespace_uid = null, health = 'unknown', diagnosis = null, version = version + 1 where name = $1`,
};

export async function acceptGroup({ database, epoch, jobName }: Parts, name: GroupName): Promise<Accepted> {
  return await database.transaction(async (queries, now) => {
    const [group] = await queries.all<{ namespace: string; code: string | null }>(LOCK_GROUP, [name]);
    if (group?.code !== "GroupMoved") return { kind: "notMoved" };
    const runs = await queries.all<{ run: RunId }>(STANDING_RUNS, [name]);
    const ids = runs.map(({ run }) => run);
    const [nowMs, held] = await Promise.all([now, lockRuns(queries, ids)]);
    const decided = [...held.values()].map((it) => ({ held: it, ...giveUp(it.record, name, { nowMs, epoch, jobName }) }));
    await write(queries, decided, nowMs, epoch);
    await queries.all(TRUST_ANEW, [name]);
    return { kind: "accepted", lost: lostIn(decided) };
  });
}

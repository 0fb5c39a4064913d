/**
 * A person accepts that a group is another cluster or namespace now: what stood in the old one is given up, and the next probe
 * trusts the namespace that it finds.
 *
 * The bugs this prevents: a group that nobody can ever use again, since the first UID that it had was kept for ever; and one that
 * is trusted anew while attempts in it wait for Jobs of the old one, which would all seem to have vanished.
 *
 * Why no create that is still on its way to the old namespace does harm in the new one, though it may land there where both have
 * one name: an attempt that is given up keeps its fence (`end` in the lifecycle makes it "done" only where `isOpen` is false), and
 * until that has passed the release loop holds its name in the new namespace with an occupant. What lands before the occupant is
 * never adopted: its proof was made with the old UID (`isProof` in look.ts and observe.ts), and no attempt has recorded its own.
 * The tally shows it as one that nobody knows, and a person deletes it.
 */
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import { giveUp, lostIn } from "@longshore/domain/group/give-up.ts";
import { STANDING_STATES } from "@longshore/domain/group/slots.ts";
import { inList, type Statement } from "./connection.ts";
import { lockRuns } from "./lock.ts";
import type { Accepted } from "../port.ts";
import type { Parts } from "./record.ts";
import { write } from "./write.ts";

const LOCK_GROUP: Statement = {
  name: "lock_group",
  text: "select namespace, diagnosis ->> 'code' as code from cluster_group where name = $1 for no key update",
};

const STANDING_RUNS: Statement = {
  name: "standing_runs",
  text: `
select distinct r.id as run from attempt a join run r on r.key = a.run_key
where a.group_id = (select id from cluster_group where name = $1) and a.state in ${inList(STANDING_STATES)}
  and a.due is not null`,
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

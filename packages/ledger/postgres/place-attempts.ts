/**
 * Gives waiting attempts a group, or the reason why no group can take them now.
 *
 * The bug this prevents: two launchers that each see the last free slot. Slots are counted and taken under the groups' row
 * locks, which every transaction takes before any run's lock.
 */
import type { RunRequest } from "@longshore/contract/request.ts";
import { UNSERVED_MS } from "@longshore/domain/group/group.ts";
import { type Candidate, placeAttempts, type PlacedAttempts } from "@longshore/domain/group/place-attempts.ts";
import { attemptIn } from "@longshore/domain/run/record.ts";
import type { Ledger, Placed, Work } from "../port.ts";
import { Bug, type Statement } from "./connection.ts";
import { type GroupColumns, groupOf, GROUPS } from "./groups.ts";
import type { Parts } from "./record.ts";
import { lockFreeRuns } from "./rows.ts";
import { write } from "./write.ts";

/**
 * Ready attempts of a group that is paused or that no launcher serves. No create of them was ever sent, so they may go
 * elsewhere.
 */
const WITHDRAWN = `group_id in (
    select id from cluster_group where paused or served_at is null or served_at <= now() - make_interval(secs => ${UNSERVED_MS / 1000})
  ) and state = 'ready' and due <= now()`;

/** This query takes no lock, so that an idle launcher disturbs nobody. */
const WAITING: Statement = {
  name: "waiting",
  text: `select 1 as waiting where exists (select from attempt where group_id is null and state = 'waiting' and due <= now())
    or exists (select from attempt where ${WITHDRAWN})`,
};

/**
 * This query runs under the groups' locks. Without them, two placers would choose the same attempts, and the second would place
 * none.
 */
const CANDIDATES: Statement = {
  name: "candidates",
  text: `
select r.id as run, a.step, a.n, case when $2 then s.spec end as spec
from (
  (select run_key, step, n, priority, due from attempt
    where group_id is null and state = 'waiting' and due <= now() order by priority desc, due limit $1)
  union all (select run_key, step, n, priority, due from attempt where ${WITHDRAWN} limit $1)
) a join run r on r.key = a.run_key left join run_spec s on s.run_key = a.run_key
order by a.priority desc, a.due, a.run_key, a.step, a.n`,
};

/** Returns `frozen` too: after a restore, nothing is claimed until a person confirms. */
const LOCK_GROUPS: Statement = {
  name: "lock_groups",
  text: "select id, (select frozen from installation) as frozen from cluster_group order by id for no key update of cluster_group",
};

interface CandidateColumns extends Candidate {
  /** Selected only if the attempt may be claimed at once. */
  readonly spec: RunRequest | null;
}

export async function place(
  { database, epoch, jobName }: Parts,
  { most, placer, claim }: Parameters<Ledger["place"]>[0],
): Promise<Placed> {
  if ((await database.all(WAITING)).length === 0) return { placed: 0, told: 0, more: false, works: [] };
  return await database.transaction(async (queries, now) => {
    const [nowMs, locked, candidates, rows] = await Promise.all([
      now,
      queries.all<{ frozen: boolean }>(LOCK_GROUPS),
      queries.all<CandidateColumns>(CANDIDATES, [most, claim !== undefined]),
      queries.all<GroupColumns>(GROUPS),
    ]);
    const claiming = locked.some(({ frozen }) => frozen) ? undefined : claim;
    const groups = rows.map(groupOf);
    const ids = candidates.map(({ run }) => run);
    const held = await lockFreeRuns(queries, ids);
    const records = new Map([...held].map(([id, { record }]) => [id, record]));
    const decided = placeAttempts(candidates, records, groups, placer, { nowMs, epoch, jobName }, claiming);
    const { changes, placed, told } = decided;
    const writings = [...changes].flatMap(([id, change]) => {
      const it = held.get(id);
      return it === undefined ? [] : [{ change, held: it }];
    });
    await write(queries, writings, nowMs, epoch);
    const more = candidates.length >= most && changes.size > 0;
    return { placed, told, more, works: worksOf(candidates, decided, nowMs) };
  });
}

function worksOf(candidates: readonly CandidateColumns[], { changes, claimed }: PlacedAttempts, nowMs: number): readonly Work[] {
  const specs = new Map(candidates.map(({ run, spec }) => [run, spec]));
  return claimed.map(({ run, step, n }) => {
    const after = changes.get(run)?.after;
    const attempt = after && attemptIn(after, step, n);
    const request = specs.get(run) ?? undefined;
    if (after === undefined || attempt === undefined || request === undefined)
      throw new Bug(`the run ${run} was claimed and has no request`);
    const { id, tenant, generation, plan, cancel } = after.run;
    return { attempt, run: { id, tenant, generation, plan, cancel }, request, nowMs };
  });
}

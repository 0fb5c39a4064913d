/** The groups' rows, and leases on whatever only one process should do at a time. */
import type { GroupName } from "@longshore/contract/ids.ts";
import { type Database, type Statement, toJson } from "./connection.ts";
import { SLOT_STATES } from "./decide.ts";
import type { GroupRow, GroupState } from "./port.ts";
import { CHANNEL } from "./write.ts";

export interface GroupColumns {
  readonly name: GroupName;
  readonly namespace: string;
  readonly jobs_max: number;
  readonly paused: boolean;
  readonly slots_used: number;
  readonly health: GroupState["health"];
  readonly ever_healthy: boolean;
  readonly diagnosis: NonNullable<GroupState["diagnosis"]> | null;
  readonly namespace_uid: string | null;
  readonly watched_at: number | null;
}

export const GROUPS: Statement = {
  name: "groups",
  text: `
select g.name, g.namespace, g.jobs_max, g.paused, coalesce(s.used, 0) as slots_used, g.health, g.ever_healthy, g.diagnosis,
  g.namespace_uid, g.watched_at
from cluster_group g left join (
  select group_id, count(*)::integer as used from attempt
  where state in (${SLOT_STATES.map((it) => `'${it}'`).join(", ")}) and due is not null group by group_id
) s on s.group_id = g.id
order by g.id`,
};

export const groupOf = (row: GroupColumns): GroupState => ({
  name: row.name,
  namespace: row.namespace,
  jobsMax: row.jobs_max,
  paused: row.paused,
  slotsUsed: row.slots_used,
  health: row.health,
  everHealthy: row.ever_healthy,
  diagnosis: row.diagnosis ?? undefined,
  namespaceUid: row.namespace_uid ?? undefined,
  watchedAtMs: row.watched_at ?? undefined,
});

/** Rows are only ever added: two launchers with the same file may do this at once. */
const PUT: Statement = {
  name: "put_groups",
  text: `
with v as materialized (
  select * from json_to_recordset($1) as v(place integer, name text, namespace text, jobs_max integer)
), added as (
  insert into cluster_group (name, namespace, jobs_max)
  select name, namespace, jobs_max from v where not exists (select from cluster_group g where g.name = v.name) order by place
  on conflict (name) do nothing
)
update cluster_group g set namespace = v.namespace, jobs_max = v.jobs_max, version = g.version + 1
from v where g.name = v.name and (g.namespace, g.jobs_max) is distinct from (v.namespace, v.jobs_max)`,
};

const SET: Statement = {
  name: "set_group",
  text: `
with v as (
  select * from json_to_record($2) as v(namespace_uid text, health text, diagnosis jsonb, paused boolean, watched_at float8)
), changed as (
  update cluster_group g set
    namespace_uid = case when 'namespaceUid' = any($3) then v.namespace_uid else g.namespace_uid end,
    health = case when 'health' = any($3) then v.health else g.health end,
    ever_healthy = g.ever_healthy or coalesce(v.health = 'healthy', false),
    diagnosis = case when 'diagnosis' = any($3) then v.diagnosis else g.diagnosis end,
    paused = case when 'paused' = any($3) then v.paused else g.paused end,
    watched_at = case when 'watchedAtMs' = any($3) then to_timestamp(v.watched_at / 1000.0) else g.watched_at end
  from v where g.name = $1 returning g.id
)
select count(*)::integer as changed from changed`,
};

/** A group that opens again: whoever waited for it need not wait for the next look. */
const REOPENED: Statement = {
  name: "reopened",
  text: `
with next as materialized (
  select key from attempt
  where group_id is null and state = 'waiting' and due > now()
    and coalesce((notes ->> 'notBeforeMs')::float8, 0) <= extract(epoch from now()) * 1000
  order by priority desc, due limit $1 for update skip locked
), woken as (
  update attempt a set due = now() from next where a.key = next.key returning 1
)
select pg_notify('${CHANNEL}', 'waiting') where exists (select from woken)`,
};

const WAKE_MOST = 1_000;

const LEASE: Statement = {
  name: "lease",
  text: `
insert into lease (what, owner, until)
select what, $2, clock_timestamp() + make_interval(secs => $3) from unnest($1::text[]) as what order by what
on conflict (what) do update set owner = excluded.owner, until = excluded.until
where lease.owner = excluded.owner or lease.until <= clock_timestamp()
returning what`,
};

export function groupQueries(database: Database) {
  return {
    putGroups: async (groups: readonly GroupRow[]): Promise<void> => {
      const rows = groups.map(({ name, namespace, jobsMax }, place) => ({ place, name, namespace, jobs_max: jobsMax }));
      await database.all(PUT, [toJson(rows)]);
    },
    groups: async (): Promise<readonly GroupState[]> => (await database.all<GroupColumns>(GROUPS)).map(groupOf),
    setGroup: async (
      name: GroupName,
      change: Partial<Pick<GroupState, "namespaceUid" | "health" | "diagnosis" | "paused" | "watchedAtMs">>,
    ): Promise<void> => {
      const { namespaceUid, health, diagnosis, paused, watchedAtMs } = change;
      const values = { namespace_uid: namespaceUid, health, diagnosis, paused, watched_at: watchedAtMs };
      await database.all(SET, [name, toJson(values), Object.keys(change)]);
      if (paused === false || health === "healthy") await database.all(REOPENED, [WAKE_MOST]);
    },
    /** Those of `what` that are the owner's now. A lease that was taken earlier is prolonged. */
    lease: async (what: readonly string[], owner: string, forMs: number): Promise<readonly string[]> =>
      (await database.all<{ what: string }>(LEASE, [what, owner, forMs / 1000])).map((row) => row.what),
  };
}

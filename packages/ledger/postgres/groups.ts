/** The groups' rows, and leases on tasks that only one process should do at a time. */
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import { PLACED_STATES, SLOT_STATES } from "@longshore/domain/group/group.ts";
import { groupNotices, healthNotice, pauseNotice } from "../group-notices.ts";
import type { Commanded, GroupChange, GroupState, PauseChange } from "../port.ts";
import { CHANNEL, type Database, inList, type Queries, type Statement, toJson } from "./connection.ts";

export interface GroupColumns {
  readonly name: GroupName;
  readonly namespace: string;
  readonly paused: boolean;
  readonly pause: NonNullable<GroupState["pause"]> | null;
  readonly tally: NonNullable<GroupState["tally"]> | null;
  readonly slots_used: number;
  readonly in_line: number;
  readonly settings: GroupState["settings"];
  readonly no_room: NonNullable<GroupState["noRoom"]> | null;
  readonly served_at: number | null;
  readonly health: GroupState["health"];
  readonly ever_healthy: boolean;
  readonly diagnosis: NonNullable<GroupState["diagnosis"]> | null;
  readonly namespace_uid: string | null;
  readonly watched_at: number | null;
  readonly bytes_used: number;
  readonly bytes_kept: number;
  readonly kept_until: number | null;
}

export const GROUPS: Statement = {
  name: "groups",
  text: `
select g.name, g.namespace, g.paused, g.pause, g.tally, (coalesce(s.used, 0) + coalesce(m.more, 0))::integer as slots_used, coalesce(s.in_line, 0) as in_line, g.health, g.ever_healthy, g.diagnosis,
  g.namespace_uid, g.watched_at, g.settings, g.no_room, g.served_at, coalesce(v.used, 0) as bytes_used, coalesce(v.kept, 0) as bytes_kept,
  v.kept_until
from cluster_group g left join (
  select group_id, count(*)::integer as used, (count(*) filter (where state = 'ready'))::integer as in_line from attempt
  where state in ${inList(SLOT_STATES)} and due is not null group by group_id
) s on s.group_id = g.id left join (
  select group_id, sum(slots - 1) as more from attempt
  where slots > 1 and state in ${inList(SLOT_STATES)} and due is not null group by group_id
) m on m.group_id = g.id left join (
  select group_id, sum(bytes) as used, sum(bytes) filter (where state = 'kept') as kept, min(due) filter (where state = 'kept') as kept_until
  from object where kind = 'anchor' and due < 'infinity' group by group_id
) v on v.group_id = g.id
order by g.id`,
};

export const groupOf = (row: GroupColumns): GroupState => ({
  name: row.name,
  namespace: row.namespace,
  paused: row.paused,
  pause: row.pause ?? undefined,
  tally: row.tally ?? undefined,
  slotsUsed: row.slots_used,
  inLine: row.in_line,
  settings: row.settings,
  noRoom: row.no_room ?? undefined,
  servedAtMs: row.served_at ?? undefined,
  health: row.health,
  everHealthy: row.ever_healthy,
  diagnosis: row.diagnosis ?? undefined,
  namespaceUid: row.namespace_uid ?? undefined,
  watchedAtMs: row.watched_at ?? undefined,
  storage: { usedBytes: row.bytes_used, keptBytes: row.bytes_kept, keptUntilMs: row.kept_until ?? undefined },
});

/**
 * Locks the groups before `PUT` asks which attempts are in them. Without the lock, an attempt could be placed meanwhile and be
 * overlooked.
 */
const LOCK: Statement = {
  name: "lock_put_groups",
  text: "select id from cluster_group where name = any($1) order by id for no key update",
};

/**
 * Adds and updates rows, and never deletes one: two launchers with the same file may do this at once. If all attempts that were
 * placed in the old namespace are done, the new namespace is trusted as it is found. An attempt that is placed from now on has
 * the new namespace's name in its notes, so that a launcher that still has the old file does not create its Job in the old
 * namespace: see ofAnotherFile in create.ts.
 */
const PUT: Statement = {
  name: "put_groups",
  text: `
with v as materialized (
  select * from json_to_recordset($1) as v(place integer, name text, namespace text, settings jsonb)
), added as (
  insert into cluster_group (name, namespace, settings, served_at)
  select name, namespace, settings, now() from v where not exists (select from cluster_group g where g.name = v.name) order by place
  on conflict (name) do nothing
), free as materialized (
  select g.id from cluster_group g join v on v.name = g.name
  where g.namespace <> v.namespace and not exists (
    select from attempt a where a.group_id = g.id and a.state in ${inList(PLACED_STATES)} and a.due is not null
  ) and not exists (select from object o where o.group_id = g.id and o.kind = 'anchor' and o.due < 'infinity')
)
update cluster_group g set namespace = v.namespace, settings = v.settings, served_at = now(),
  version = g.version + ((g.namespace, g.settings) is distinct from (v.namespace, v.settings))::integer,
  namespace_uid = case when f.id is null then g.namespace_uid end,
  health = case when f.id is null then g.health else 'unknown' end,
  diagnosis = case when f.id is null then g.diagnosis end
from v left join (free f join cluster_group n on n.id = f.id) on n.name = v.name where g.name = v.name`,
};

const AT = (name: string): string => `jsonb_build_object('${name}', floor(extract(epoch from clock_timestamp()) * 1000))`;

/**
 * If two watchers report different times, the later time counts, not the last report. Otherwise a watcher with an expired token
 * would make a watched group seem unwatched at each of its heartbeats. A stored time that lies in the future, from before the
 * clock was corrected, is ignored.
 *
 * If two launchers report the same change of health at once, the second finds the row as the first left it, and adds no notice.
 * The row's version is part of the notice's id.
 */
const SET: Statement = {
  name: "set_group",
  text: `
with v as (
  select * from json_to_record($2) as v(namespace_uid text, health text, diagnosis jsonb, paused boolean, pause jsonb, watched_at float8,
    no_room jsonb, tally jsonb, served boolean, notices text, tenant text, health_type text, health_body json, pause_type text, pause_body json)
), was as materialized (
  select id, health, diagnosis ->> 'code' as code, paused, pause - 'sinceMs' as pause from cluster_group where name = $1 for no key update
), turned as materialized (
  select v.health_type is not null and (was.health, was.code) is distinct from (v.health, v.diagnosis ->> 'code') as health,
    v.pause_type is not null and (was.paused, case when was.paused then was.pause end) is distinct from (v.paused, case when v.paused then v.pause end) as pause
  from v, was
), changed as (
  update cluster_group g set
    namespace_uid = coalesce(g.namespace_uid, v.namespace_uid),
    health = case when 'health' = any($3) then v.health else g.health end,
    ever_healthy = g.ever_healthy or coalesce(v.health = 'healthy', false),
    diagnosis = case when 'diagnosis' = any($3) then v.diagnosis else g.diagnosis end,
    paused = case when 'paused' = any($3) then v.paused else g.paused end,
    pause = case when not turned.pause then g.pause when v.paused then v.pause || ${AT("sinceMs")} end,
    watched_at = greatest(case when g.watched_at <= now() then g.watched_at end, to_timestamp(v.watched_at / 1000.0)),
    no_room = case when 'noRoom' = any($3) then v.no_room else g.no_room end,
    tally = case when 'tally' = any($3) then v.tally || ${AT("atMs")} else g.tally end,
    served_at = case when v.served then now() when 'served' = any($3) then null else g.served_at end,
    version = g.version + (turned.health or turned.pause)::integer
  from v, was, turned where g.id = was.id returning g.version
), told as (
  insert into notice (id, tenant, type, body, at)
  select v.notices || changed.version || it.what, v.tenant, it.type, it.body, clock_timestamp() from v, turned, changed, lateral (
    values (turned.health, '', v.health_type, v.health_body), (turned.pause, '/pause', v.pause_type, v.pause_body)
  ) as it(turned, what, type, body) where it.turned returning 1
)
select pg_notify('${CHANNEL}', 'notices') where exists (select from told)`,
};

/** Records a command that is about no run. A command that was recorded before gives no row. */
const REMEMBER: Statement = {
  name: "remember_group_command",
  text: `insert into command (tenant, source, id, kind, at) values ($1, $2, $3, $4, now()) on conflict do nothing returning id`,
};

/**
 * When a group opens again, the attempts that wait for a group are judged as if for the first time: this group may take them.
 */
const REOPENED: Statement = {
  name: "reopened",
  text: `
with next as materialized (
  select key from attempt
  where group_id is null and state = 'waiting' and due > now()
    and coalesce((notes ->> 'notBeforeMs')::float8, 0) <= extract(epoch from now()) * 1000
  order by priority desc, due limit $1 for update skip locked
), woken as (
  update attempt a set due = now(), waits_for = null from next where a.key = next.key returning 1
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

export function groupQueries(database: Database, installation: Installation) {
  return {
    putGroups: async (groups: readonly ConfiguredGroup[]): Promise<void> => {
      const rows = groups.map(({ name, namespace, settings }, place) => ({ place, name, namespace, settings }));
      await database.transaction(async (queries, now) => {
        await Promise.all([now, queries.all(LOCK, [groups.map(({ name }) => name)])]);
        await queries.all(PUT, [toJson(rows)]);
      });
    },
    groups: async (): Promise<readonly GroupState[]> => (await database.all<GroupColumns>(GROUPS)).map(groupOf),
    setGroup: (name: GroupName, change: GroupChange): Promise<void> => setGroup(database, name, change),
    commandGroup: (name: GroupName, change: PauseChange, { tenant, source, command }: Commanded): Promise<boolean> =>
      database.transaction(async (queries, now) => {
        await now;
        const kind = change.paused ? "pause" : "resume";
        if ((await queries.all(REMEMBER, [tenant, source, command, kind])).length === 0) return false;
        await setGroup(queries, name, change);
        return true;
      }),
    /** Returns the entries of `what` that the owner has leased now. A lease that the owner took earlier is prolonged. */
    lease: async (what: readonly string[], owner: string, forMs: number): Promise<readonly string[]> =>
      (await database.all<{ what: string }>(LEASE, [what, owner, forMs / 1000])).map((row) => row.what),
  };

  async function setGroup(queries: Pick<Queries, "all" | "announce">, name: GroupName, change: GroupChange): Promise<void> {
    const { namespaceUid, health, diagnosis, paused, pause = {}, watchedAtMs, noRoom, tally, served } = change;
    const [ofHealth, ofPause] = [healthNotice(name, change), pauseNotice(name, change)];
    const values = {
      ...{ health, diagnosis, paused, pause, tally, served, namespace_uid: namespaceUid },
      ...{ watched_at: watchedAtMs, no_room: noRoom },
      ...{ notices: groupNotices(installation, name), tenant: (ofHealth ?? ofPause)?.tenant },
      ...{ health_type: ofHealth?.type, health_body: ofHealth?.data, pause_type: ofPause?.type, pause_body: ofPause?.data },
    };
    const told = await queries.all(SET, [name, toJson(values), Object.keys(change)]);
    if (told.length > 0) queries.announce(["notices"]);
    const opens = paused === false || health === "healthy";
    if (opens && (await queries.all(REOPENED, [WAKE_MOST])).length > 0) queries.announce(["waiting"]);
  }
}

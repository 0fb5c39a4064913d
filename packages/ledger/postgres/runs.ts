/** Queries for people: one run, many runs, a run's story, and counts of everything. */
import type { EventType, Outcome } from "@longshore/contract/messages/event.ts";
import type { DefinitionName, GroupName, RunId, TenantName } from "@longshore/contract/ids.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { type AttemptState, noRuns, type RunRecord, type RunState } from "@longshore/domain/run/record.ts";
import type { Database, Statement } from "./connection.ts";
import type { Counts, RunFilter, RunRow, StoryEvent } from "../port.ts";
import type { AnchorColumns, AttemptColumns, NewestColumns, RunColumns } from "./rows.ts";
import { OUTBOX_LEASE } from "./write.ts";
import {
  ANCHOR_COLUMNS,
  anchorOf,
  ATTEMPT_COLUMNS,
  ATTEMPT_GROUP,
  attemptOf,
  newestOf,
  RUN_COLUMNS,
  RUN_GROUP,
  runOf,
  withAnchors,
} from "./rows.ts";

const FIND: Statement = {
  name: "find",
  text: `select ${RUN_COLUMNS}, s.spec from run r ${RUN_GROUP} join run_spec s on s.run_key = r.key
    where r.id = $1 and r.state <> 'tombstone'`,
};
const ATTEMPTS: Statement = {
  name: "attempts",
  text: `select ${ATTEMPT_COLUMNS} from attempt a ${ATTEMPT_GROUP} where a.run_key = $1 order by a.key`,
};

const ANCHORS: Statement = {
  name: "anchors",
  text: `select ${ANCHOR_COLUMNS} from object o join cluster_group og on og.id = o.group_id
    where o.run_id = $1 and o.kind = 'anchor' order by o.number`,
};

const LIST: Statement = {
  name: "list",
  text: `
select r.key, r.id, r.tenant, r.state, r.outcome, rg.name as group_name, r.plan->'definition'->>'name' as definition, r.accepted_at, r.ended_at,
  case when r.generation > 1 then (select max(e.at) from event e where e.run_key = r.key and e.type = 'run.restarted') end as restarted_at,
  (select max(a.outcome->'evidence'->>'finishedAt') from attempt a where a.run_key = r.key and a.generation = r.generation) as finished_at,
  e.type as newest, e.body->>'reason' as reason, e.body->'diagnosis'->>'code' as code, (e.body->>'exitCode')::float8 as exit_code
from run r ${RUN_GROUP} left join lateral (
  select e.type, e.body from event e
  where e.run_key = r.key and (e.seq = r.seq or (
    r.state = 'active' and not (r.plan->>'simple')::boolean and e.type in ('run.stalled', 'run.waiting')
    and not exists (select from event l where l.run_key = e.run_key and l.seq > e.seq and l.body->>'step' = e.body->>'step')
  ))
  order by e.type = 'run.stalled' desc, e.type = 'run.waiting' desc, e.seq desc limit 1
) e on true
where ($1::text is null and r.state <> 'tombstone' or r.state = $1) and ($2::text is null or r.outcome = $2)
  and ($3::text is null or rg.name = $3) and ($4::bigint is null or r.key < $4)
  and ($6::text[] is null or e.type = any($6))
  and ($7::text is null or starts_with(r.id, $7) and right(r.id, length($8::text)) = $8 and length(r.id) >= length($7) + length($8))
order by r.key desc limit $5`,
};

const STORY: Statement = {
  name: "story",
  text: `
select e.seq, e.generation, g.name as group_name, e.type, e.body, e.at
from event e join run r on r.key = e.run_key left join cluster_group g on g.id = e.group_id
where r.id = $1 and e.seq > $2 order by e.seq limit $3`,
};

/** An attempt that is due for longer than this is overdue: no loop came for it. */
export const OVERDUE_MS = 60_000;

/** Reads no object that is gone: a ledger keeps the rows of all anchors that ever were. */
export const COUNTS: Statement = {
  name: "counts",
  text: `
select
  (select coalesce(json_object_agg(state, n), '{}') from (select state, count(*) as n from run group by state) it) as runs,
  (select coalesce(json_object_agg(state, n), '{}') from (select state, count(*) as n from attempt group by state) it) as attempts,
  (select count(*) from outbox)::float8 as outbox,
  (select min(e.at) from outbox o join event e on e.run_key = o.run_key and e.seq = o.seq) as outbox_oldest,
  ((select count(*) from attempt where due < now() - make_interval(secs => ${OVERDUE_MS / 1000})) + there.overdue)::float8 as overdue,
  there.strays, there.anchors,
  exists (select from lease where starts_with(what, '${OUTBOX_LEASE}') and until > clock_timestamp()) as has_launcher,
  clock_timestamp() as now
from (
  select (count(*) filter (where kind <> 'anchor'))::float8 as strays, (count(*) filter (where kind = 'anchor'))::float8 as anchors,
    count(*) filter (where kind = 'anchor' and due < now() - make_interval(secs => ${OVERDUE_MS / 1000})) as overdue
  from object where due < 'infinity'
) there`,
};

const TIME: Statement = { name: "time", text: "select clock_timestamp() as now" };

interface ListColumns extends NewestColumns {
  readonly key: string;
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly state: RunState;
  readonly outcome: Outcome | null;
  readonly group_name: GroupName | null;
  readonly definition: DefinitionName | null;
  readonly accepted_at: number;
  readonly restarted_at: number | null;
  readonly ended_at: number | null;
  readonly finished_at: string | null;
}

interface StoryColumns {
  readonly seq: number;
  readonly generation: number;
  readonly group_name: GroupName | null;
  readonly type: EventType;
  readonly body: unknown;
  readonly at: number;
}

interface CountColumns {
  readonly runs: Partial<Record<RunState, number>>;
  readonly attempts: Partial<Record<AttemptState, number>>;
  readonly outbox: number;
  readonly outbox_oldest: number | null;
  readonly overdue: number;
  readonly strays: number;
  readonly anchors: number;
  readonly has_launcher: boolean;
  readonly now: number;
}

export function runQueries(database: Database) {
  return {
    find: async (id: RunId): Promise<{ readonly record: RunRecord; readonly request: RunRequest } | undefined> => {
      const [row] = await database.all<RunColumns & { readonly spec: RunRequest }>(FIND, [id]);
      if (row === undefined) return undefined;
      const attempts = await database.all<AttemptColumns>(ATTEMPTS, [row.key]);
      const anchors = row.plan?.storage?.anchor === undefined ? [] : await database.all<AnchorColumns>(ANCHORS, [id]);
      const record = withAnchors({ run: runOf(row), attempts: attempts.map(attemptOf) }, anchors.map(anchorOf));
      return { record, request: row.spec };
    },

    list: async ({ state, outcome, newest, like, group, before, most }: RunFilter): Promise<readonly RunRow[]> => {
      const after = before !== undefined && /^\d{1,18}$/.test(before) ? before : null;
      const values = [
        state ?? null,
        outcome ?? null,
        group ?? null,
        after,
        most,
        newest ?? null,
        like?.begins ?? null,
        like?.ends ?? null,
      ];
      const rows = await database.all<ListColumns>(LIST, values);
      return rows.map((row) => ({
        id: row.id,
        tenant: row.tenant,
        state: row.state,
        outcome: row.outcome ?? undefined,
        group: row.group_name ?? undefined,
        definition: row.definition ?? undefined,
        acceptedAtMs: row.accepted_at,
        begunAtMs: row.restarted_at ?? row.accepted_at,
        endedAtMs: row.ended_at ?? undefined,
        finishedAtMs: row.finished_at === null ? undefined : Date.parse(row.finished_at),
        newest: newestOf(row),
        cursor: row.key,
      }));
    },

    story: async (run: RunId, after: number, most: number): Promise<readonly StoryEvent[]> => {
      const rows = await database.all<StoryColumns>(STORY, [run, after, most]);
      return rows.map(({ seq, generation, group_name, type, body, at }) => ({
        sequence: seq,
        generation,
        group: group_name ?? undefined,
        type,
        data: body,
        atMs: at,
      }));
    },

    counts: async (): Promise<Counts> => {
      const [row] = await database.all<CountColumns>(COUNTS);
      if (row === undefined) throw new TypeError("a count of rows gave no row");
      const { runs, attempts, outbox, outbox_oldest: oldest, overdue, strays, anchors, has_launcher: hasLauncher, now } = row;
      return {
        runs: { ...noRuns(), ...runs },
        attempts,
        outbox,
        outboxOldestMs: oldest === null ? undefined : Math.max(0, now - oldest),
        overdue,
        strays,
        anchors,
        hasLauncher,
      };
    },

    now: async (): Promise<number> => {
      const [row] = await database.all<{ now: number }>(TIME);
      if (row === undefined) throw new TypeError("a select without a from gave no row");
      return row.now;
    },
  };
}

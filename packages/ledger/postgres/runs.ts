/** Queries for people: one run, many runs, a run's story, and counts of everything. */
import type { EventType } from "@longshore/contract/messages/event.ts";
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { InLine } from "@longshore/domain/run/concurrency.ts";
import { type AttemptState, noRuns, type RunRecord, type UnendedState } from "@longshore/domain/run/record.ts";
import type { Database, Statement } from "./connection.ts";
import { listRuns } from "./listed-runs.ts";
import type { Counts, RunFilter, RunRow, StoryEvent } from "../port.ts";
import type { AnchorColumns, AttemptColumns, RunColumns } from "./rows.ts";
import { OUTBOX_LEASE } from "./write.ts";
import {
  ANCHOR_COLUMNS,
  anchorOf,
  ATTEMPT_COLUMNS,
  ATTEMPT_GROUP,
  attemptOf,
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

const HOLDERS: Statement = {
  name: "holders",
  text: `select r.id from concurrency c join run r on r.key = c.run_key
    where c.tenant = $1 and c.key = $2 and c.let_in order by c.run_key limit $3`,
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

/**
 * Reads no run that has ended, no attempt that is done, and no object that is gone: a ledger keeps all that ever were. Each part asks
 * an index that has only the unfinished.
 */
export const COUNTS: Statement = {
  name: "counts",
  text: `
select
  (select coalesce(json_object_agg(state, n), '{}') from (select state, count(*) as n from run where state <> 'ended' group by state) it) as runs,
  coalesce((select n from hour_cursor), 0)::float8 as ends,
  (select coalesce(json_object_agg(state, n), '{}') from (select state, count(*) as n from attempt where due is not null group by state) it) as attempts,
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

interface StoryColumns {
  readonly seq: number;
  readonly generation: number;
  readonly group_name: GroupName | null;
  readonly type: EventType;
  readonly body: unknown;
  readonly at: number;
}

interface CountColumns {
  readonly runs: Partial<Record<UnendedState, number>>;
  readonly ends: number;
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

    list: (filter: RunFilter): Promise<readonly RunRow[]> => listRuns(database, filter),

    holders: async ({ tenant, key }: Pick<InLine, "tenant" | "key">, most: number): Promise<readonly RunId[]> =>
      (await database.all<{ id: RunId }>(HOLDERS, [tenant, key, most])).map(({ id }) => id),

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
      const {
        runs,
        ends,
        attempts,
        outbox,
        outbox_oldest: oldest,
        overdue,
        strays,
        anchors,
        has_launcher: hasLauncher,
        now,
      } = row;
      return {
        runs: { ...noRuns(), ...runs },
        ends,
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

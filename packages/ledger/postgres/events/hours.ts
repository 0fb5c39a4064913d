/**
 * How many runs ended in each hour, and how: kept from the feed, so that no scrape and no page counts a million runs.
 *
 * The bugs this prevents: an end that a crash counts twice or never, since the cursor moves in the statement that counts; and an
 * end that is passed by, because its transaction was committed after the cursor went on. Two launchers that count at once have read
 * the same place of the cursor, and only the first of them finds it there.
 */
import type { GroupName } from "@longshore/contract/ids.ts";
import { OUTCOMES, type Outcome } from "@longshore/contract/messages/event.ts";
import type { EndsCounted } from "../../port.ts";
import { type Database, inList, type Statement } from "../connection.ts";
import { type Cursor, fed, isAhead, NOW, serverOf } from "./feed.ts";

const TERMINAL = inList(OUTCOMES.map((it) => `run.${it}`));
const HOUR_OF = "date_trunc('hour', n.ended_at)";

/** The first cursor stands before the first event. */
const BEGIN: Statement = {
  name: "begin_hours",
  text: `
insert into hour_cursor (server, epoch, xid, run_key, seq, since)
select $1, epoch, '0', 0, 0, '-infinity' from installation on conflict do nothing`,
};

const CURSOR: Statement = {
  name: "hours_cursor",
  text: `
select c.server, c.epoch, c.xid, c.run_key, c.seq, c.server <> $1 or c.epoch <> i.epoch or ${isAhead("c.xid")} as is_lost
from hour_cursor c, installation i`,
};

interface CursorColumns extends Cursor {
  readonly is_lost: boolean;
}

const COUNT: Statement = {
  name: "count_ends",
  text: `
with ${fed("$1", "$2", "$3", "$4")}, ended as materialized (
  select ${HOUR_OF} as at, n.group_id, n.outcome, n.code, n.blame, count(*) as n
  from hour_cursor c, fed f
  join event e on e.run_key = f.run_key and e.seq = f.seq and e.type in ${TERMINAL}
  join ending n on n.run_key = e.run_key and n.generation = e.generation
  where e.at >= c.since
  group by 1, 2, 3, 4, 5
), mine as (
  update hour_cursor c set xid = last.xid, run_key = last.run_key, seq = last.seq, n = c.n + (select coalesce(sum(n), 0) from ended)
  from (select xid, run_key, seq from fed order by xid desc, run_key desc, seq desc limit 1) last
  where (c.xid, c.run_key, c.seq) = ($1::xid8, $2::bigint, $3::integer) returning c.xid
), ends as materialized (
  select ended.* from mine, ended
), added as (
  insert into hour (at, group_id, outcome, code, blame, n) select * from ends order by at, group_id, outcome, code, blame
  on conflict (at, group_id, outcome, code, blame) do update set n = hour.n + excluded.n
)
select read.n as read, g.name as "group", e.outcome, e.code, e.blame, e.n::float8 as n
from (select (select count(*) from fed, mine)::integer as n) read left join ends e on true left join cluster_group g on g.id = e.group_id`,
};

interface CountedColumns {
  readonly read: number;
  readonly group: GroupName | null;
  readonly outcome: Outcome | null;
  readonly code: string;
  readonly blame: string;
  readonly n: number;
}

/**
 * After a restore, or on another server, no cursor tells which events were counted. All ends that are there are counted anew, and of
 * the feed only events that are younger.
 */
const LOCK: Statement = { name: "lock_hours", text: "select since from hour_cursor for update" };
const FORGET: Statement = { name: "forget_hours", text: "delete from hour" };
const ANEW: Statement = {
  name: "count_ends_anew",
  text: `
with moved as (
  update hour_cursor c set server = $1, epoch = i.epoch, xid = ${NOW}, run_key = 0, seq = 0, since = now(), n = (select count(*) from ending)
  from installation i
)
insert into hour (at, group_id, outcome, code, blame, n)
select ${HOUR_OF}, n.group_id, n.outcome, n.code, n.blame, count(*) from ending n group by 1, 2, 3, 4, 5`,
};

export function hourQueries(database: Database) {
  let asked: Promise<string> | undefined;

  async function cursor(server: string): Promise<CursorColumns | undefined> {
    return (await database.all<CursorColumns>(CURSOR, [server]))[0];
  }

  return {
    countEnds: async (most: number): Promise<EndsCounted> => {
      const server = await (asked ??= serverOf(database));
      if ((await cursor(server)) === undefined) await database.all(BEGIN, [server]);
      const at = await cursor(server);
      if (at === undefined) return { ends: [], more: false };
      if (at.is_lost) {
        await database.transaction(async (queries, now) => {
          await Promise.all([now, queries.all(LOCK)]);
          await queries.all(FORGET);
          await queries.all(ANEW, [server]);
        });
        return { ends: [], more: true };
      }
      const rows = await database.all<CountedColumns>(COUNT, [at.xid, at.run_key, at.seq, most]);
      const ends = rows.flatMap(({ group, outcome, code, blame, n }) =>
        outcome === null ? [] : [{ group: group ?? undefined, outcome, code, blame, n }],
      );
      return { ends, more: rows[0]?.read === most };
    },
  };
}

/** What each sink was told, in Postgres: deliveries.ts at the package's root says what each method is for. */
import type { RunId } from "@longshore/contract/ids.ts";
import type { Log } from "@longshore/runtime/log.ts";
import {
  type Deliveries,
  type Delivery,
  EVENTS_MOST,
  type Parked,
  type Refusal,
  type Settled,
  type SinkState,
} from "../../deliveries.ts";
import type { Database, Statement } from "../connection.ts";
import { toJson } from "../connection.ts";
import { type Cursor, fed, isAhead, NOW } from "./feed.ts";
import { type EventColumns, eventOf } from "./event-row.ts";

const PUT: Statement = {
  name: "put_sinks",
  text: `
insert into sink (name, since, server, epoch, xid, run_key, seq)
select name, clock_timestamp(), $2, i.epoch, ${NOW}, 0, 0 from unnest($1::text[]) as name, installation i on conflict (name) do nothing`,
};

const HOLD: Statement = {
  name: "hold_sink",
  text: `
update sink set owner = $2, until = clock_timestamp() + make_interval(secs => $3)
where name = $1 and (owner is null or owner = $2 or until <= clock_timestamp()) returning stopped is not null as stopped`,
};
const LET_GO: Statement = {
  name: "let_go_sink",
  text: "update sink set owner = null, until = null where name = $1 and owner = $2",
};
const STOP: Statement = { name: "stop_sink", text: "update sink set stopped = $3 where name = $1 and owner = $2" };

const CURSOR: Statement = {
  name: "sink_cursor",
  text: `
select s.server, s.epoch, s.xid, s.run_key, s.seq, i.epoch as epoch_now, ${NOW} as xid_now, ${isAhead("s.xid")} as ahead
from sink s, installation i where s.name = $1 and s.owner = $2`,
};

interface CursorColumns extends Cursor {
  readonly epoch_now: number;
  readonly xid_now: string;
  readonly ahead: boolean;
}

/** The first event of a run that a sink is told: the sink may be younger than the run. */
const firstSince = (key: string): string => `(select min(e.seq) from event e where e.run_key = ${key} and e.at >= mine.since)`;

/** A line that is due, or that a recorder has in hand, keeps its time. */
const DUE_AGAIN = `on conflict (sink, run_key) do update set head = greatest(sink_line.head, excluded.head),
    due = case when sink_line.parked or greatest(sink_line.head, excluded.head) <= sink_line.seq then sink_line.due
      else coalesce(sink_line.due, excluded.due) end`;

const ADVANCE: Statement = {
  name: "advance_sink",
  text: `
with ${fed("$3", "$4", "$5", "$6")}, mine as (
  update sink s set xid = last.xid, run_key = last.run_key, seq = last.seq
  from (select xid, run_key, seq from fed order by xid desc, run_key desc, seq desc limit 1) last
  where s.name = $1 and s.owner = $2 and (s.xid, s.run_key, s.seq) = ($3::xid8, $4::bigint, $5::integer) returning s.name, s.since
), lines as (
  insert into sink_line (sink, run_key, seq, head, due)
  select mine.name, f.run_key, least(f.first, ${firstSince("f.run_key")}) - 1, f.head, now()
  from mine, (select run_key, min(seq) as first, max(seq) as head from fed group by run_key) f order by f.run_key
  ${DUE_AGAIN}
)
select count(*)::integer as read from fed, mine`,
};

/**
 * After a restore, no cursor tells which events were told: each run's own counter does. A page of runs at a time; the cursor
 * moves at the end.
 */
const CATCH_UP: Statement = {
  name: "catch_up_sink",
  text: `
with mine as materialized (
  select name, since from sink where name = $1 and owner = $2
), page as materialized (
  select key, seq from run where key > $3 order by key limit $4
), behind as materialized (
  select mine.name, p.key, p.seq as head, coalesce(l.seq, ${firstSince("p.key")} - 1) as seq
  from mine, page p left join sink_line l on l.sink = $1 and l.run_key = p.key
), lines as (
  insert into sink_line (sink, run_key, seq, head, due) select name, key, seq, head, now() from behind where seq < head order by key
  ${DUE_AGAIN}
)
select max(key) as last from page`,
};

const CAUGHT_UP: Statement = {
  name: "caught_up_sink",
  text: "update sink set server = $3, epoch = $4, xid = $5::xid8, run_key = 0, seq = 0 where name = $1 and owner = $2",
};

/** Of each run either its line or one parked request: one request of a run is in flight at a time. */
const DUE: Statement = {
  name: "due_lines",
  text: `
with lines as materialized (
  select run_key, seq, rule, false as again, tries, failing_since as since, due from sink_line
  where sink = $1 and due <= now() and run_key <> all($2::bigint[]) order by due limit $3
), requests as materialized (
  select run_key, seq - 1 as seq, rule, true as again, tries, at as since, due from parked_request
  where sink = $1 and due <= now() and run_key <> all($2::bigint[]) order by due limit $3
), mine as materialized (
  select distinct on (run_key) * from (select * from lines union all select * from requests) it order by run_key, again desc, seq, rule
), first as materialized (
  select * from mine order by due limit $3
)
select f.run_key, r.id as run, f.seq as told, f.rule, f.again, f.tries, coalesce(extract(epoch from now() - f.since) * 1000, 0)::float8 as failing_ms,
  e.key, e.tenant, e.sequence, e.generation, e.epoch, e.group_name, e.type, e.traceparent, e.correlation_id, e.body, e.at
from first f join run r on r.key = f.run_key
left join lateral (
  select * from told_event e where e.key = f.run_key and e.sequence > f.seq order by e.sequence limit case when f.again then 1 else ${EVENTS_MOST} end
) e on true
order by f.due, f.run_key, e.sequence`,
};

interface DueColumns extends EventColumns {
  readonly run_key: string;
  readonly told: number;
  readonly rule: number;
  readonly again: boolean;
  readonly tries: number;
  readonly failing_ms: number;
}

/** The line of this run, if the sink is still the owner's. Parameters: sink, owner, run. */
const OWN_LINE = `l.sink = $1 and l.run_key = $3 and exists (select from sink where name = $1 and owner = $2)`;
const OWN_REQUEST = `${OWN_LINE} and l.seq = $4 and l.rule = $5`;

/** "head" may have grown since the line was taken, and only this row says so: then the line stays due. */
const TOLD: Statement = {
  name: "told",
  text: `
with moved as (
  update sink_line l set seq = $4, rule = $5, head = greatest(l.head, $4), tries = 0, failing_since = null, failure = null,
    due = case when greatest(l.head, $4) > $4 then now() end
  where ${OWN_LINE} and (l.seq, l.rule) <= ($4, $5) returning 1
), refused as (
  insert into parked_request (sink, run_key, seq, rule, failure, at)
  select $1, $3, v.seq, v.rule, v.failure, now() from json_to_record($6) as v(seq integer, rule integer, failure json), moved where v.seq is not null
  on conflict (sink, run_key, seq, rule) do update set failure = excluded.failure, at = excluded.at, due = null
)
select 1 from moved`,
};
const FAILED: Statement = {
  name: "failed_line",
  text: `
update sink_line l set tries = l.tries + 1, failing_since = coalesce(l.failing_since, now()), failure = $4,
  due = now() + make_interval(secs => $5)
where ${OWN_LINE} and not l.parked returning 1`,
};
const PARKED: Statement = {
  name: "park_line",
  text: `
update sink_line l set parked = true, due = null, failing_since = coalesce(l.failing_since, now()), failure = $4
where ${OWN_LINE} returning 1`,
};

const SENT_AGAIN: Statement = { name: "sent_again", text: `delete from parked_request l where ${OWN_REQUEST} returning 1` };
const FAILED_AGAIN: Statement = {
  name: "failed_again",
  text: `
update parked_request l set tries = l.tries + 1, failure = $6, due = now() + make_interval(secs => $7)
where ${OWN_REQUEST} returning 1`,
};
const PARKED_AGAIN: Statement = {
  name: "parked_again",
  text: `update parked_request l set failure = $6, at = now(), due = null where ${OWN_REQUEST} returning 1`,
};

const OLDEST_AMONG = 1_000;

const STATES: Statement = {
  name: "sink_states",
  text: `
select s.name, case when s.until > clock_timestamp() then s.owner end as owner, s.stopped,
  (select count(*) from sink_line where sink = s.name and due is not null)::integer as waiting,
  (select count(*) from sink_line where sink = s.name and parked)::integer as parked_lines,
  (select count(*) from parked_request where sink = s.name)::integer as parked_requests,
  (select failure from sink_line where sink = s.name and due is not null and failure is not null order by due limit 1) as failure,
  (extract(epoch from clock_timestamp() - (
    select min(e.at) from (select run_key, seq from sink_line where sink = s.name and due is not null order by due limit ${OLDEST_AMONG}) l
    join event e on e.run_key = l.run_key and e.seq = l.seq + 1
  )) * 1000)::float8 as oldest_ms,
  (extract(epoch from clock_timestamp() - (
    select e.at from event e where (e.xid, e.run_key, e.seq) > (s.xid, s.run_key, s.seq) order by e.xid, e.run_key, e.seq limit 1
  )) * 1000)::float8 as behind_ms
from sink s order by s.name`,
};

interface StateColumns {
  readonly name: string;
  readonly owner: string | null;
  readonly stopped: Refusal | null;
  readonly waiting: number;
  readonly parked_lines: number;
  readonly parked_requests: number;
  readonly failure: Refusal | null;
  readonly oldest_ms: number | null;
  readonly behind_ms: number | null;
}

const PARKED_LIST: Statement = {
  name: "parked_list",
  text: `
select it.*, r.id as run from (
  select sink, run_key, seq + 1 as seq, rule, 'line' as kind, failure, failing_since as at from sink_line where parked and ($1::text is null or sink = $1)
  union all
  select sink, run_key, seq, rule, 'request' as kind, failure, at from parked_request where $1::text is null or sink = $1
) it join run r on r.key = it.run_key order by it.at, it.sink, it.run_key, it.seq, it.rule limit $2`,
};

interface ParkedColumns {
  readonly sink: string;
  readonly run: RunId;
  readonly seq: number;
  readonly rule: number;
  readonly kind: Parked["kind"];
  readonly failure: Refusal;
  readonly at: number;
}

const OF_RUN = "($2::text is null or run_key = (select key from run where id = $2))";

const RETRY: Statement = {
  name: "retry_sink",
  text: `
with goes_on as (
  update sink set stopped = null where name = $1 and $2::text is null and stopped is not null returning 1
), lines as (
  update sink_line set parked = false, due = now(), tries = 0, failing_since = null where sink = $1 and parked and ${OF_RUN} returning 1
), requests as (
  update parked_request set due = now(), at = now(), tries = 0 where sink = $1 and due is null and ${OF_RUN} returning 1
)
select ((select count(*) from goes_on) + (select count(*) from lines) + (select count(*) from requests))::integer as count`,
};

/** A line that is given up goes on with the events that are recorded from now on. */
const DROP: Statement = {
  name: "drop_parked",
  text: `
with lines as (
  update sink_line set parked = false, seq = head, rule = 0, due = null, tries = 0, failing_since = null, failure = null
  where sink = $1 and parked and ${OF_RUN} returning 1
), requests as (
  delete from parked_request where sink = $1 and ${OF_RUN} returning 1
)
select ((select count(*) from lines) + (select count(*) from requests))::integer as count`,
};

/** First the lines, of which there may be as many as runs; then the sink, if no recorder took it meanwhile. */
const FORGET_LINES: Statement = {
  name: "forget_lines",
  text: `
with idle as materialized (
  select name from sink where name = $1 and (until is null or until <= clock_timestamp())
), gone as materialized (
  select l.sink, l.run_key from sink_line l join idle on idle.name = l.sink order by l.run_key limit $2
)
delete from sink_line l using gone where l.sink = gone.sink and l.run_key = gone.run_key returning 1`,
};
const FORGET: Statement = {
  name: "forget_sink",
  text: `
with gone as (
  delete from sink where name = $1 and (until is null or until <= clock_timestamp()) returning name
), requests as (
  delete from parked_request r using gone where r.sink = gone.name
)
select 1 from gone`,
};

const PAGE = 5_000;

export function deliveryQueries(
  database: Database,
  { server, log }: { readonly server: string; readonly log: Log },
): Omit<Deliveries, "changes" | typeof Symbol.asyncDispose> {
  async function catchUp(sink: string, owner: string, { epoch_now, xid_now }: CursorColumns): Promise<void> {
    log.warn(
      "the sink's cursor counts the transactions of another server, or of a time before a restore: each run is looked at",
      {
        sink,
      },
    );
    for (let last: string | null = "0"; last !== null; )
      last = (await database.all<{ last: string | null }>(CATCH_UP, [sink, owner, last, PAGE]))[0]?.last ?? null;
    await database.all(CAUGHT_UP, [sink, owner, server, epoch_now, xid_now]);
  }

  return {
    putSinks: async (names) => void (await database.all(PUT, [names, server])),
    hold: async (sink, owner, forMs) => {
      const [mine] = await database.all<{ stopped: boolean }>(HOLD, [sink, owner, forMs / 1000]);
      return mine === undefined ? "of another" : mine.stopped ? "stopped" : "held";
    },
    letGo: async (sink, owner) => void (await database.all(LET_GO, [sink, owner])),
    advance: async (sink, owner, most) => {
      const [cursor] = await database.all<CursorColumns>(CURSOR, [sink, owner]);
      if (cursor === undefined) return false;
      if (cursor.server !== server || cursor.epoch !== cursor.epoch_now || cursor.ahead) {
        await catchUp(sink, owner, cursor);
        return true;
      }
      const [told] = await database.all<{ read: number }>(ADVANCE, [sink, owner, cursor.xid, cursor.run_key, cursor.seq, most]);
      return told?.read === most;
    },
    due: async (sink, { most, busy }) => deliveriesOf(await database.all<DueColumns>(DUE, [sink, busy, most])),
    settle: async (sink, owner, delivery, change) =>
      (await database.all(...settling([sink, owner, delivery.key], delivery, change))).length > 0,
    stop: async (sink, owner, why) => void (await database.all(STOP, [sink, owner, toJson(why)])),
    states: async () => (await database.all<StateColumns>(STATES)).map(stateOf),
    parked: async ({ sink, most }) =>
      (await database.all<ParkedColumns>(PARKED_LIST, [sink ?? null, most])).map(({ seq, failure, at, ...it }) => ({
        ...it,
        sequence: seq,
        why: failure,
        atMs: at,
      })),
    retry: async (sink, run) => await counted(RETRY, sink, run),
    drop: async (sink, run) => await counted(DROP, sink, run),
    forget: async (sink) => {
      while ((await database.all(FORGET_LINES, [sink, PAGE])).length === PAGE);
      return (await database.all(FORGET, [sink])).length > 0;
    },
  };

  async function counted(statement: Statement, sink: string, run: RunId | undefined): Promise<number> {
    return (await database.all<{ count: number }>(statement, [sink, run ?? null]))[0]?.count ?? 0;
  }
}

function settling(own: readonly string[], { sequence, rule, isAgain }: Delivery, change: Settled): [Statement, unknown[]] {
  const request = [...own, sequence + 1, rule];
  switch (change.kind) {
    case "told": {
      if (isAgain) return [SENT_AGAIN, request];
      const { parked } = change;
      const refused = parked === undefined ? {} : { seq: parked.sequence, rule: parked.rule, failure: parked.why };
      return [TOLD, [...own, change.sequence, change.rule, toJson(refused)]];
    }
    case "failed": {
      const failed = [toJson(change.why), change.againInMs / 1000];
      return isAgain ? [FAILED_AGAIN, [...request, ...failed]] : [FAILED, [...own, ...failed]];
    }
    case "parked":
      return isAgain ? [PARKED_AGAIN, [...request, toJson(change.why)]] : [PARKED, [...own, toJson(change.why)]];
  }
}

/** Each row is an event of a line; a line without events has one row. */
function deliveriesOf(rows: readonly DueColumns[]): readonly Delivery[] {
  const found = new Map<string, Delivery & { events: Delivery["events"][number][] }>();
  for (const { run_key: key, told, rule, again, tries, failing_ms, ...event } of rows) {
    const known = found.get(key);
    const line = known ?? { key, run: event.run, sequence: told, rule, isAgain: again, tries, failingMs: failing_ms, events: [] };
    if (known === undefined) found.set(key, line);
    if (event.key !== null) line.events.push(eventOf(event));
  }
  return [...found.values()];
}

const stateOf = (row: StateColumns): SinkState => ({
  name: row.name,
  owner: row.owner ?? undefined,
  stopped: row.stopped ?? undefined,
  waiting: row.waiting,
  oldestMs: Math.max(0, row.oldest_ms ?? 0),
  behindMs: Math.max(0, row.behind_ms ?? 0),
  parkedLines: row.parked_lines,
  parkedRequests: row.parked_requests,
  failure: row.failure ?? undefined,
});

/**
 * Events as programs read them from the console: the story of one run, and the feed of all runs that the asker reaches.
 *
 * The failure this prevents: an event that is read first and hidden afterwards. The reach is part of each query, and what a program
 * printed does not leave the ledger for somebody who may not read logs.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { FedEvent, FeedPlace, ToldEvents } from "../../pages.ts";
import type { Database, Statement } from "../connection.ts";
import { reachedBy, toReach } from "../reach.ts";
import { type EventColumns, eventOf } from "./event-row.ts";
import { fed, isAhead, NOW } from "./feed.ts";

/** The columns of `told_event` (under the name `e`), without logs unless the reach in the parameter `$at` covers the run `r`. */
const columns = (
  at: number,
): string => `e.key, e.run, e.tenant, e.sequence, e.generation, e.epoch, e.group_name, e.type, e.traceparent,
  e.correlation_id, e.at,
  case when ${reachedBy(at)} then e.body else ((e.body::jsonb - 'log') #- '{slices,told}')::json end as body`;

const OF_RUN: Statement = {
  name: "told_of_run",
  text: `
select ${columns(5)}
from run r join told_event e on e.key = r.key
where r.id = $1 and e.sequence > $2 and ${reachedBy(4)}
order by e.sequence limit $3`,
};

/** The place of the last event that was looked at comes with each row, and alone if none of them is within reach. */
const FEED: Statement = {
  name: "told_feed",
  text: `
with ${fed("$1", "$2", "$3", "$4")}, last as (
  select xid, run_key, seq from fed order by xid desc, run_key desc, seq desc limit 1
)
select last.xid::text as last_xid, last.run_key as last_key, last.seq as last_seq, told.*
from last left join lateral (
  select f.xid::text as xid, ${columns(6)}
  from fed f join run r on r.key = f.run_key join told_event e on e.key = f.run_key and e.sequence = f.seq
  where ${reachedBy(5)}
  order by f.xid, f.run_key, f.seq
) told on true`,
};

const PLACE: Statement = {
  name: "told_place",
  text: `select epoch, (${NOW})::text as xid, $1::integer is distinct from epoch or ${isAhead("$2::xid8")} as is_strange from installation`,
};

interface FeedColumns extends EventColumns {
  readonly last_xid: string;
  readonly last_key: string;
  readonly last_seq: number;
  readonly xid: string;
}

interface PlaceColumns {
  readonly epoch: number;
  readonly xid: string;
  readonly is_strange: boolean;
}

export function toldQueries(database: Database): ToldEvents {
  /** Returns where the feed ends now, and whether the given place is none of this server's. */
  const end = async ({ epoch, xid }: Pick<FeedPlace, "epoch" | "xid">) => {
    const [row] = await database.all<PlaceColumns>(PLACE, [epoch, xid]);
    if (row === undefined) throw new TypeError("the ledger has no installation");
    return { place: { epoch: row.epoch, xid: row.xid, run: "0", sequence: 0 }, isStrange: row.is_strange };
  };
  return {
    ofRun: async (run: RunId, { after, most, see, log }) => {
      const rows = await database.all<EventColumns>(OF_RUN, [run, after, most, toReach(see), toReach(log)]);
      return rows.map(eventOf);
    },
    end: async () => (await end({ epoch: 0, xid: "0" })).place,
    feed: async (after, { most, see, log }) => {
      const { place, isStrange } = await end(after);
      if (isStrange) return { kind: "resync", place };
      const { epoch, xid, run, sequence } = after;
      const rows = await database.all<FeedColumns>(FEED, [xid, run, sequence, most, toReach(see), toReach(log)]);
      const [first] = rows;
      if (first === undefined) return { kind: "read", events: [], place: after };
      const events = rows.flatMap((row): readonly FedEvent[] => (row.key === null ? [] : [fedOf(epoch, row)]));
      return { kind: "read", events, place: { epoch, xid: first.last_xid, run: first.last_key, sequence: first.last_seq } };
    },
  };
}

function fedOf(epoch: number, { last_xid: _xid, last_key: _key, last_seq: _seq, xid, ...row }: FeedColumns): FedEvent {
  return { event: eventOf(row), place: { epoch, xid, run: row.key, sequence: row.sequence } };
}

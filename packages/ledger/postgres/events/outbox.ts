/**
 * Events that the broker has not confirmed yet.
 *
 * The bugs this prevents: an event that is lost for ever, because a cursor passed its number before its transaction was
 * committed (here rows are deleted when confirmed, so every row that is left is unsent); and a run's event 4 that is sent while
 * its event 3 is in doubt.
 */
import type { GroupName, TenantName } from "@longshore/contract/ids.ts";
import type { Database, Statement } from "../connection.ts";
import { type EventColumns, eventOf } from "./event-row.ts";
import type { groupQueries } from "../groups.ts";
import type { Ledger, Notice, OutboxEvent, Sent } from "../../port.ts";
import { OUTBOX_LEASE, PARTITIONS } from "../write.ts";

/**
 * Reads each partition in the order of its key, so that a long backlog is not read to its end each time. The busy runs are a
 * subquery, since Postgres hashes a subquery; a list would be searched once for every row.
 */
const UNSENT: Statement = {
  name: "unsent",
  text: `
with told as materialized (
  select v.key, v.seq from unnest($5::bigint[], $6::integer[]) as v(key, seq)
), gone as (
  delete from outbox o using told where o.part = told.key % ${PARTITIONS} and o.run_key = told.key and o.seq = told.seq
)
select r.key, r.id as run, r.tenant, e.seq as sequence, e.generation, e.epoch, g.name as group_name, e.type,
  r.plan ->> 'traceparent' as traceparent, r.plan ->> 'correlationId' as correlation_id, e.body, e.at
from unnest($1::smallint[]) as p(part), lateral (
  select distinct on (o.run_key) o.run_key, o.seq from outbox o
  where o.part = p.part and o.run_key not in (select key from run where id = any($2))
    and (o.run_key, o.seq) not in (select key, seq from told) order by o.run_key, o.seq limit $4
) lowest
join event e on e.run_key = lowest.run_key and e.seq = lowest.seq
join run r on r.key = e.run_key
left join cluster_group g on g.id = e.group_id
order by e.at, e.run_key limit $3`,
};

/**
 * Runs are spread evenly over the partitions, so twice a partition's share plus this many rows are enough to return `most`
 * events.
 */
const SPARE = 8;

const SENT: Statement = {
  name: "sent",
  text: `
delete from outbox o using unnest($1::bigint[], $2::integer[]) as v(key, seq)
where o.part = v.key % ${PARTITIONS} and o.run_key = v.key and o.seq = v.seq`,
};

const NOTICES: Statement = {
  name: "notices",
  text: "select id, tenant, body ->> 'group' as group_name, type, body, reply_to, correlation_id, at from notice where sent_at is null order by at, id limit $1",
};

const SENT_NOTICES: Statement = {
  name: "sent_notices",
  text: "update notice set sent_at = now() where id = any($1) and sent_at is null",
};

interface NoticeColumns {
  readonly id: string;
  readonly tenant: TenantName;
  readonly group_name: GroupName | null;
  readonly type: Notice["type"];
  readonly body: object;
  readonly reply_to: string | null;
  readonly correlation_id: string | null;
  readonly at: number;
}

export function outboxQueries(database: Database, lease: ReturnType<typeof groupQueries>["lease"]) {
  const partitions = Array.from({ length: PARTITIONS }, (_, part) => partitionName(part));
  return {
    leasePartitions: async (owner: string, leaseMs: number): Promise<readonly number[]> => {
      const held = new Set(await lease(partitions, owner, leaseMs));
      return partitions.flatMap((name, part) => (held.has(name) ? [part] : []));
    },

    unsent: async (asked: Parameters<Ledger["unsent"]>[0]): Promise<readonly OutboxEvent[]> => {
      const { partitions: parts, busy, most, sent = [] } = asked;
      const ofEach = Math.min(most, Math.ceil((2 * most) / Math.max(1, parts.length)) + SPARE);
      const rows = await database.all<EventColumns>(UNSENT, [parts, busy, most, ofEach, ...keysOf(sent)]);
      return rows.map(eventOf);
    },

    sent: async (events: readonly Sent[]): Promise<void> => {
      if (events.length > 0) await database.all(SENT, keysOf(events));
    },

    unsentNotices: async (most: number): Promise<readonly Notice[]> => {
      const rows = await database.all<NoticeColumns>(NOTICES, [most]);
      return rows.map(({ group_name, body, reply_to, correlation_id, at, ...row }) => ({ ...row, group: group_name ?? undefined, data: body, replyTo: reply_to ?? undefined, correlationId: correlation_id ?? undefined, atMs: at })); // biome-ignore format: one row
    },

    sentNotices: async (ids: readonly string[]): Promise<void> => {
      if (ids.length > 0) await database.all(SENT_NOTICES, [ids]);
    },
  };
}

const keysOf = (events: readonly Sent[]): readonly [readonly string[], readonly number[]] => [
  events.map(({ key }) => key),
  events.map(({ sequence }) => sequence),
];

/** Two digits, so that all relays take the rows in the same order. */
const partitionName = (part: number): string => `${OUTBOX_LEASE}${String(part).padStart(2, "0")}`;

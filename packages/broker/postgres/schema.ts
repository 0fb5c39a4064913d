/**
 * The tables of the broker that is kept in Postgres, and their creation.
 *
 * The failures this prevents: two processes that start at once and create the same table twice, and queues that crawl
 * because dead rows pile up (every delivery is an update, so the rows keep room beside them and are vacuumed early).
 */
import type { ClientBase } from "pg";

/** The first key of every advisory lock of ours. The second key is 0 for the schema, or a session's id during its life. */
export const LOCK_SPACE = 0x10f5;
export const CHANNEL = "longshore_broker";

const SCHEMA = `
create schema if not exists longshore_broker;

-- One row for each connected process. It is alive while its backend holds the advisory lock and it beats.
create sequence if not exists longshore_broker.session_id as integer cycle;
create table if not exists longshore_broker.session (
  id integer primary key,
  until timestamptz not null
);

-- Queues that somebody else made, and followers' temporary ones (these end with their session). Ours need no row.
create table if not exists longshore_broker.queue (
  name text collate "C" primary key,
  session integer
);
create table if not exists longshore_broker.binding (
  queue text collate "C" not null references longshore_broker.queue on delete cascade,
  pattern text not null,
  regex text not null,
  primary key (queue, pattern)
);

-- Like a binding, but for broadcasts on one exchange, which nobody keeps.
create table if not exists longshore_broker.listener (
  queue text collate "C" not null references longshore_broker.queue on delete cascade,
  exchange text not null,
  pattern text not null,
  regex text not null,
  primary key (queue, exchange, pattern)
);

-- Delivered in the order of their ids. holder: the session that took the message and has not settled it.
create table if not exists longshore_broker.message (
  id bigint generated always as identity,
  queue text collate "C" not null,
  message_id text not null,
  key text not null,
  body bytea not null,
  reply_to text,
  correlation_id text,
  published_at timestamptz not null default now(),
  deliveries integer not null default 0,
  holder integer,
  origin text,
  problems jsonb,
  primary key (queue, id)
) with (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- The last events, also those that nobody followed.
create table if not exists longshore_broker.history (
  id bigint generated always as identity primary key,
  message_id text not null,
  key text not null,
  body bytea not null,
  at timestamptz not null default now()
);
`;

/** Runs at every start. Tables of an earlier version lack the newest parts, so the check looks for those. */
export async function declareSchema(client: ClientBase): Promise<void> {
  const { rows } = await client.query<{ there: boolean }>(
    "select to_regclass('longshore_broker.listener') is not null and to_regclass('longshore_broker.history') is not null as there",
  );
  if (rows[0]?.there === true) return;
  await client.query("begin");
  try {
    await client.query("select pg_advisory_xact_lock($1, 0)", [LOCK_SPACE]);
    await client.query(SCHEMA);
    await client.query("commit");
  } catch (error) {
    await client.query("rollback").catch(() => undefined); // the connection may be the cause; the first error is thrown
    throw error;
  }
}

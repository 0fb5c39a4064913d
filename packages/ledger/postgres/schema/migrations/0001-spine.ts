/**
 * The ledger's first tables. Once released, a migration is never edited: the next change is the next file.
 *
 * Columns that no query looks into (specs from people, events from programs) are `json`: this type keeps the order of keys,
 * which for `env` has a meaning. Columns that the lifecycle decides on are `jsonb`. All times are on the database's clock.
 * There are no foreign keys: each would cost a lookup for every row, and rows that belong together are written by one statement
 * under their run's lock.
 */
import { type Kysely, sql } from "kysely";

const TABLES = `
create table installation (
  id text collate "C" primary key,
  epoch integer not null default 1,
  protocol integer not null,
  frozen boolean not null default false,
  one boolean not null default true unique check (one)
);

create table cluster_group (
  id integer generated always as identity primary key,
  name text collate "C" not null unique,
  version integer not null default 1,
  namespace text not null,
  settings jsonb not null,
  namespace_uid text,
  paused boolean not null default false,
  pause jsonb,
  health text not null default 'unknown' check (health in ('unknown', 'healthy', 'unhealthy')),
  ever_healthy boolean not null default false,
  diagnosis jsonb,
  no_room jsonb,
  watched_at timestamptz,
  served_at timestamptz,
  tally jsonb
);

-- Kept for ever: a run's id is the idempotency key. A tombstone is a cancel that came before its run.
create table run (
  key bigint generated always as identity primary key,
  id text collate "C" not null unique,
  tenant text collate "C" not null,
  source text not null,
  digest text not null,
  digest_version smallint not null default 1,
  state text not null check (state in ('tombstone', 'active', 'cancelling', 'ended')),
  outcome text check (outcome in ('succeeded', 'failed', 'cancelled', 'lost')),
  generation integer not null,
  seq integer not null,
  group_id integer,
  cancel jsonb,
  plan jsonb,
  steps jsonb not null,
  accepted_at timestamptz not null,
  ended_at timestamptz,
  definition text collate "C" generated always as (plan->'definition'->>'name') stored,
  check ((state = 'ended') = (outcome is not null)),
  check ((state = 'tombstone') = (plan is null))
) with (fillfactor = 80);
create index run_unfinished on run (state, key) where state <> 'ended';
create index run_definition on run (definition, key) where definition is not null;

-- Who is signed in to the console, and links that sign in once. Only hashes: nothing of it signs anybody in.
create table sign_in (
  hash bytea primary key,
  kind text not null check (kind in ('link', 'session')),
  person jsonb not null,
  until timestamptz not null
);

-- Tokens of programs, made and removed by commands alone. An expired one stays until it is removed, so that its end can be told.
create table token (
  name text collate "C" primary key,
  hash bytea not null unique,
  made_at timestamptz not null default now(),
  until timestamptz not null
);

-- What runs are found by: who asked ("actor"), labels ("label:team") and short parameters ("parameter:month"). Only inserted.
create table tag (
  run_key bigint not null,
  name text collate "C" not null,
  value text collate "C" not null,
  primary key (run_key, name)
);
create index tag_value on tag (name, value, run_key);

-- How each generation of a run ended: written with its terminal event, and never changed. It counts while its generation and outcome
-- are the run's.
create table ending (
  run_key bigint not null,
  generation integer not null,
  outcome text not null check (outcome in ('succeeded', 'failed', 'cancelled', 'lost')),
  code text collate "C" not null,
  blame text collate "C" not null,
  definition text collate "C",
  group_id integer,
  seconds float8,
  ended_at timestamptz not null,
  primary key (run_key, generation)
);
create index ending_definition on ending (definition, run_key) where definition is not null;
create index ending_code on ending (code, run_key) where code <> '';
create index ending_group on ending (group_id, run_key) where group_id is not null;

-- How many runs ended in an hour, and how: counted from the feed, where the cursor stands. A restarted run ended more than once.
create table hour (
  at timestamptz not null,
  group_id integer,
  outcome text not null,
  code text collate "C" not null,
  blame text collate "C" not null,
  n bigint not null,
  unique nulls not distinct (at, group_id, outcome, code, blame)
) with (fillfactor = 80);

-- Events before "since" were counted when the feed last had to start over. "n": all ends that the hours count together.
create table hour_cursor (
  server text not null,
  epoch integer not null,
  xid xid8 not null,
  run_key bigint not null,
  seq integer not null,
  since timestamptz not null,
  n bigint not null default 0,
  one boolean not null default true unique check (one)
) with (fillfactor = 50);

-- What people did in the console: written before its command is sent, and never changed.
create table audit (
  key bigint generated always as identity primary key,
  at timestamptz not null default now(),
  person jsonb not null,
  deed text not null,
  about text not null,
  command text,
  is_denied boolean not null default false
);
create index audit_denied on audit (at) where is_denied;

create table run_spec (
  run_key bigint primary key,
  spec json not null,
  secrets text
);
create index run_spec_sealed on run_spec (run_key) where secrets is not null;

create table attempt (
  key bigint generated always as identity primary key,
  run_key bigint not null,
  step text not null,
  n integer not null,
  generation integer not null,
  epoch integer not null,
  group_id integer,
  state text not null check (state in ('waiting', 'ready', 'claimed', 'live', 'closing', 'ended', 'done')),
  priority integer not null,
  due timestamptz,
  waits_for text[] collate "C",
  name text collate "C" not null unique,
  slots integer check (slots >= 1),
  claim_no integer not null,
  claim_by text,
  claim_until timestamptz,
  unanswered integer[] not null,
  fence_until timestamptz,
  occupant_uid text,
  uid text,
  seen_rv text,
  started text not null check (started in ('no', 'yes', 'unknown')),
  cause text,
  outcome jsonb,
  notes jsonb not null,
  unique (run_key, step, n),
  check ((state = 'done') = (due is null)),
  check (state in ('waiting', 'ended', 'done') or group_id is not null)
);
-- Only a step with slices takes more than one slot: the others are counted by the next index alone.
create index attempt_sliced on attempt (group_id) where slots > 1 and due is not null;
create index attempt_due on attempt (group_id, state, priority desc, due) where due is not null;
-- The next attempt for a slot: attempts that wait for room in the same groups form a line, and attempts not judged yet another.
create index attempt_line on attempt (waits_for, priority desc, run_key, due) where state = 'waiting';

-- A run's story. The key prevents repeats; the counter under the run's lock prevents gaps.
create table event (
  run_key bigint not null,
  seq integer not null,
  generation integer not null,
  epoch integer not null,
  group_id integer,
  type text not null,
  body json not null,
  at timestamptz not null,
  -- The transaction that wrote it: the order in which the feed reads. Nothing writes this column itself.
  xid xid8 not null default pg_current_xact_id(),
  primary key (run_key, seq)
);
create index event_feed on event (xid, run_key, seq);

-- Events that the broker has not confirmed yet. A confirmed event's row is deleted, so a lower number that is committed later is found, too.
create table outbox (
  part smallint not null,
  run_key bigint not null,
  seq integer not null,
  primary key (part, run_key, seq)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000, autovacuum_vacuum_cost_delay = 0);

-- Refusals and groups' health: not part of a run's story, so without a sequence. Sent rows stay for a while: a command that comes
-- again gets no second notice.
create table notice (
  id text collate "C" primary key,
  tenant text not null,
  type text not null,
  body json not null,
  reply_to text,
  correlation_id text,
  at timestamptz not null,
  sent_at timestamptz
);
create index notice_unsent on notice (at) where sent_at is null;
create index notice_refused on notice ((body->>'command')) where type = 'command.refused';
create index notice_refusals on notice (at, id) where type = 'command.refused';

-- Commands that are recognised when they come again. One about a group names no run.
create table command (
  tenant text collate "C" not null,
  source text collate "C" not null,
  id text collate "C" not null,
  kind text not null,
  run_id text,
  at timestamptz not null,
  primary key (tenant, source, id)
);

-- Strays: Jobs to delete that belong to no attempt, and holds to take off. Anchors: what owns a run's volumes, one for each number.
-- An anchor that is gone stays, due never, so that its number is not used again.
create table object (
  key bigint generated always as identity primary key,
  run_id text collate "C" not null,
  kind text not null check (kind in ('stray', 'release', 'anchor')),
  group_id integer not null,
  name text,
  uid text,
  hold_until timestamptz not null,
  due timestamptz not null,
  number integer,
  state text check (state in ('making', 'standing', 'kept', 'sweeping', 'gone')),
  namespace text,
  bytes float8,
  unique (group_id, uid, kind),
  unique (run_id, number),
  check (case when kind = 'anchor' then number is not null and state is not null and namespace is not null and bytes is not null
    else name is not null and uid is not null end),
  check ((due = 'infinity') = (state is not null and state = 'gone'))
);
create index object_due on object (group_id, due);
create index object_unfinished on object (group_id, kind, due) where due < 'infinity';

create table lease (
  what text collate "C" primary key,
  owner text not null,
  until timestamptz not null
);

-- What can be run by name: put by launchers from their files, and from what watchers see of clusters; read by all.
create table definition (
  name text collate "C" primary key,
  source text not null check (source in ('file', 'cluster')),
  digest text not null,
  body json not null,
  since timestamptz not null,
  -- The object in the cluster, without its template.
  prepared jsonb,
  told_at timestamptz,
  check ((source = 'cluster') = (prepared is not null and told_at is not null))
);

-- The unfinished runs that have a concurrency key: in line, or let in. Written with their run.
create table concurrency (
  run_key bigint primary key,
  tenant text collate "C" not null,
  key text collate "C" not null,
  most integer not null,
  priority integer not null,
  from_at timestamptz not null,
  let_in boolean not null
);
create index concurrency_line on concurrency (tenant, key, priority desc, run_key) where not let_in;
create index concurrency_key on concurrency (tenant, key, let_in);

create table suspect (
  digest text collate "C" primary key,
  n integer not null,
  at timestamptz not null
);

-- An event as its readers see it. Whoever may read this view need not be allowed to read plans, which have corrections of env.
create view told_event as
  select e.xid, e.run_key as key, r.id as run, r.tenant, e.seq as sequence, e.generation, e.epoch, g.name as group_name, e.type,
    r.plan ->> 'traceparent' as traceparent, r.plan ->> 'correlationId' as correlation_id, e.body, e.at
  from event e join run r on r.key = e.run_key left join cluster_group g on g.id = e.group_id;

-- Where a recorder tells events. The cursor stands behind the last event whose run has a due line; "server" names the Postgres
-- whose transactions it counts.
create table sink (
  name text collate "C" primary key,
  since timestamptz not null,
  server text not null,
  epoch integer not null,
  xid xid8 not null,
  run_key bigint not null,
  seq integer not null,
  owner text,
  until timestamptz,
  stopped json
);

-- A line: what a sink was told of one run. All up to "seq", and of the event after it the first "rule" rules; "head" is the last
-- event that the feed has seen. A line is kept as long as its run: after a restore it says what was told before.
create table sink_line (
  sink text collate "C" not null,
  run_key bigint not null,
  seq integer not null,
  rule integer not null default 0,
  head integer not null,
  due timestamptz,
  tries integer not null default 0,
  failing_since timestamptz,
  failure json,
  parked boolean not null default false,
  primary key (sink, run_key),
  check (not parked or due is null)
) with (fillfactor = 80);
create index sink_line_due on sink_line (sink, due) where due is not null;
create index sink_line_parked on sink_line (sink, run_key) where parked;

-- Requests that were refused, and that nobody sends again before a person asks for it.
create table parked_request (
  sink text collate "C" not null,
  run_key bigint not null,
  seq integer not null,
  rule integer not null,
  failure json not null,
  at timestamptz not null,
  due timestamptz,
  tries integer not null default 0,
  primary key (sink, run_key, seq, rule)
);
create index parked_request_due on parked_request (sink, due) where due is not null;
`;

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql.raw(TABLES).execute(db);
}

-- What the migrations make, as Postgres tells it. Written by: node packages/ledger/postgres/schema/schema.test.ts --write

attempt
  01 key bigint not null identity
  02 run_key bigint not null
  03 step text not null
  04 n integer not null
  05 generation integer not null
  06 epoch integer not null
  07 group_id integer
  08 state text not null
  09 priority integer not null
  10 due timestamp with time zone
  11 waits_for text[] collate C
  12 name text collate C not null
  13 slots integer
  14 claim_no integer not null
  15 claim_by text
  16 claim_until timestamp with time zone
  17 unanswered integer[] not null
  18 fence_until timestamp with time zone
  19 occupant_uid text
  20 uid text
  21 seen_rv text
  22 started text not null
  23 cause text
  24 outcome jsonb
  25 notes jsonb not null
  CHECK (((state = 'done'::text) = (due IS NULL)))
  CHECK (((state = ANY (ARRAY['waiting'::text, 'ended'::text, 'done'::text])) OR (group_id IS NOT NULL)))
  CHECK ((slots >= 1))
  CHECK ((started = ANY (ARRAY['no'::text, 'yes'::text, 'unknown'::text])))
  CHECK ((state = ANY (ARRAY['waiting'::text, 'ready'::text, 'claimed'::text, 'live'::text, 'closing'::text, 'ended'::text, 'done'::text])))
  PRIMARY KEY (key)
  UNIQUE (name)
  UNIQUE (run_key, step, n)
  CREATE INDEX attempt_due ON longshore.attempt USING btree (group_id, state, priority DESC, due) WHERE (due IS NOT NULL)
  CREATE INDEX attempt_line ON longshore.attempt USING btree (waits_for, priority DESC, run_key, due) WHERE (state = 'waiting'::text)
  CREATE INDEX attempt_sliced ON longshore.attempt USING btree (group_id) WHERE ((slots > 1) AND (due IS NOT NULL))
  CREATE UNIQUE INDEX attempt_name_key ON longshore.attempt USING btree (name)
  CREATE UNIQUE INDEX attempt_run_key_step_n_key ON longshore.attempt USING btree (run_key, step, n)

audit
  01 key bigint not null identity
  02 at timestamp with time zone not null default now()
  03 person jsonb not null
  04 deed text not null
  05 about text not null
  06 command text
  07 is_denied boolean not null default false
  PRIMARY KEY (key)
  CREATE INDEX audit_denied ON longshore.audit USING btree (at) WHERE is_denied

cluster_group
  01 id integer not null identity
  02 name text collate C not null
  03 version integer not null default 1
  04 namespace text not null
  05 settings jsonb not null
  06 namespace_uid text
  07 paused boolean not null default false
  08 pause jsonb
  09 health text not null default 'unknown'::text
  10 ever_healthy boolean not null default false
  11 diagnosis jsonb
  12 no_room jsonb
  13 watched_at timestamp with time zone
  14 served_at timestamp with time zone
  15 tally jsonb
  CHECK ((health = ANY (ARRAY['unknown'::text, 'healthy'::text, 'unhealthy'::text])))
  PRIMARY KEY (id)
  UNIQUE (name)
  CREATE UNIQUE INDEX cluster_group_name_key ON longshore.cluster_group USING btree (name)

command
  01 tenant text collate C not null
  02 source text collate C not null
  03 id text collate C not null
  04 kind text not null
  05 run_id text
  06 at timestamp with time zone not null
  PRIMARY KEY (tenant, source, id)

concurrency
  01 run_key bigint not null
  02 tenant text collate C not null
  03 key text collate C not null
  04 most integer not null
  05 priority integer not null
  06 from_at timestamp with time zone not null
  07 let_in boolean not null
  PRIMARY KEY (run_key)
  CREATE INDEX concurrency_key ON longshore.concurrency USING btree (tenant, key, let_in)
  CREATE INDEX concurrency_line ON longshore.concurrency USING btree (tenant, key, priority DESC, run_key) WHERE (NOT let_in)

definition
  01 name text collate C not null
  02 source text not null
  03 digest text not null
  04 body json not null
  05 since timestamp with time zone not null
  06 prepared jsonb
  07 told_at timestamp with time zone
  CHECK (((source = 'cluster'::text) = ((prepared IS NOT NULL) AND (told_at IS NOT NULL))))
  CHECK ((source = ANY (ARRAY['file'::text, 'cluster'::text])))
  PRIMARY KEY (name)

ending
  01 run_key bigint not null
  02 generation integer not null
  03 outcome text not null
  04 code text collate C not null
  05 blame text collate C not null
  06 definition text collate C
  07 group_id integer
  08 seconds double precision
  09 ended_at timestamp with time zone not null
  CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text, 'lost'::text])))
  PRIMARY KEY (run_key, generation)
  CREATE INDEX ending_code ON longshore.ending USING btree (code, run_key) WHERE (code <> ''::text)
  CREATE INDEX ending_definition ON longshore.ending USING btree (definition, run_key) WHERE (definition IS NOT NULL)
  CREATE INDEX ending_group ON longshore.ending USING btree (group_id, run_key) WHERE (group_id IS NOT NULL)

event
  01 run_key bigint not null
  02 seq integer not null
  03 generation integer not null
  04 epoch integer not null
  05 group_id integer
  06 type text not null
  07 body json not null
  08 at timestamp with time zone not null
  09 xid xid8 not null default pg_current_xact_id()
  PRIMARY KEY (run_key, seq)
  CREATE INDEX event_feed ON longshore.event USING btree (xid, run_key, seq)

hour
  01 at timestamp with time zone not null
  02 group_id integer
  03 outcome text not null
  04 code text collate C not null
  05 blame text collate C not null
  06 n bigint not null
  UNIQUE NULLS NOT DISTINCT (at, group_id, outcome, code, blame)
  CREATE UNIQUE INDEX hour_at_group_id_outcome_code_blame_key ON longshore.hour USING btree (at, group_id, outcome, code, blame) NULLS NOT DISTINCT
  with fillfactor=80

hour_cursor
  01 server text not null
  02 epoch integer not null
  03 xid xid8 not null
  04 run_key bigint not null
  05 seq integer not null
  06 since timestamp with time zone not null
  07 n bigint not null default 0
  08 one boolean not null default true
  CHECK (one)
  UNIQUE (one)
  CREATE UNIQUE INDEX hour_cursor_one_key ON longshore.hour_cursor USING btree (one)
  with fillfactor=50

installation
  01 id text collate C not null
  02 epoch integer not null default 1
  03 protocol integer not null
  04 frozen boolean not null default false
  05 one boolean not null default true
  06 key_mark text collate C
  CHECK (one)
  PRIMARY KEY (id)
  UNIQUE (one)
  CREATE UNIQUE INDEX installation_one_key ON longshore.installation USING btree (one)

lease
  01 what text collate C not null
  02 owner text not null
  03 until timestamp with time zone not null
  PRIMARY KEY (what)

migration
  01 name character varying(255) not null
  02 timestamp character varying(255) not null
  PRIMARY KEY (name)

migration_lock
  01 id character varying(255) not null
  02 is_locked integer not null default 0
  PRIMARY KEY (id)

notice
  01 id text collate C not null
  02 tenant text not null
  03 type text not null
  04 body json not null
  05 reply_to text
  06 correlation_id text
  07 at timestamp with time zone not null
  08 sent_at timestamp with time zone
  PRIMARY KEY (id)
  CREATE INDEX notice_refusals ON longshore.notice USING btree (at, id) WHERE (type = 'command.refused'::text)
  CREATE INDEX notice_refused ON longshore.notice USING btree (((body ->> 'command'::text))) WHERE (type = 'command.refused'::text)
  CREATE INDEX notice_unsent ON longshore.notice USING btree (at) WHERE (sent_at IS NULL)

object
  01 key bigint not null identity
  02 run_id text collate C not null
  03 kind text not null
  04 group_id integer not null
  05 name text
  06 uid text
  07 hold_until timestamp with time zone not null
  08 due timestamp with time zone not null
  09 number integer
  10 state text
  11 namespace text
  12 bytes double precision
  CHECK (
CASE
    WHEN (kind = 'anchor'::text) THEN ((number IS NOT NULL) AND (state IS NOT NULL) AND (namespace IS NOT NULL) AND (bytes IS NOT NULL))
    ELSE ((name IS NOT NULL) AND (uid IS NOT NULL))
END)
  CHECK (((due = 'infinity'::timestamp with time zone) = ((state IS NOT NULL) AND (state = 'gone'::text))))
  CHECK ((kind = ANY (ARRAY['stray'::text, 'release'::text, 'anchor'::text])))
  CHECK ((state = ANY (ARRAY['making'::text, 'standing'::text, 'kept'::text, 'sweeping'::text, 'gone'::text])))
  PRIMARY KEY (key)
  UNIQUE (group_id, uid, kind)
  UNIQUE (run_id, number)
  CREATE INDEX object_due ON longshore.object USING btree (group_id, due)
  CREATE INDEX object_unfinished ON longshore.object USING btree (group_id, kind, due) WHERE (due < 'infinity'::timestamp with time zone)
  CREATE UNIQUE INDEX object_group_id_uid_kind_key ON longshore.object USING btree (group_id, uid, kind)
  CREATE UNIQUE INDEX object_run_id_number_key ON longshore.object USING btree (run_id, number)

outbox
  01 part smallint not null
  02 run_key bigint not null
  03 seq integer not null
  PRIMARY KEY (part, run_key, seq)
  with autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_threshold=2000, autovacuum_vacuum_cost_delay=0

parked_request
  01 sink text collate C not null
  02 run_key bigint not null
  03 seq integer not null
  04 rule integer not null
  05 failure json not null
  06 at timestamp with time zone not null
  07 due timestamp with time zone
  08 tries integer not null default 0
  PRIMARY KEY (sink, run_key, seq, rule)
  CREATE INDEX parked_request_due ON longshore.parked_request USING btree (sink, due) WHERE (due IS NOT NULL)

run
  01 key bigint not null identity
  02 id text collate C not null
  03 tenant text collate C not null
  04 source text not null
  05 digest text not null
  06 digest_version smallint not null default 1
  07 state text not null
  08 outcome text
  09 generation integer not null
  10 seq integer not null
  11 group_id integer
  12 cancel jsonb
  13 plan jsonb
  14 steps jsonb not null
  15 accepted_at timestamp with time zone not null
  16 ended_at timestamp with time zone
  17 definition text collate C default ((plan -> 'definition'::text) ->> 'name'::text)
  CHECK (((state = 'ended'::text) = (outcome IS NOT NULL)))
  CHECK (((state = 'tombstone'::text) = (plan IS NULL)))
  CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'cancelled'::text, 'lost'::text])))
  CHECK ((state = ANY (ARRAY['tombstone'::text, 'active'::text, 'cancelling'::text, 'ended'::text])))
  PRIMARY KEY (key)
  UNIQUE (id)
  CREATE INDEX run_definition ON longshore.run USING btree (definition, key) WHERE (definition IS NOT NULL)
  CREATE INDEX run_unfinished ON longshore.run USING btree (state, key) WHERE (state <> 'ended'::text)
  CREATE UNIQUE INDEX run_id_key ON longshore.run USING btree (id)
  with fillfactor=80

run_spec
  01 run_key bigint not null
  02 spec json not null
  03 secrets text
  PRIMARY KEY (run_key)
  CREATE INDEX run_spec_sealed ON longshore.run_spec USING btree (run_key) WHERE (secrets IS NOT NULL)

sign_in
  01 hash bytea not null
  02 kind text not null
  03 person jsonb not null
  04 until timestamp with time zone not null
  CHECK ((kind = ANY (ARRAY['link'::text, 'session'::text])))
  PRIMARY KEY (hash)

sink
  01 name text collate C not null
  02 since timestamp with time zone not null
  03 server text not null
  04 epoch integer not null
  05 xid xid8 not null
  06 run_key bigint not null
  07 seq integer not null
  08 owner text
  09 until timestamp with time zone
  10 stopped json
  PRIMARY KEY (name)

sink_line
  01 sink text collate C not null
  02 run_key bigint not null
  03 seq integer not null
  04 rule integer not null default 0
  05 head integer not null
  06 due timestamp with time zone
  07 tries integer not null default 0
  08 failing_since timestamp with time zone
  09 failure json
  10 parked boolean not null default false
  CHECK (((NOT parked) OR (due IS NULL)))
  PRIMARY KEY (sink, run_key)
  CREATE INDEX sink_line_due ON longshore.sink_line USING btree (sink, due) WHERE (due IS NOT NULL)
  CREATE INDEX sink_line_parked ON longshore.sink_line USING btree (sink, run_key) WHERE parked
  with fillfactor=80

suspect
  01 digest text collate C not null
  02 n integer not null
  03 at timestamp with time zone not null
  PRIMARY KEY (digest)

tag
  01 run_key bigint not null
  02 name text collate C not null
  03 value text collate C not null
  PRIMARY KEY (run_key, name)
  CREATE INDEX tag_value ON longshore.tag USING btree (name, value, run_key)

token
  01 name text collate C not null
  02 hash bytea not null
  03 made_at timestamp with time zone not null default now()
  04 until timestamp with time zone not null
  PRIMARY KEY (name)
  UNIQUE (hash)
  CREATE UNIQUE INDEX token_hash_key ON longshore.token USING btree (hash)

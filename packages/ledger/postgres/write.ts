/**
 * Writes the changes of many runs, with their events, in one statement.
 *
 * The bugs this prevents: an event without its move or a move without its event; a gap or a repeat in a run's sequence; and a
 * write over another transaction's write. The caller has locked the runs; the guards in the statement check that again.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { slotsFreed } from "@longshore/domain/group/group.ts";
import {
  type Change, forgottenAnchors, isChanged, movedAnchors, movedAttempts, type Telling, workMadeBy,
} from "@longshore/domain/run/change.ts"; // biome-ignore format: a list of names
import type { Stray } from "@longshore/domain/run/record.ts";
import { putLines } from "./work/concurrency.ts";
import { endingsOf } from "./work/endings.ts";
import { tagsOf } from "./work/tags.ts";
import { Bug, CHANNEL, type Queries, type Statement, toJson } from "./connection.ts";
import { anchorValues, attemptKey, attemptValues, type Locked, runValues } from "./rows.ts";

export const PARTITIONS = 16;
/** How the names of the partitions' leases begin. */
export const OUTBOX_LEASE = "outbox/";

const AT = (column: string): string => `to_timestamp(v.${column} / 1000.0)`;

const ATTEMPT_SHAPE = `key bigint, was_state text, was_claim_no integer, run_key bigint, run_id text, step text, n integer, generation integer,
  epoch integer, group_name text, state text, priority integer, due float8, waits_for text[], name text, slots integer, claim_no integer, claim_by text, claim_until float8,
  unanswered integer[], fence_until float8, occupant_uid text, uid text, seen_rv text, started text, cause text, outcome jsonb, notes jsonb`;

/** The way to find a run's key: "said" with the row, or "looked up" by the run's id if the same statement inserts the run. */
export type KeyOf = "said" | "looked up";

/** The keys of the runs that `born` inserted, by their ids. Runs that existed before are left out. */
export const KEYS = "keys as materialized (select coalesce(jsonb_object_agg(id, key), '{}') as of_run from born)";
const keyOf = (how: KeyOf): string => (how === "said" ? "v.run_key" : "(keys.of_run ->> v.run_id)::bigint");
const fromKeys = (how: KeyOf): string => (how === "said" ? "" : "cross join keys");
export const ifBorn = (how: KeyOf): string => (how === "said" ? "" : "where keys.of_run ? v.run_id");

export const insertAttempts = (values: string, how: KeyOf): string => `
  insert into attempt (run_key, step, n, generation, epoch, group_id, state, priority, due, waits_for, name, slots, claim_no, claim_by, claim_until,
    unanswered, fence_until, occupant_uid, uid, seen_rv, started, cause, outcome, notes)
  select ${keyOf(how)}, v.step, v.n, v.generation, v.epoch, g.id, v.state, v.priority, ${AT("due")},
    v.waits_for, v.name, v.slots, v.claim_no, v.claim_by, ${AT("claim_until")}, v.unanswered, ${AT("fence_until")}, v.occupant_uid, v.uid, v.seen_rv, v.started,
    v.cause, v.outcome, v.notes
  from json_to_recordset(${values}) as v(${ATTEMPT_SHAPE})
  ${fromKeys(how)} left join cluster_group g on g.name = v.group_name ${ifBorn(how)}`;

/** Three parts of a `with`: the events are read once, and written to `event` and to `outbox`. */
export const insertEvents = (values: string, how: KeyOf): string => `
  telling as materialized (
    select ${keyOf(how)} as run_key, v.seq, v.generation, v.epoch, v.group_name, v.type, v.body, v.at
    from json_to_recordset(${values}) as v(run_key bigint, run_id text, seq integer, generation integer, epoch integer, group_name text,
      type text, body json, at float8) ${fromKeys(how)} ${ifBorn(how)}
  ), told as (
    insert into event (run_key, seq, generation, epoch, group_id, type, body, at)
    select v.run_key, v.seq, v.generation, v.epoch, g.id, v.type, v.body, ${AT("at")}
    from telling v left join cluster_group g on g.name = v.group_name
  ), unsent as (
    insert into outbox (part, run_key, seq) select v.run_key % ${PARTITIONS}, v.run_key, v.seq from telling v
  )`;

export const insertEndings = (values: string, how: KeyOf): string => `
  insert into ending (run_key, generation, outcome, code, blame, definition, group_id, seconds, ended_at)
  select ${keyOf(how)}, v.generation, v.outcome, v.code, v.blame, v.definition, g.id, v.seconds, ${AT("ended_at")}
  from json_to_recordset(${values}) as v(run_key bigint, run_id text, generation integer, outcome text, code text, blame text,
    definition text, group_name text, seconds float8, ended_at float8)
  ${fromKeys(how)} left join cluster_group g on g.name = v.group_name ${ifBorn(how)}`;

/**
 * If slots were freed, makes one attempt due that waits for room, so that a placer looks. Which one does not matter: the placer
 * finds those whose turn it is. Skips attempts that the same statement moves: if one statement updates a row twice, one of the
 * updates is lost without an error.
 */
const WAKE = (freed: string, moved: string): string => `
  next as materialized (
    select key from attempt
    where state = 'waiting' and waits_for > '{}' and due > now()
      and key not in (select v.key from json_to_recordset(${moved}) as v(key bigint))
    order by waits_for, priority desc, run_key limit least(${freed}::integer, 1) for update skip locked
  ), woken as (
    update attempt a set due = now() from next where a.key = next.key returning 1
  )`;

const WRITE: Statement = {
  name: "write",
  text: `
with runs as (
  update run r set state = v.state, outcome = v.outcome, generation = v.generation, seq = v.seq, group_id = g.id, cancel = v.cancel,
    plan = case when v.state = 'tombstone' then null else coalesce(v.plan, r.plan) end, steps = coalesce(v.steps, r.steps),
    ended_at = ${AT("ended_at")}, tenant = coalesce(v.tenant, r.tenant), source = coalesce(v.source, r.source),
    digest = coalesce(v.digest, r.digest), accepted_at = coalesce(${AT("accepted_at")}, r.accepted_at)
  from json_to_recordset($1) as v(key bigint, was_state text, was_seq integer, state text, outcome text, generation integer, seq integer,
    group_name text, cancel jsonb, plan jsonb, steps jsonb, ended_at float8, tenant text, source text, digest text, accepted_at float8)
  left join cluster_group g on g.name = v.group_name
  where r.key = v.key and r.state = v.was_state and r.seq = v.was_seq
  returning 1
), specs as (
  insert into run_spec (run_key, spec, secrets)
  select v.run_key, v.spec, v.secrets from json_to_recordset($2) as v(run_key bigint, spec json, secrets text) where v.spec is not null
), tags as (
  insert into tag (run_key, name, value)
  select v.run_key, v.name, v.value from json_to_recordset($10) as v(run_key bigint, name text, value text)
), endings as (${insertEndings("$11", "said")}
), resealed as (
  update run_spec s set secrets = v.secrets from json_to_recordset($2) as v(run_key bigint, spec json, secrets text)
  where s.run_key = v.run_key and v.spec is null
), moved as (
  update attempt a set state = v.state, group_id = g.id, due = ${AT("due")}, waits_for = v.waits_for, slots = v.slots, claim_no = v.claim_no, claim_by = v.claim_by,
    claim_until = ${AT("claim_until")}, unanswered = v.unanswered, fence_until = ${AT("fence_until")}, occupant_uid = v.occupant_uid,
    uid = v.uid, seen_rv = v.seen_rv, started = v.started, cause = v.cause, outcome = coalesce(v.outcome, a.outcome),
    notes = coalesce(v.notes, a.notes)
  from json_to_recordset($3) as v(${ATTEMPT_SHAPE}) left join cluster_group g on g.name = v.group_name
  where a.key = v.key and a.state = v.was_state and a.claim_no = v.was_claim_no
  returning 1
), born as (${insertAttempts("$4", "said")}
), ${insertEvents("$5", "said")}, strays as (
  insert into object (run_id, kind, group_id, name, uid, hold_until, due)
  select v.run_id, v.kind, g.id, v.name, v.uid, ${AT("hold_until")}, ${AT("due")}
  from json_to_recordset($6) as v(run_id text, kind text, group_name text, name text, uid text, hold_until float8, due float8)
  join cluster_group g on g.name = v.group_name
  on conflict (group_id, uid, kind) do update set hold_until = greatest(object.hold_until, excluded.hold_until)
), anchors as (
  insert into object (run_id, kind, number, state, group_id, namespace, bytes, uid, hold_until, due)
  select v.run_id, 'anchor', v.number, v.state, g.id, v.namespace, v.bytes, v.uid, ${AT("hold_until")}, coalesce(${AT("due")}, 'infinity')
  from json_to_recordset($9) as v(run_id text, number integer, state text, group_name text, namespace text, bytes float8, uid text,
    hold_until float8, due float8)
  join cluster_group g on g.name = v.group_name where v.state is not null
  on conflict (run_id, number) do update set state = excluded.state, uid = excluded.uid, hold_until = excluded.hold_until, due = excluded.due
), forgotten as (
  delete from object o using json_to_recordset($9) as v(run_id text, number integer, state text)
  where v.state is null and o.run_id = v.run_id and o.number = v.number
), ${WAKE("$8", "$3")}, counted as (
  select (select count(*) from runs)::integer as runs, (select count(*) from moved)::integer as attempts,
    (select count(*) from woken)::integer as woken
)
select counted.*, case when $7 <> '' then pg_notify('${CHANNEL}', $7) end as announced,
  case when woken > 0 then pg_notify('${CHANNEL}', 'waiting') end as rung_for_them
from counted`,
};

export interface Writing {
  readonly change: Change;
  readonly held: Locked;
  readonly request?: RunRequest | undefined;
  /** Sealed secret values in place of those that were there. */
  readonly sealed?: string | undefined;
}

export async function write(queries: Queries, writings: readonly Writing[], nowMs: number, epoch: number): Promise<void> {
  const all = writings.filter(({ change }) => isChanged(change));
  if (all.length === 0) return;
  const runs = all.flatMap(runsOf);
  const specs = all.flatMap(({ held, request, sealed }) =>
    request === undefined && sealed === undefined ? [] : [{ run_key: held.key, spec: request, secrets: sealed }],
  );
  const tags = all.flatMap(({ change, held, request }) =>
    request === undefined ? [] : tagsOf(change, request).map((it) => ({ run_key: held.key, ...it })),
  );
  const touched = all.flatMap(attemptsOf);
  const moved = touched.filter((it) => "key" in it);
  const born = touched.filter((it) => !("key" in it));
  const events = all.flatMap(({ change, held }) => eventsOf({ run_key: held.key }, change, nowMs, epoch));
  const strays = once(all.flatMap(({ change }) => strayValues(change.after.run.id, change.strays, nowMs)));
  const changes = all.map(({ change }) => change);
  const lists = [runs, specs, moved, born, events, strays].map(toJson);
  const kinds = workMadeBy(changes, nowMs);
  const anchors = changes.flatMap(anchorsOf);
  const endings = all.flatMap(({ change, held }) => endingsOf(change, nowMs).map((it) => ({ run_key: held.key, ...it })));
  const values = [...lists, kinds.join(","), slotsFreed(changes), toJson(anchors), toJson(tags), toJson(endings)];
  const [done] = await queries.all<{ runs: number; attempts: number; woken: number }>(WRITE, values);
  if (done?.runs !== runs.length || done.attempts !== moved.length)
    throw new Bug(`${runs.length} runs and ${moved.length} attempts were locked, ${done?.runs} and ${done?.attempts} written`);
  await putLines(queries, changes);
  queries.announce(done.woken > 0 ? [...kinds, "waiting"] : kinds);
}

function runsOf({ change: { before, after }, held }: Writing): readonly object[] {
  const was = held.record.run;
  const same = before !== undefined && sameRun(before.run, after.run);
  return same ? [] : [{ key: held.key, was_state: was.state, was_seq: was.seq, ...runValues(after.run, before?.run) }];
}

const sameRun = (a: Change["after"]["run"], b: Change["after"]["run"]): boolean =>
  (Object.keys(a) as (keyof typeof a)[]).every((name) => a[name] === b[name]);

function attemptsOf({ change, held }: Writing): readonly object[] {
  return movedAttempts(change).map(([was, is]) => {
    if (was === undefined) return { run_key: held.key, ...attemptValues(is, undefined) };
    const key = held.attemptKeys.get(attemptKey(is));
    return { key, was_state: was.state, was_claim_no: was.claimNo, ...attemptValues(is, was) };
  });
}

/** A forgotten anchor's row has no state. */
function anchorsOf(change: Change): readonly object[] {
  const { id: run_id } = change.after.run;
  const forgotten = forgottenAnchors(change).map(({ number }) => ({ run_id, number }));
  return [...movedAnchors(change).map((it) => anchorValues(run_id, it)), ...forgotten];
}

/** Events are numbered after the run's last event: the run's counter and its events can only move together. */
export function eventsOf(of: object, { before, after, told }: Change, nowMs: number, epoch: number): readonly object[] {
  const first = (before?.run.seq ?? 0) + 1;
  if (first + told.length - 1 !== after.run.seq)
    throw new Bug(`the run ${after.run.id} counts ${after.run.seq} events, and ${told.length} follow number ${first - 1}`);
  return told.map(({ told: { type, group, data }, generation }: Telling, index) => ({
    ...of,
    seq: first + index,
    generation,
    epoch,
    group_name: group,
    type,
    body: data,
    at: nowMs,
  }));
}

/** A stray is due at once; a "release", which only takes the hold off, is due when the fence has passed. */
const strayValues = (run: RunId, strays: readonly Stray[], nowMs: number): readonly StrayValues[] =>
  strays.map(({ kind, group, name, uid, holdUntilMs }) => ({
    run_id: run,
    kind,
    group_name: group,
    name,
    uid,
    hold_until: holdUntilMs,
    due: kind === "release" ? holdUntilMs : nowMs,
  }));

interface StrayValues {
  readonly group_name: string;
  readonly uid: string;
  readonly kind: string;
  readonly hold_until: number;
}

/**
 * Removes duplicates, which a repeated fact within a batch makes: an upsert fails if it meets the same row twice. The latest
 * fence is kept.
 */
function once(strays: readonly StrayValues[]): readonly StrayValues[] {
  const last = strays.toSorted((a, b) => a.hold_until - b.hold_until);
  return [...new Map(last.map((it) => [JSON.stringify([it.group_name, it.uid, it.kind]), it])).values()];
}

/**
 * The lines of concurrency keys in Postgres.
 *
 * The bugs this prevents: two launchers that count a key's runs at the same time, and each admit one more; and a poll that reads
 * ten thousand runs in line to find that nobody may enter. The statement that is asked all the time visits each key with a line
 * once, by an index.
 */
import type { RunId, TenantName } from "@longshore/contract/ids.ts";
import type { NewRun } from "@longshore/domain/run/begin.ts";
import type { Change } from "@longshore/domain/run/change.ts";
import { lineChange } from "@longshore/domain/run/concurrency.ts";
import { type Queries, type Statement, toJson } from "../connection.ts";

const ENTERING_MOST = 128;

/**
 * The runs that may be let in now: of each key the first in line, as long as those before them and those inside leave room. A
 * text, since the placer asks for them and their attempts in one statement.
 */
export const ENTERING = `
  with recursive line as (
    (select tenant, key from concurrency where not let_in order by tenant, key limit 1)
    union all
    select n.tenant, n.key from line cross join lateral (
      select c.tenant, c.key from concurrency c
      where not c.let_in and (c.tenant, c.key) > (line.tenant, line.key) order by c.tenant, c.key limit 1
    ) n
  ), inside as materialized (
    select line.tenant, line.key, (
      select count(*) from concurrency c where c.let_in and c.tenant = line.tenant and c.key = line.key
    ) as runs from line
  )
  select head.run_key from inside cross join lateral (
    select run_key, bool_and(inside.runs + place <= most) over (order by place) as fits from (
      select c.run_key, c.most, row_number() over (order by c.priority desc, c.run_key) as place from concurrency c
      where not c.let_in and c.tenant = inside.tenant and c.key = inside.key and c.from_at <= statement_timestamp()
      order by c.priority desc, c.run_key limit ${ENTERING_MOST}
    ) numbered
  ) head where head.fits`;

/** One statement for all rows that change, under their runs' locks. Runs without a key have no row and cost nothing. */
const PUT: Statement = {
  name: "put_concurrency",
  text: `
with told as materialized (
  select r.key as run_key, r.tenant, v.key, v.most, v.priority, v.from_at, v.let_in
  from json_to_recordset($1) as v(run_id text, key text, most integer, priority integer, from_at float8, let_in boolean)
  join run r on r.id = v.run_id
), gone as (
  delete from concurrency c using told where c.run_key = told.run_key and told.key is null
)
insert into concurrency (run_key, tenant, key, most, priority, from_at, let_in)
select run_key, tenant, key, most, priority, to_timestamp(from_at / 1000.0), let_in from told where key is not null order by run_key
on conflict (run_key) do update set let_in = excluded.let_in`,
};

export async function putLines(queries: Queries, changes: readonly Change[]): Promise<void> {
  const rows = changes.flatMap((change) => {
    const row = lineChange(change);
    if (row === undefined) return [];
    if (row === "left") return [{ run_id: change.after.run.id }];
    const { run, key, limit, priority, fromMs, letIn } = row;
    return [{ run_id: run, key, most: limit, priority, from_at: fromMs, let_in: letIn }];
  });
  if (rows.length > 0) await queries.all(PUT, [toJson(rows)]);
}

/** Taken before any run's lock, in one order, by admissions alone; the transaction's end gives it back. */
const LOCK: Statement = {
  name: "lock_concurrency",
  text: `select pg_advisory_xact_lock(lock) from (
    select distinct hashtextextended(v.tenant || ' ' || v.key, 0) as lock from json_to_recordset($1) as v(tenant text, key text) order by lock
  ) it`,
};

const UNFINISHED: Statement = {
  name: "unfinished_concurrency",
  text: `select v.tenant, v.key, (
      select count(*) from concurrency c where c.tenant = v.tenant and c.key = v.key
    )::integer as runs
    from json_to_recordset($1) as v(tenant text, key text)`,
};

/** The number of unfinished runs of each key, counted under the keys' locks, with those that this transaction adds. */
export interface Unfinished {
  readonly of: (run: NewRun) => number;
  /** Notes a run that is being created, or takes that back: its id was taken. */
  readonly add: (run: NewRun, by: 1 | -1) => void;
}

export async function countUnder(queries: Queries, runs: readonly NewRun[]): Promise<Unfinished> {
  const keys = runs.flatMap(({ tenant, plan }) =>
    plan.concurrency === undefined ? [] : [{ tenant, key: plan.concurrency.key }],
  );
  const counts = new Map<string, number>();
  const nameOf = ({ tenant, key }: { readonly tenant: TenantName; readonly key: string }): string =>
    JSON.stringify([tenant, key]);
  if (keys.length > 0) {
    const asked = toJson([...new Map(keys.map((it) => [nameOf(it), it])).values()]);
    await queries.all(LOCK, [asked]);
    for (const row of await queries.all<{ tenant: TenantName; key: string; runs: number }>(UNFINISHED, [asked]))
      counts.set(nameOf(row), row.runs);
  }
  const keyOf = ({ tenant, plan }: NewRun): string => nameOf({ tenant, key: plan.concurrency?.key ?? "" });
  return {
    of: (run) => counts.get(keyOf(run)) ?? 0,
    add: (run, by) => void counts.set(keyOf(run), (counts.get(keyOf(run)) ?? 0) + by),
  };
}

/** The ids of the runs that may be let in. Asked under the groups' locks: no two placers may let in the same last run. */
const ENTERING_RUNS: Statement = {
  name: "entering",
  text: `select r.id from (${ENTERING}) e join run r on r.key = e.run_key`,
};

export const enteringRuns = async (queries: Queries): Promise<ReadonlySet<RunId>> =>
  new Set((await queries.all<{ id: RunId }>(ENTERING_RUNS)).map(({ id }) => id));

/**
 * Removes what is no longer needed: tombstones after their day, secret values that no restart can need, old sent notices, old
 * suspects. Runs stay for ever.
 */
import { TOMBSTONE_MS } from "@longshore/domain/run/admit.ts";
import type { Database, Statement } from "../connection.ts";

/**
 * A sent notice is kept this long: if a broker delivers a refused command again within that time, the command gets no second
 * notice.
 */
export const NOTICE_MS = 7 * 24 * 3_600_000;
export const SUSPECT_MS = 24 * 3_600_000;

const before = (ms: number): string => `now() - make_interval(secs => ${ms / 1000})`;

/** Does the work of `keepsSecrets` in the domain for all runs; conformance.ts proves that both do the same. */
const WORN_SECRETS = `
  select r.key from run_spec s join run r on r.key = s.run_key left join lateral (
    select o.state, exists (select from attempt a where a.run_key = r.key and a.uid is not null and (a.notes ->> 'anchor')::integer = o.number) as stood
    from object o where o.run_id = r.id and o.kind = 'anchor' order by o.number desc limit 1
  ) newest on true
  where s.secrets is not null and r.state = 'ended' and case when newest.stood then newest.state <> 'kept'
    else r.ended_at + make_interval(secs => case r.outcome when 'cancelled' then 0
      when 'succeeded' then (r.plan #>> '{storage,anchor,keepSucceededMs}')::float8 / 1000
      else (r.plan #>> '{storage,anchor,keepFailedMs}')::float8 / 1000 end) <= now() end
  order by r.key limit $1 for no key update of r skip locked`;

/**
 * Each part skips rows that are locked, so that no transaction waits long for another. Each part chooses its rows once
 * ("materialized"): otherwise Postgres may choose again for each row, and delete more rows than the limit allows.
 */
const PRUNE: Statement = {
  name: "prune",
  text: `
with worn as materialized (
  select key from run where state = 'tombstone' and accepted_at <= ${before(TOMBSTONE_MS)} order by key limit $1 for update skip locked
), stones as (
  delete from run r using worn where r.key = worn.key returning 1
), secret as materialized (${WORN_SECRETS}
), forgotten as (
  update run_spec s set secrets = null from secret where s.run_key = secret.key returning 1
), told as materialized (
  select id from notice where sent_at <= ${before(NOTICE_MS)} order by id limit $1 for update skip locked
), notices as (
  delete from notice n using told where n.id = told.id returning 1
), old as materialized (
  select digest from suspect where at <= ${before(SUSPECT_MS)} order by digest limit $1 for update skip locked
), suspects as (
  delete from suspect s using old where s.digest = old.digest returning 1
)
select ((select count(*) from stones) + (select count(*) from forgotten) + (select count(*) from notices) + (select count(*) from suspects))::integer as gone`,
};

const SUSPECT: Statement = {
  name: "suspect",
  text: `insert into suspect (digest, n, at) values ($1, 1, now())
    on conflict (digest) do update set n = suspect.n + 1, at = now() returning n`,
};

export function pruneQueries(database: Database) {
  return {
    prune: async (most: number): Promise<number> => (await database.all<{ gone: number }>(PRUNE, [most]))[0]?.gone ?? 0,
    suspect: async (digest: string): Promise<number> => (await database.all<{ n: number }>(SUSPECT, [digest]))[0]?.n ?? 1,
  };
}

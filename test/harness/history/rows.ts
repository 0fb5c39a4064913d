/**
 * The ledger's rows at the end of a test, read as a person with psql would.
 *
 * The failure this prevents: asking the ledger's own code whether the ledger is right.
 */
import pg from "pg";
import type { LedgerRows } from "./journals.ts";

const RUNS = `select id, state, outcome, generation, seq from longshore.run`;
const ATTEMPTS = `
select r.id as run, a.step, a.n, a.generation, a.name, g.name as "group", a.state, a.uid, a.started, a.cause,
  coalesce(
    (select s -> 'limits' ->> 'deadlineMs' from jsonb_array_elements(r.plan -> 'steps') s where s ->> 'name' = a.step),
    r.plan -> 'limits' ->> 'deadlineMs'
  )::float8 as "deadlineMs", a.outcome ->> 'result' as result, a.outcome -> 'diagnosis' ->> 'code' as code, (a.outcome ->> 'endedAtMs')::float8 as "recordedMs"
from longshore.attempt a join longshore.run r on r.key = a.run_key left join longshore.cluster_group g on g.id = a.group_id`;
const EVENTS = `
select r.id as run, e.seq as sequence, e.generation, e.type, e.body as data
from longshore.event e join longshore.run r on r.key = e.run_key`;
const COMMANDS = `select id, source from longshore.command`;
const NOTICES = `select body ->> 'command' as command from longshore.notice where type = 'command.refused'`;

const SENT = `
select r.id as run, e.seq as sequence from longshore.event e join longshore.run r on r.key = e.run_key
where not exists (select from longshore.outbox o where o.run_key = e.run_key and o.seq = e.seq)`;

type Ask = <R extends object>(text: string) => Promise<readonly R[]>;

async function asking<T>(url: string, read: (ask: Ask) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await read(async <R extends object>(text: string) =>
      (await client.query<R>(text)).rows.map(
        (row) => Object.fromEntries(Object.entries(row).map(([k, v]) => [k, v ?? undefined])) as R,
      ),
    );
  } finally {
    await client.end();
  }
}

/** The events of which the ledger says that the broker has them. */
export const sentEvents = (url: string): Promise<readonly { readonly run: string; readonly sequence: number }[]> =>
  asking(url, (ask) => ask(SENT));

export const rowsOf = (url: string): Promise<LedgerRows> =>
  asking(url, async (ask) => ({
    runs: await ask<LedgerRows["runs"][number]>(RUNS),
    attempts: await ask<LedgerRows["attempts"][number]>(ATTEMPTS),
    events: await ask<LedgerRows["events"][number]>(EVENTS),
    commands: await ask<LedgerRows["commands"][number]>(COMMANDS),
    refused: (await ask<{ command: string }>(NOTICES)).map(({ command }) => command),
  }));

/** For tests: a ledger on a database of its own, whose time can be moved without waiting. */
import pg from "pg";
import { INSTALLATION, jobName, type Opened } from "./conformance-parts.ts";
import { connectionOf } from "../postgres/connection.ts";
import { type LedgerOptions, openLedger } from "../open.ts";
import type { Ledger } from "../port.ts";

/** Moves all stored times into the past, as if that much time had passed on the database's own clock. */
const PASS = `
do $$
declare it record;
begin
  for it in select table_name as t, column_name as c from information_schema.columns
    where table_schema = 'longshore' and data_type = 'timestamp with time zone' and is_updatable = 'YES' loop
    execute format('update %I set %I = %I - make_interval(secs => current_setting(''longshore.pass'')::float8)', it.t, it.c, it.c);
  end loop;
  update attempt set notes = notes || (
    select coalesce(jsonb_object_agg(key, value::text::numeric - 1000 * current_setting('longshore.pass')::numeric), '{}')
    from jsonb_each(notes) where key like '%Ms');
end $$`;

export const ledgerOn = (url: string, more: Partial<LedgerOptions> = {}): Promise<Ledger> =>
  openLedger({ url, installation: INSTALLATION, jobName, migrate: true, unsafeForTests: true, poolMax: 6, ...more });

export function opened(url: string): Opened {
  const ledgers: Ledger[] = [];
  return {
    connect: async (keyMark) => {
      const ledger = await ledgerOn(url, keyMark === undefined ? {} : { keyMark });
      ledgers.push(ledger);
      return ledger;
    },
    pass: async (ms) => {
      const client = new pg.Client(connectionOf(url));
      await client.connect();
      try {
        await client.query(`set longshore.pass = '${ms / 1000}'`);
        await client.query(PASS);
      } finally {
        await client.end();
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const ledger of ledgers) await ledger[Symbol.asyncDispose]();
    },
  };
}

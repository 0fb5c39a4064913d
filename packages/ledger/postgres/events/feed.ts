/**
 * The feed of events for readers that keep a cursor, in the order of the transactions that wrote them.
 *
 * The bug this prevents: an event that is lost for ever, because a cursor passed its number before its transaction was
 * committed. The feed reads only below the oldest transaction that is still open on the server, so nothing can appear behind
 * the cursor. An open write anywhere on the server therefore holds the feed back.
 *
 * The events of one run may come out of order here: a transaction gets its number with its first write, perhaps before it had
 * to wait for the run's lock. Readers go by the run's own sequence.
 */
import type { Database, Statement } from "../connection.ts";

/** Transactions are counted anew on another server, and after a restore: the cursor says whose count it is. */
export interface Cursor {
  readonly server: string;
  readonly epoch: number;
  readonly xid: string;
  readonly run_key: string;
  readonly seq: number;
}

/** The part of a `with` that reads the feed behind a cursor. Its place is given by three parameters, the most by one. */
export const fed = (xid: string, key: string, seq: string, most: string): string => `
  fed as materialized (
    select e.xid, e.run_key, e.seq from event e
    where (e.xid, e.run_key, e.seq) > (${xid}::xid8, ${key}::bigint, ${seq}::integer) and e.xid < pg_snapshot_xmin(pg_current_snapshot())
    order by e.xid, e.run_key, e.seq limit ${most}
  )`;

/** The place before the first event that a transaction which is still open may write. */
export const NOW = "pg_snapshot_xmin(pg_current_snapshot())";
/** No transaction of this server has this number yet. */
export const isAhead = (xid: string): string => `${xid} >= pg_snapshot_xmax(pg_current_snapshot())`;

const SERVER: Statement = { name: "server", text: "select system_identifier::text as server from pg_control_system()" };

/** Names the server whose transactions are counted. Returns "" if the server does not tell us. */
export async function serverOf(database: Database): Promise<string> {
  try {
    return (await database.all<{ server: string }>(SERVER))[0]?.server ?? "";
  } catch (error) {
    if (isForbidden(error)) return "";
    throw error;
  }
}

const isForbidden = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "LedgerRights";

/**
 * Connections to the ledger, and transactions on them.
 *
 * The bugs this prevents: a connection in an unknown state that is given to the next caller; a frozen process whose open
 * transaction keeps everybody's rows locked; and a COMMIT whose answer was lost, taken for a rollback.
 */
import type { Log } from "@longshore/runtime/log.ts";
import pg from "pg";
import type { WorkKind } from "../port.ts";
import { failureOf, lostRace, placeOf, type Place } from "./failure.ts";

export const SCHEMA = "longshore";
/** Whoever writes notifies here of the kinds of work that this made. */
export const CHANNEL = "longshore_ledger";
const STATEMENT_MS = 10_000;
const IDLE_IN_TRANSACTION_MS = 5_000;
const CONNECT_WITHIN_MS = 10_000;
/** How often a transaction that lost against another one is tried before the caller gets the error. */
const RACES_MAX = 8;

/** A statement whose text is sent once to each connection; afterwards only its name is sent. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

export interface Queries {
  all<R extends object>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
  /** Tells this process of new work, at once after the commit. All other processes hear of it by the statement's NOTIFY. */
  announce(kinds: readonly WorkKind[]): void;
}

/**
 * Statements that the work sends without awaiting each one go to the server together with the BEGIN: one round trip. `now`, the
 * database's time in milliseconds, comes with the BEGIN's answer. The work writes nothing before `now` has come: if the BEGIN
 * failed, each later write would be committed on its own.
 */
export type Work<T> = (queries: Queries, now: Promise<number>) => Promise<T>;

export interface Database extends Queries {
  readonly place: Place;
  /**
   * True if the backend belongs to one of our connections: this process already knows of the work that such a backend
   * notifies of.
   */
  isOwn(backend: number): boolean;
  /**
   * All or nothing. If the transaction lost a race, it is done again; any other error of the database or the network is thrown
   * as a `Failure`.
   */
  transaction<T>(work: Work<T>): Promise<T>;
  close(): Promise<void>;
}

/**
 * Every statement of ours finds its rows by an index, from a short list of keys. If a statement is prepared while the tables
 * are new and small, Postgres plans to read them whole, and keeps that plan while they grow: a hundred times the work, until
 * the next analyze. Therefore the other ways to plan are switched off, and each connection plans a statement once: by default
 * Postgres plans a statement anew for every list of keys, which was a fifth of all its work for us.
 */
const WITHOUT = ["seqscan", "hashjoin", "mergejoin", "material"].map((it) => `-c enable_${it}=off`).join(" ");
const PLANS = `${WITHOUT} -c plan_cache_mode=force_generic_plan`;
const SESSION = `-c search_path=${SCHEMA} -c TimeZone=UTC -c DateStyle=ISO -c jit=off -c default_transaction_isolation=read\\ committed`;

export const connectionOf = (url: string): pg.ClientConfig => ({
  connectionString: withoutOptions(url),
  application_name: "longshore",
  options: `${optionsOf(url)} ${SESSION} ${PLANS}`.trim(),
  connectionTimeoutMillis: CONNECT_WITHIN_MS,
  keepAlive: true,
});

/** The URL's own session options, put before ours. If they stayed in the URL, pg would use them in place of ours. */
const optionsOf = (url: string): string => new URL(url).searchParams.get("options") ?? "";

function withoutOptions(url: string): string {
  const plain = new URL(url);
  plain.searchParams.delete("options");
  return plain.href;
}

export interface DatabaseOptions {
  readonly poolMax: number;
  readonly log: Log;
  readonly onWork?: (kinds: readonly WorkKind[]) => void;
}

export function openDatabase(url: string, { poolMax, log, onWork = () => undefined }: DatabaseOptions): Database {
  const place = placeOf(url);
  const backends = new Set<number>();
  const pool = new pg.Pool({
    ...connectionOf(url),
    max: poolMax,
    statement_timeout: STATEMENT_MS,
    idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
    // The server ends statements that run too long. This limit is for a server that does not answer at all.
    query_timeout: 2 * STATEMENT_MS,
    pipeline: true,
    types: { getTypeParser },
  });
  // Listens on connections in use too: if a connection breaks between two queries, no query reports the error, and an error
  // without a listener would end the process.
  const broke = (error: Error): void => log.debug("a connection to the ledger broke", { error });
  pool.on("error", broke);
  pool.on("connect", (client) => {
    client.on("error", broke);
    backends.add(backendOf(client));
  });
  pool.on("remove", (client) => backends.delete(backendOf(client)));

  const all = async <R extends object>(
    to: { query<Q extends object>(config: pg.QueryConfig): Promise<{ rows: Q[] }> },
    { name, text }: Statement,
    values: readonly unknown[] = [],
  ): Promise<R[]> => {
    const { rows } = await to.query<R>({ name, text, values: [...values] });
    return rows;
  };

  async function once<T>(work: Work<T>): Promise<T> {
    const client = await pool.connect();
    let broken: Error | undefined;
    try {
      const now = begin(client);
      now.catch(() => undefined); // each `await now` reports the error, at the latest the one before the commit
      const announced = new Set<WorkKind>();
      const announce = (kinds: readonly WorkKind[]): void => {
        for (const kind of kinds) announced.add(kind);
      };
      const result = await work({ all: (statement, values) => all(client, statement, values), announce }, now);
      await now;
      await client.query("commit");
      if (announced.size > 0) onWork([...announced]);
      return result;
    } catch (error) {
      // After an error, the connection's state is unknown, so the connection is closed, which rolls back.
      broken = error instanceof Error ? error : new Error(String(error));
      if (lostRace(error))
        broken = await client.query("rollback").then(
          () => undefined,
          () => broken,
        );
      throw error;
    } finally {
      client.release(broken);
    }
  }

  return {
    place,
    isOwn: (backend) => backends.has(backend),
    announce: onWork,
    all: async (statement, values) => {
      try {
        return await all(pool, statement, values);
      } catch (error) {
        throw translated(error, place);
      }
    },
    transaction: async (work) => {
      for (let races = 1; ; races++) {
        try {
          return await once(work);
        } catch (error) {
          if (!lostRace(error) || races === RACES_MAX) throw translated(error, place);
        }
      }
    },
    close: () => pool.end(),
  };
}

/** Our own bugs stay as they are: only an error of the database or the network becomes a `Failure`. */
function translated(error: unknown, place: Place): unknown {
  const ours = error instanceof TypeError || error instanceof RangeError || error instanceof Bug;
  return ours ? error : failureOf(error, place);
}

/** The connection's process id at the server, known from the start of the connection; the library's types lack it. */
const backendOf = (client: pg.ClientBase): number => ("processID" in client ? Number(client.processID) : 0);

/** Something happened that can never happen if our code is right. */
export class Bug extends Error {
  override readonly name = "Bug";
}

async function begin(client: pg.ClientBase): Promise<number> {
  // Two statements in one text give two results.
  const results: unknown = await client.query("begin; select clock_timestamp() as now");
  const second: unknown = Array.isArray(results) ? results[1] : undefined;
  const now = (second as pg.QueryResult<{ now: number }> | undefined)?.rows[0]?.now;
  if (now === undefined) throw new Bug("the database did not tell its time");
  return now;
}

// ── Values ───────────────────────────────────────────────────────────────────────────────────────────────────────────

const TIMESTAMPTZ = 1184;

const parseTime = (text: string): number =>
  Math.floor(Date.parse(`${text.slice(0, 10)}T${text.slice(11).replace(/\+00$/, "Z")}`));

/** Times are milliseconds everywhere in Longshore; bigint keys stay text. */
function getTypeParser(oid: number, format?: "text" | "binary"): unknown {
  if (oid === TIMESTAMPTZ) return parseTime;
  return pg.types.getTypeParser(oid, format as "text");
}

/** Our own words, never a person's, as a list in a statement's text: `state in ('ready', 'claimed')`. */
export const inList = (words: readonly string[]): string => `(${words.map((it) => `'${it}'`).join(", ")})`;

/**
 * Returns JSON that Postgres accepts. Postgres refuses NUL characters and halves of surrogate pairs, which programs do write to
 * their logs and outputs. Such characters become U+FFFD: a run must not hang because its program printed one.
 */
export function toJson(value: unknown): string {
  const text = JSON.stringify(value);
  return /\\u0000|\\ud[89a-f]/.test(text) ? JSON.stringify(wellFormed(value)) : text;
}

function wellFormed(value: unknown): unknown {
  if (typeof value === "string") return value.toWellFormed().replaceAll("\0", "\u{fffd}");
  if (Array.isArray(value)) return value.map(wellFormed);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, it]) => [wellFormed(name), wellFormed(it)]));
}

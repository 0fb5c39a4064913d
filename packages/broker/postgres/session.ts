/**
 * Ties the unsettled messages of a process to the life of the process. A session is one connection that beats (renews its row),
 * owns a lock, and listens.
 *
 * The bugs this prevents: messages that are kept for ever by a process that was killed (its lock goes with its connection, and
 * another session gives its messages back), by a process that is frozen (its row runs out), or by ourselves after a lost answer
 * (the doubtful session is ended and a new one begins). A session that ended can settle nothing any more.
 */
import type { Socket } from "node:net";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { Client, type ClientBase, type ClientConfig, type Pool } from "pg";
import { openSessions, type Session, type Sessions } from "../session.ts";
import { CHANNEL, declareSchema, LOCK_SPACE } from "./schema.ts";

const BEAT_MS = 1_000;
const LEASE_SECONDS = 10;
const HISTORY_MAX = 10_000;
const FOLLOWER_LENGTH_MAX = 10_000;

export interface PostgresSession extends Session {
  readonly id: number;
  /** Ends a session whose state is in doubt; another begins. */
  lose(error: unknown): void;
}

interface Options {
  readonly config: ClientConfig;
  readonly socket: () => Socket;
  readonly pool: Pool;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when a queue has something new; `undefined` stands for any queue. */
  readonly onNews: (queue: string | undefined) => void;
  /** The prefix of followers' queues. */
  readonly follow: string;
}

/** Rejects with the error of `connect` if the first connection fails. */
export function openPostgresSessions(options: Options): Promise<Sessions<PostgresSession>> {
  const { clock, log } = options;
  return openSessions({ clock, log, about: { broker: "postgres" }, open: (previous) => openOne(options, previous) });
}

async function openOne(options: Options, previous: PostgresSession | undefined): Promise<PostgresSession> {
  const { config, socket: makeSocket, pool, follow, onNews } = options;
  const socket = makeSocket();
  const client = new Client({ ...config, stream: () => socket });
  const end = new AbortController();
  client.on("error", (error) => end.abort(error));
  client.on("end", () => end.abort(new Error("the connection ended")));
  client.on("notification", ({ payload }) => onNews(payload === "" ? undefined : payload));
  try {
    await client.connect();
    await declareSchema(client);
    await client.query(`listen ${CHANNEL}`);
    // The lock comes before the row: a row without a lock is taken for a dead process.
    const { rows } = await client.query<{ id: number }>(
      "select id, pg_advisory_lock($1, id) from (select nextval('longshore_broker.session_id')::integer as id) it",
      [LOCK_SPACE],
    );
    const id = rows[0]?.id;
    if (id === undefined) throw new Error("a sequence without a value");
    const insert = "insert into longshore_broker.session (id, until) values ($1, now() + make_interval(secs => $2))";
    await client.query(insert, [id, LEASE_SECONDS]);
    // Messages of our previous session are delivered again first, in their order.
    if (previous !== undefined) await giveBack(pool, [previous.id], follow);
    const beating = { id, client, over: end.signal };
    void beat(beating, options).then((why) => end.abort(why));
    return {
      id,
      over: end.signal,
      lose: (error) => end.abort(error),
      farewell: async () => {
        end.abort(new Failure("retry", "Closed", "The broker was closed."));
        await farewell(beating, follow);
      },
      drop: () => socket.destroy(), // the lock goes with the socket, and the next session's first beat gives the messages back
    };
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

interface Beating {
  readonly id: number;
  readonly client: Client;
  readonly over: AbortSignal;
}

/** Beats until the session is over; returns why it ended. Each beat also looks for sessions whose process is gone. */
async function beat({ id, client, over }: Beating, { pool, clock, follow }: Options): Promise<unknown> {
  try {
    while (!over.aborted) {
      const { rows } = await client.query<{ alive: boolean; dead: number[] }>(BEAT, [id, LEASE_SECONDS, LOCK_SPACE]);
      if (rows[0]?.alive !== true) return new Error("the session ran out while this process stood still");
      if (rows[0].dead.length > 0) await giveBack(pool, rows[0].dead, follow);
      await clock.sleep(BEAT_MS, over);
    }
    return over.reason;
  } catch (error) {
    return error;
  }
}

const BEAT = `
with me as (
  update longshore_broker.session set until = now() + make_interval(secs => $2) where id = $1 returning id
), shorter as (
  delete from longshore_broker.message m using longshore_broker.queue q
  where q.session = $1 and m.queue = q.name and m.holder is null and m.id <= (
    select o.id from longshore_broker.message o where o.queue = q.name order by o.id desc offset ${FOLLOWER_LENGTH_MAX} limit 1)
), trimmed as (
  delete from longshore_broker.history where id <= (select max(id) from longshore_broker.history) - ${HISTORY_MAX}
)
select exists (select from me) as alive,
       array(select id from longshore_broker.session
             where id <> $1 and (until < now() or pg_try_advisory_xact_lock($3, id))) as dead`;

const ORPHANS = `
delete from longshore_broker.message m
where queue > $1 and queue < $2 and not exists (select from longshore_broker.queue q where q.name = m.queue)`;

/**
 * Runs one statement after another: the second must see messages that were claimed while the first waited for the session's
 * row.
 */
async function ended(client: ClientBase, sessions: readonly number[], follow: string): Promise<void> {
  await client.query("begin");
  await client.query("delete from longshore_broker.session where id = any($1)", [sessions]);
  await client.query("update longshore_broker.message set holder = null where holder = any($1)", [sessions]);
  await client.query("delete from longshore_broker.queue where session = any($1)", [sessions]);
  await client.query(ORPHANS, [follow, `${follow}\u{10ffff}`]);
  await client.query("select pg_notify($1, '')", [CHANNEL]);
  await client.query("commit");
}

async function giveBack(pool: Pool, sessions: readonly number[], follow: string): Promise<void> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await ended(client, sessions, follow);
  } catch (error) {
    broken = error instanceof Error ? error : new Error(String(error));
    throw broken;
  } finally {
    client.release(broken);
  }
}

/** Ends the session in the database, so that its messages return at once. */
async function farewell({ client, id }: Beating, follow: string): Promise<void> {
  try {
    await ended(client, [id], follow);
    await client.end();
  } catch {
    return; // the connection is gone, and the session with it: other sessions give its messages back
  }
}

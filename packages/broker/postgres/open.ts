/**
 * A broker in Postgres tables: the default if there is no RabbitMQ, and the broker that `longshore up` starts with.
 *
 * The bugs this prevents: a message that is reported as stored before it was committed, a follower that slows down the
 * publishers, and thousands of tiny transactions (messages that are published during one commit share the next).
 */
import { randomUUID } from "node:crypto";
import { Socket } from "node:net";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { batch } from "@longshore/runtime/loop.ts";
import { type ClientConfig, Pool } from "pg";
import { type Address, codeOf, hostPort, messageOf, unreachable } from "../address.ts";
import type { AdapterOptions } from "../brokers.ts";
import type { Broker, BrokerReport, Outgoing, Published, Queue, ReceiveOptions, Topic } from "../port.ts";
import { settledDeliveries } from "../receiving.ts";
import { atMost, boundedPublishing, type Try } from "../session.ts";
import { isOurs } from "../settings.ts";
import { keyForPattern, patternAsRegex } from "../topic-pattern.ts";
import { type QueueReceiver, receiver, type ReceiverParts } from "./receive.ts";
import { CHANNEL } from "./schema.ts";
import { openPostgresSessions, type PostgresSession } from "./session.ts";

const CONNECTIONS_MAX = 4;
const CONNECT_WITHIN_MS = 10_000;
const STATEMENT_MS = 10_000;
const BATCH_MAX = 500;
const BATCH_BYTES_MAX = 4 * 1024 * 1024;
const CLOSE_WITHIN_MS = 2_000;

interface Item {
  readonly message: Outgoing;
  readonly attempt: Try;
}

export async function openPostgresBroker({ address, names, log, clock, publishWithinMs }: AdapterOptions): Promise<Broker> {
  const where = `Postgres at ${hostPort(address)}`;
  const sockets = openSockets();
  const config = clientConfig(address, sockets.make);
  const pool = new Pool({ ...config, max: CONNECTIONS_MAX });
  pool.on("error", (error) => log.debug("an idle connection to the broker broke", { error }));
  const receivers = new Set<QueueReceiver>();
  const onNews = (queue: string | undefined) => {
    for (const it of receivers) if (queue === undefined || it.queue === queue) it.lookAgain();
  };
  const { follow } = names;
  const opening = openPostgresSessions({ config, socket: sockets.make, pool, clock, log, onNews, follow });
  const sessions = await opening.catch(async (error: unknown) => {
    await pool.end();
    throw whyNot(error, address, where);
  });
  const bounded = boundedPublishing({ clock, where, withinMs: publishWithinMs });

  const put = (queue: string) => publishing((messages) => pool.query(PUT, [queue, ...columns(messages)]));
  const to = {
    commands: put(names.commands),
    facts: put(names.facts),
    events: publishing((messages) => pool.query(EVENTS, columns(messages))),
  } satisfies Record<Topic, unknown>;

  function unavailable(what: string, error: unknown): Failure {
    return new Failure("retry", "BrokerUnavailable", `${where} ${what}: ${messageOf(error)}`, error);
  }

  function publishing(write: (messages: readonly Outgoing[]) => Promise<unknown>): (item: Item) => Promise<void> {
    return batch<Item, void>({ most: BATCH_MAX, waitingMost: Number.MAX_SAFE_INTEGER }, async (items) => {
      const wanted = items.filter((it) => !it.attempt.abandoned).map((it) => it.message);
      try {
        for (const part of inParts(wanted)) await write(part);
      } catch (error) {
        throw unavailable("did not confirm a message", error);
      }
      return items.map(() => undefined);
    });
  }

  function start(queue: string, options: ReceiveOptions, more: Pick<ReceiverParts, "prepare" | "onEnd"> = {}) {
    const onEnd = async () => {
      receivers.delete(started);
      await more.onEnd?.();
    };
    const started = receiver({ pool, sessions, clock, log, quarantine: names.quarantine, ...more, onEnd }, queue, options);
    receivers.add(started);
    return started.deliveries;
  }

  /** Makes and binds a queue that ends with its session. Each new session makes and binds it again. */
  async function bound(options: ReceiveOptions, statement: string, more: readonly unknown[]) {
    const name = `${follow}${randomUUID()}`;
    let prepared: PostgresSession | undefined;
    const prepare = async (session: PostgresSession) => {
      if (prepared !== session) await pool.query(statement, [name, session.id, ...more]);
      prepared = session;
    };
    const first = await sessions.current(options.signal);
    if (first === undefined) throw new Failure("retry", "Interrupted", "The follower was stopped before it was bound.");
    await prepare(first).catch((error: unknown) => {
      throw unavailable("did not bind a follower", error);
    });
    const told = (error: unknown) => log.debug("a follower's queue ends with its session", { error });
    return start(name, options, { prepare, onEnd: async () => void (await pool.query(UNBIND, [name]).catch(told)) });
  }

  return {
    publish: async (topic, message, signal) => {
      checked(message);
      await bounded(message.body.byteLength, signal, (attempt) => to[topic]({ message, attempt }));
      return "stored";
    },
    reply: async (queue, message, signal) => {
      checked(message);
      if (isOurs(queue, names)) return "unrouted";
      const { id, key, body, replyTo = null, correlationId = null } = message;
      return await bounded(body.byteLength, signal, () => routed(REPLY, [queue, id, key, body, replyTo, correlationId]));
    },
    receive: (queue, options) => start(names[queue], options),
    follow: (pattern, options) => bound(options, BIND, [pattern, patternAsRegex(pattern)]),
    broadcast: async (message, signal) => {
      checked(message);
      const { id, key, body } = message;
      return await bounded(body.byteLength, signal, () => routed(BROADCAST, [names.control, id, keyForPattern(key), key, body]));
    },
    listen: async (pattern, options) =>
      settledDeliveries(await bound(options, LISTEN, [names.control, pattern, patternAsRegex(pattern)])),
    status: () => sessions.status(),
    inspect: (signal) => inspect(signal),
    [Symbol.asyncDispose]: async () => {
      const orderly = (async () => {
        await Promise.all([...receivers].map((it) => it.close()));
        await sessions.close();
        await pool.end();
      })();
      await atMost(clock, CLOSE_WITHIN_MS, orderly);
      sockets.close(); // a frozen server never answers: closing the sockets ends the waits for it
      await orderly;
    },
  };

  /** Publishes one message in its own statement, which returns the queues that the message reached. */
  async function routed(statement: string, values: readonly unknown[]): Promise<Published> {
    try {
      const { rows } = await pool.query(statement, [...values]);
      return rows.length > 0 ? "stored" : "unrouted";
    } catch (error) {
      throw unavailable("did not confirm a message", error);
    }
  }

  async function inspect(signal: AbortSignal): Promise<BrokerReport> {
    signal.throwIfAborted();
    const before = clock.now();
    try {
      type Row = Readonly<Record<"version" | "user" | "now" | Queue | "quarantine", string>>;
      const { rows } = await pool.query<Row>(INSPECT, [names.commands, names.facts, names.quarantine]);
      const [row] = rows;
      if (row === undefined) throw new Error("no answer");
      return {
        product: `PostgreSQL ${row.version} (queues in tables)`,
        user: row.user,
        waiting: { commands: Number(row.commands), facts: Number(row.facts), quarantine: Number(row.quarantine) },
        clockSkewMs: Math.round(Number(row.now) - (before + clock.now()) / 2),
      };
    } catch (error) {
      throw whyNot(error, address, where);
    }
  }
}

const PUT = `
with put as (
  insert into longshore_broker.message (queue, message_id, key, body, reply_to, correlation_id)
  select $1, message_id, key, body, reply_to, correlation_id
  from unnest($2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[])
    with ordinality as it (message_id, key, body, reply_to, correlation_id, n)
  order by n
)
select pg_notify('${CHANNEL}', $1)`;

const EVENTS = `
with said as materialized (
  select * from unnest($1::text[], $2::text[], $3::bytea[], $4::text[], $5::text[])
    with ordinality as it (message_id, key, body, reply_to, correlation_id, n)
), kept as (
  insert into longshore_broker.history (message_id, key, body) select message_id, key, body from said order by n returning id
), routed as (
  insert into longshore_broker.message (queue, message_id, key, body, correlation_id)
  select b.queue, message_id, key, body, correlation_id
  from said, lateral (select distinct queue from longshore_broker.binding where '.' || said.key ~ regex) b order by n
  returning queue
)
select pg_notify('${CHANNEL}', queue) from (select distinct queue from routed) it`;

const REPLY = `
with put as (
  insert into longshore_broker.message (queue, message_id, key, body, reply_to, correlation_id)
  select name, $2, $3, $4, $5, $6 from longshore_broker.queue where name = $1 returning queue
)
select pg_notify('${CHANNEL}', queue) from put`;

const OWN_QUEUE = `
with q as (
  insert into longshore_broker.queue (name, session) values ($1, $2)
  on conflict (name) do update set session = excluded.session returning name
)`;

const BIND = `${OWN_QUEUE}
insert into longshore_broker.binding (queue, pattern, regex) select name, $3, $4 from q on conflict do nothing`;

const LISTEN = `${OWN_QUEUE}
insert into longshore_broker.listener (queue, exchange, pattern, regex) select name, $3, $4, $5 from q on conflict do nothing`;

const BROADCAST = `
with heard as (
  insert into longshore_broker.message (queue, message_id, key, body)
  select distinct queue, $2::text, $4::text, $5::bytea from longshore_broker.listener where exchange = $1 and $3::text ~ regex
  returning queue
)
select pg_notify('${CHANNEL}', queue) from heard`;

const UNBIND = `
with gone as (delete from longshore_broker.queue where name = $1)
delete from longshore_broker.message where queue = $1`;

const INSPECT = `
select current_setting('server_version') as version, current_user as user,
       (extract(epoch from clock_timestamp()) * 1000)::text as now,
       (select count(*) from longshore_broker.message where queue = $1 and holder is null) as commands,
       (select count(*) from longshore_broker.message where queue = $2 and holder is null) as facts,
       (select count(*) from longshore_broker.message where queue = $3) as quarantine`;

function columns(messages: readonly Outgoing[]): unknown[] {
  return [
    messages.map((it) => it.id),
    messages.map((it) => it.key),
    messages.map((it) => it.body),
    messages.map((it) => it.replyTo ?? null),
    messages.map((it) => it.correlationId ?? null),
  ];
}

/** Splits a batch by size. Bodies are sent as text, so a batch of large ones would be one statement of half a gigabyte. */
function* inParts(messages: readonly Outgoing[]): Generator<readonly Outgoing[]> {
  let part: Outgoing[] = [];
  let bytes = 0;
  for (const message of messages) {
    if (part.length > 0 && bytes + message.body.byteLength > BATCH_BYTES_MAX) {
      yield part;
      part = [];
      bytes = 0;
    }
    part.push(message);
    bytes += message.body.byteLength;
  }
  if (part.length > 0) yield part;
}

/** Postgres cannot store NUL in text, and one bad message must not fail the batch it travels in. */
function checked({ id, key, replyTo = "", correlationId = "" }: Outgoing): void {
  if ([id, key, replyTo, correlationId].some((it) => it.includes("\0"))) {
    const what = "The ids, the key and the reply queue of a message may not hold a NUL character.";
    throw new Failure("refuse", "MessageInvalid", what);
  }
}

/**
 * Keeps the sockets that pg hides: a query to a frozen server ends only with its socket. After `close`, new sockets end too.
 */
function openSockets(): { readonly make: () => Socket; readonly close: () => void } {
  const open = new Set<Socket>();
  let closed = false;
  return {
    make: () => {
      const socket = new Socket();
      open.add(socket);
      if (closed) setImmediate(() => socket.destroy(new Error("the broker was closed")));
      return socket.once("close", () => open.delete(socket));
    },
    close: () => {
      closed = true;
      for (const it of open) it.destroy(new Error("the broker was closed"));
    },
  };
}

function clientConfig({ host, port, user, password, space, query }: Address, stream: () => Socket): ClientConfig {
  const sslmode = query.get("sslmode");
  return {
    host,
    port,
    user,
    password,
    database: space,
    ...(sslmode === null || sslmode === "disable" ? {} : { ssl: { rejectUnauthorized: sslmode !== "no-verify" } }),
    application_name: "longshore broker",
    connectionTimeoutMillis: CONNECT_WITHIN_MS,
    statement_timeout: STATEMENT_MS,
    query_timeout: STATEMENT_MS + 1_000,
    idle_in_transaction_session_timeout: STATEMENT_MS,
    keepAlive: true,
    stream,
  };
}

function whyNot(error: unknown, { user, space }: Address, where: string): Failure {
  switch (codeOf(error) ?? "") {
    case "28P01":
    case "28000": {
      const what = `${where} does not let the user "${user}" in. Check the user and the password.`;
      return new Failure("halt", "BrokerAuth", what, error);
    }
    case "3D000": {
      const what = `${where} has no database "${space}". Create it, or correct the broker's URL.`;
      return new Failure("halt", "BrokerSpace", what, error);
    }
    case "42501": {
      const what = `${where} does not allow the user "${user}" to create the schema longshore_broker in the database "${space}".`;
      return new Failure("halt", "BrokerForbidden", `${what} Grant it CREATE on the database once.`, error);
    }
    default:
      return unreachable(error, where);
  }
}

/**
 * The events that an application beside Longshore would hear, kept for it while it or its broker is away; and a tap on
 * everything that passes the broker.
 *
 * The failure this prevents: a story called complete, or broken, because the test's own listener missed an event. On RabbitMQ
 * the events come from a durable queue, on NATS from the stream, on Postgres from the history; none is read through the code
 * under test.
 */
import { brokerAt } from "@longshore/broker/brokers.ts";
import { streamName } from "@longshore/broker/nats/topology.ts";
import { type ReceivedEvent, readEvent } from "@longshore/contract/messages/envelope.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { connect } from "amqplib";
import pg from "pg";
import { type Read, reading } from "./nats/upstream.ts";

export const UPSTREAM = "tests.upstream";
const EVENTS = "longshore.events";
const TOLD = [EVENTS, "longshore.quarantine"];
const HEARD = ["longshore.commands", "longshore.facts"];
const AGAIN_MS = 200;
const LOOK_MS = 200;
/** A lower id may be committed after a higher one, so an id that is missing is asked for until it is this far below the last. */
const LOOK_BACK = 2_000n;
/** The text is sent once to each connection. Two taps look all the time, so looks must cost little. */
const LOOK = {
  name: "look",
  text: `select id, body from longshore_broker.history where id > $1
    union all select id, body from longshore_broker.history where id = any($2::bigint[]) order by id limit 500`,
};

export interface Journal extends AsyncDisposable {
  /** The events in the order in which they came, repeats too. */
  readonly received: readonly ReceivedEvent[];
}

export async function openJournal(url: string): Promise<Journal> {
  const received: ReceivedEvent[] = [];
  const take: Take = (_exchange, body) => {
    const read = readEvent(body);
    if (read.kind === "event") received.push(read.event);
  };
  return Object.assign(await open(url, { name: UPSTREAM, exchanges: [EVENTS] }, take), { received });
}

/** Takes a message that passed the broker, and the name of its exchange. A broker in Postgres shows events only. */
export type Take = (exchange: string, body: Uint8Array) => void;

/** How an application reads each broker. */
const READS: Readonly<Record<string, { readonly all: boolean; readonly line: Reads }>> = {
  RabbitMQ: { all: true, line: (url, bound, take, signal) => () => queue(url, bound, take, signal) },
  NATS: { all: false, line: streams }, // commands and facts are in work queues, which have one consumer
  Postgres: { all: false, line: (url, _bound, take, signal) => history(url, take, signal) }, // shows events only
};

type Reads = (url: string, bound: Queue, take: Take, signal: AbortSignal) => Line;

function readsOf(url: string): (typeof READS)[string] {
  const { name } = brokerAt(url);
  const reads = READS[name];
  if (reads === undefined) throw new Error(`the tests do not know how an application reads ${name}`);
  return reads;
}

/** True if a tap on this broker is shown commands and facts too. */
export const showsAll = (url: string): boolean => readsOf(url).all;

/**
 * Taps the broker. With `all`, the tap gets facts and commands, too: its queue is bound for them, so the broker finds none
 * unroutable. A test that removes our own queues or bindings must not set `all`: no publisher would learn that its message
 * reached none of them.
 */
export function openTap(url: string, { all }: { readonly all: boolean }, take: Take): Promise<AsyncDisposable> {
  return open(url, { name: `tests.tap.${crypto.randomUUID()}`, exchanges: all ? [...TOLD, ...HEARD] : TOLD }, take);
}

interface Queue {
  readonly name: string;
  readonly exchanges: readonly string[];
}

async function open(url: string, bound: Queue, take: Take): Promise<AsyncDisposable> {
  const stop = new AbortController();
  const line = readsOf(url).line(url, bound, take, stop.signal);
  const first = Promise.withResolvers<void>();
  const listening = listen(line, first.resolve, stop.signal);
  await first.promise;
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await listening;
    },
  };
}

/** Connects to the broker and listens. Resolves when it listens; `over` settles when it no longer does. */
type Line = () => Promise<{ readonly over: Promise<unknown> }>;

async function listen(line: Line, onFirst: () => void, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const open = await line().catch(() => undefined); // the test broke the broker, which will be back
    if (open !== undefined) onFirst();
    await open?.over;
    await clock.sleep(AGAIN_MS, signal);
  }
}

async function queue(url: string, { name, exchanges }: Queue, take: Take, signal: AbortSignal): ReturnType<Line> {
  const over = Promise.withResolvers<void>();
  const options = { noDelay: true, timeout: 10_000, signal };
  const model = await connect(`${url}?heartbeat=10`, options);
  model.on("error", () => over.resolve());
  model.on("close", () => over.resolve());
  signal.addEventListener("abort", () => over.resolve(), { once: true });
  const channel = await model.createChannel();
  channel.on("error", () => over.resolve());
  await channel.assertQueue(name, { durable: true });
  for (const exchange of exchanges) await channel.bindQueue(name, exchange, "#");
  await channel.prefetch(500);
  await channel.consume(name, (message) => {
    if (message === null) return over.resolve();
    take(message.fields.exchange, message.content);
    channel.ack(message);
  });
  return { over: over.promise };
}

function streams(url: string, { exchanges }: Queue, take: Take, signal: AbortSignal): Line {
  const byStream = new Map(exchanges.filter((it) => TOLD.includes(it)).map((it) => [streamName(it), it]));
  const taken: Take = (stream, body) => take(byStream.get(stream) ?? stream, body);
  const read: Read = new Map();
  return () => reading(url, { streams: [...byStream.keys()], read }, taken, signal);
}

function history(url: string, take: Take, signal: AbortSignal): Line {
  /** The ids below `last` that no look has found: their transactions may commit later, or never. */
  let missed: readonly bigint[] = [];
  let last = 0n;

  async function look(client: pg.Client): Promise<void> {
    const { rows } = await client.query<{ id: string; body: Buffer }>({ ...LOOK, values: [String(last), missed.map(String)] });
    for (const { body } of rows) take(EVENTS, body);
    const found = new Set(rows.map(({ id }) => BigInt(id)));
    const highest = BigInt(rows.at(-1)?.id ?? 0);
    const newest = highest > last ? highest : last;
    const passed = Array.from({ length: Number(newest - last) }, (_, n) => newest - BigInt(n));
    missed = [...missed, ...passed].filter((id) => !found.has(id) && id > newest - LOOK_BACK);
    last = newest;
  }

  async function looking(client: pg.Client): Promise<void> {
    try {
      for (; !signal.aborted; await clock.sleep(LOOK_MS, signal)) await look(client);
    } finally {
      await client.end().catch(() => undefined); // the server may be gone before
    }
  }

  return async () => {
    const options = "-c enable_seqscan=off"; // else a plan that was made for an empty table reads all of it at each look
    const client = new pg.Client({ connectionString: url, options, query_timeout: 10_000, connectionTimeoutMillis: 10_000 });
    client.on("error", () => undefined); // the next query fails, and ends this connection
    await client.connect();
    return { over: looking(client).catch(() => undefined) }; // the server is away and will be back
  };
}

/**
 * What publishes the bench's commands and hears their stories: an application beside Longshore, on the plain client library
 * of its broker, so that what is measured is what an application would meet.
 */
import { openBroker } from "@longshore/broker/open.ts";
import type { Delivery } from "@longshore/broker/port.ts";
import { CONTENT_TYPE, PREFIX, readEvent, writeCommand } from "@longshore/contract/envelope.ts";
import { isTerminal } from "@longshore/contract/event.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { lanes } from "@longshore/runtime/loop.ts";
import { connect } from "amqplib";

export interface Upstream extends AsyncDisposable {
  /** Resolves when the broker confirmed it. */
  publish(run: string): Promise<void>;
  /** Which event ended which run, once; repeats are left out. */
  ended(run: string): Promise<Ended>;
}

export interface Ended {
  readonly type: string;
  readonly atMs: number;
}

const UNREAD_MOST = 500;
const EVENTS = "longshore.events";
const COMMANDS = "longshore.commands";
const KEY = "run.requested";

export async function openUpstream(url: string): Promise<Upstream> {
  const heard = journal();
  const line = url.startsWith("amqp") ? await onRabbitmq(url, heard.take) : await onPort(url, heard.take);
  return {
    publish: (run) => line.publish(`bench/${run}`, requestOf(run)),
    ended: heard.ended,
    [Symbol.asyncDispose]: line.close,
  };
}

/** What the README's example sends, with an image that nobody pulls: the pods are instant. */
function requestOf(run: string): Buffer {
  const data = { run, image: "busybox", command: ["sh", "-c", "true"] };
  return Buffer.from(writeCommand({ id: `bench/${run}`, source: "/bench", type: "run.requested", data }));
}

function journal() {
  const waiting = new Map<string, PromiseWithResolvers<Ended>>();
  const of = (run: string): PromiseWithResolvers<Ended> => {
    const promised = waiting.get(run) ?? Promise.withResolvers<Ended>();
    waiting.set(run, promised);
    return promised;
  };
  return {
    ended: (run: string) => of(run).promise,
    take: (body: Uint8Array): void => {
      const atMs = performance.now();
      const read = readEvent(body);
      if (read.kind === "unreadable") throw new Error(`an event could not be read: ${JSON.stringify(read.problems)}`);
      const { subject, type } = read.event;
      if (subject !== undefined && isTerminal(type)) of(subject).resolve({ type, atMs });
    },
  };
}

interface Line {
  publish(id: string, body: Buffer): Promise<void>;
  close(): Promise<void>;
}

async function onRabbitmq(url: string, take: (body: Uint8Array) => void): Promise<Line> {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, EVENTS, "default.#");
  await channel.prefetch(UNREAD_MOST);
  await channel.consume(queue, (message) => {
    if (message === null) throw new Error("the broker took the bench's queue away");
    take(message.content);
    channel.ack(message);
  });
  const options = { contentType: CONTENT_TYPE, deliveryMode: 2, mandatory: true };
  return {
    publish: (id, body) =>
      new Promise((resolve, reject) => {
        channel.publish(COMMANDS, KEY, body, { ...options, messageId: id }, (error: Error | null) =>
          error === null ? resolve() : reject(error),
        );
      }),
    close: () => connection.close(),
  };
}

async function taken(delivery: Delivery, take: (body: Uint8Array) => void): Promise<void> {
  take(delivery.body);
  await delivery.ack();
}

/** A broker that is kept in Postgres has no other client than ours. */
async function onPort(url: string, take: (body: Uint8Array) => void): Promise<Line> {
  const broker = await openBroker({ url, log: silentLog, clock });
  const stop = new AbortController();
  const events = await broker.follow("#", { inFlightMax: UNREAD_MOST, signal: stop.signal });
  // Many at a time: acks that wait for each other would each be a transaction.
  const reading = lanes(
    UNREAD_MOST,
    () => events,
    (delivery) => taken(delivery, take),
    stop.signal,
  );
  return {
    publish: async (id, body) => void (await broker.publish("commands", { id, key: PREFIX + KEY, body }, stop.signal)),
    close: async () => {
      stop.abort();
      await reading;
      await broker[Symbol.asyncDispose]();
    },
  };
}

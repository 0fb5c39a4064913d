/**
 * An application beside Longshore, which publishes the bench's commands and hears their stories. It uses the plain client
 * library of its broker, so that the bench measures what an application would meet.
 */
import { brokerAt, openBroker } from "@longshore/broker/brokers.ts";
import type { Broker, Delivery } from "@longshore/broker/port.ts";
import type { CommandInput } from "@longshore/contract/messages/command.ts";
import { CONTENT_TYPE, PREFIX, readEvent, writeCommand } from "@longshore/contract/messages/envelope.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { lanes } from "@longshore/runtime/loop.ts";
import { type ConfirmChannel, connect } from "amqplib";

export interface Upstream extends AsyncDisposable {
  /** Resolves when the broker confirmed the command. `work`: what the run does; absent, the work of the README's example. */
  publish(run: string, work?: object): Promise<void>;
  /** Resolves to the event that ended the run; repeats are left out. */
  ended(run: string): Promise<Heard>;
  /** Resolves to the first event of this type that came for the run. */
  heard(run: string, type: string): Promise<Heard>;
}

export interface Heard {
  readonly type: string;
  readonly atMs: number;
}

/** The work of the README's example. Nobody pulls the image: the pods are instant, or there are none. */
export const IMAGE = "busybox";
export const COMMAND: readonly string[] = ["sh", "-c", "true"];

const UNREAD_MOST = 500;
/** The most commands that are published and not yet confirmed. */
const UNCONFIRMED_MOST = 200;
const EVENTS = "longshore.events";
const COMMANDS = "longshore.commands";
const KEY = "run.requested";

/** `hears`: false only publishes, and binds no queue for events. */
export async function openUpstream(url: string, { hears = true }: { readonly hears?: boolean } = {}): Promise<Upstream> {
  const heard = journal();
  const take = hears ? heard.take : undefined;
  const line = brokerAt(url).name === "RabbitMQ" ? await onRabbitmq(url, take) : await onPort(url, take);
  return {
    publish: (run, work) => line.publish(`bench/${run}`, requestOf(run, work)),
    ended: (run) => heard.of(run, END),
    heard: heard.of,
    [Symbol.asyncDispose]: line.close,
  };
}

/** Publishes `count` runs, as fast as the broker confirms them. */
export async function publishAll(
  upstream: Upstream,
  name: string,
  count: number,
  confirmed: (run: string) => void = () => undefined,
  work?: object,
): Promise<void> {
  const waiting = Array.from({ length: count }, (_, at) => `${name}/${at + 1}`);
  const publishInTurn = async (): Promise<void> => {
    for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
      await upstream.publish(run, work);
      confirmed(run);
    }
  };
  await Promise.all(Array.from({ length: UNCONFIRMED_MOST }, publishInTurn));
}

function requestOf(run: string, work: object = { image: IMAGE, command: [...COMMAND] }): Buffer {
  const data = { run, ...work } as CommandInput<"run.requested">;
  return Buffer.from(writeCommand({ id: `bench/${run}`, source: "/bench", type: "run.requested", data }));
}

const END = "end";

function journal() {
  const waiting = new Map<string, PromiseWithResolvers<Heard>>();
  const of = (run: string, what: string): PromiseWithResolvers<Heard> => {
    const key = `${what} ${run}`;
    const promised = waiting.get(key) ?? Promise.withResolvers<Heard>();
    waiting.set(key, promised);
    return promised;
  };
  return {
    of: (run: string, what: string) => of(run, what).promise,
    take: (body: Uint8Array): void => {
      const atMs = performance.now();
      const read = readEvent(body);
      if (read.kind === "unreadable") throw new Error(`an event could not be read: ${JSON.stringify(read.problems)}`);
      const { subject, type } = read.event;
      if (subject === undefined) return;
      of(subject, type).resolve({ type, atMs });
      if (isTerminal(type)) of(subject, END).resolve({ type, atMs });
    },
  };
}

interface Line {
  publish(id: string, body: Buffer): Promise<void>;
  close(): Promise<void>;
}

type Take = (body: Uint8Array) => void;

async function onRabbitmq(url: string, take: Take | undefined): Promise<Line> {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  if (take !== undefined) await hear(channel, take);
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

async function hear(channel: ConfirmChannel, take: Take): Promise<void> {
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, EVENTS, "default.#");
  await channel.prefetch(UNREAD_MOST);
  await channel.consume(queue, (message) => {
    if (message === null) throw new Error("the broker took the bench's queue away");
    take(message.content);
    channel.ack(message);
  });
}

async function taken(delivery: Delivery, take: Take): Promise<void> {
  take(delivery.body);
  await delivery.ack();
}

/** The broker in Postgres has no client but ours. */
async function onPort(url: string, take: Take | undefined): Promise<Line> {
  const broker = await openBroker({ url, log: silentLog, clock });
  const stop = new AbortController();
  const reading = take === undefined ? Promise.resolve() : readEvents(broker, take, stop.signal);
  return {
    publish: async (id, body) => void (await broker.publish("commands", { id, key: PREFIX + KEY, body }, stop.signal)),
    close: async () => {
      stop.abort();
      await reading;
      await broker[Symbol.asyncDispose]();
    },
  };
}

async function readEvents(broker: Broker, take: Take, signal: AbortSignal): Promise<void> {
  const events = await broker.follow("#", { inFlightMax: UNREAD_MOST, signal });
  // Reads many at a time: one by one, each ack would be a transaction of its own.
  await lanes(
    UNREAD_MOST,
    () => events,
    (delivery) => taken(delivery, take),
    signal,
  );
}

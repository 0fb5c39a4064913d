/**
 * Takes messages of one queue from RabbitMQ, on a channel of its own that is rebuilt whenever it is lost.
 *
 * The bugs this prevents: a receiver that is dead although the connection lives (the server cancels a consumer when its queue
 * is deleted; amqplib signals that by a null), a throw in the library's callback, which would close the connection, and a
 * settlement sent on a new channel for a message of the old one, which closes the new one too.
 */
import type { Problem } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, linked } from "@longshore/runtime/loop.ts";
import type { Channel, ConsumeMessage } from "amqplib";
import { deliveryQueue } from "../delivery-queue.ts";
import type { Delivery, ReceiveOptions } from "../port.ts";
import { either, type Sessions } from "../session.ts";
import type { Link } from "./connection.ts";
import { openChannel } from "./topology.ts";

const PREFETCH_MAX = 65_535;

export interface Receiving {
  readonly links: Sessions<Link>;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes sure that the queue exists; returns its name. Called each time before the queue is consumed. */
  readonly prepare: (link: Link, channel: Channel) => Promise<string>;
  /** Resolves when quarantine has confirmed the message. */
  readonly quarantine: (message: ConsumeMessage, problems: readonly Problem[]) => Promise<void>;
}

export interface Receiver {
  readonly deliveries: AsyncIterableIterator<Delivery>;
  /** Resolves when the receiver consumes for the first time, or ended before. */
  readonly begun: Promise<void>;
  close(): Promise<void>;
}

interface Taken {
  readonly message: ConsumeMessage;
  readonly on: Consuming;
}

/** The life of one channel. */
interface Consuming {
  readonly channel: Channel;
  readonly over: AbortController;
  /** Messages that the server waits for us to settle, by their number, the oldest first. */
  readonly open: Map<number, ConsumeMessage>;
  unsettled: number;
  acks: Set<number>;
  flushing: Promise<void> | undefined;
}

export function receiver(parts: Receiving, { inFlightMax, signal }: ReceiveOptions): Receiver {
  const { links, clock, log } = parts;
  const stop = linked(signal);
  const inHand = deliveryQueue<Delivery>(() => stop.abort());
  const pause = backOff(clock, { firstMs: 50, mostMs: 5_000 });
  const begun = Promise.withResolvers<void>();
  stop.signal.addEventListener("abort", () => inHand.end(), { once: true });

  async function consume(link: Link): Promise<void> {
    const channel = await openChannel(link);
    const on: Consuming = {
      channel,
      over: new AbortController(),
      open: new Map(),
      unsettled: 0,
      acks: new Set(),
      flushing: undefined,
    };
    channel.on("close", () => on.over.abort());
    link.over.addEventListener("abort", () => on.over.abort(), { once: true });
    await channel.prefetch(Math.min(PREFETCH_MAX, inFlightMax));
    const queue = await parts.prepare(link, channel);
    const { consumerTag } = await channel.consume(queue, (message) => {
      if (message === null) return on.over.abort(); // the server cancelled the consumer: the queue is gone
      on.unsettled++;
      inHand.give(deliver({ message, on }));
    });
    begun.resolve();
    await either(on.over.signal, stop.signal);
    if (!on.over.signal.aborted) await retire(on, consumerTag);
    else await channel.close().catch(() => undefined); // cancelled by the server: its deliveries here are void
  }

  /** Takes no more messages. Messages in hand may still be settled; the channel closes after the last. */
  async function retire(on: Consuming, consumerTag: string): Promise<void> {
    await Promise.race([on.channel.cancel(consumerTag).catch(() => undefined), either(on.over.signal, on.over.signal)]);
    for (const delivery of inHand.drop()) await delivery.requeue();
    if (on.unsettled === 0) closeQuietly(on);
  }

  function deliver(taken: Taken): Delivery {
    const { message, on } = taken;
    on.open.set(message.fields.deliveryTag, message);
    let done = false;
    const once = async (work: () => Promise<void> | void) => {
      if (done) throw new Error(`a message of ${message.fields.exchange} was settled twice`);
      done = true;
      await work();
      on.unsettled--;
      if (stop.signal.aborted && on.unsettled === 0) closeQuietly(on);
    };
    return {
      id: textOf(message.properties.messageId) ?? "",
      body: message.content,
      redeliveries: redeliveries(message),
      user: textOf(message.properties.userId),
      replyTo: textOf(message.properties.replyTo),
      ack: () => once(() => acked(on, message)),
      // nack, not reject: some versions count a reject against a delivery limit, but never a nack.
      requeue: () => once(() => settled(on, message, (channel) => channel.nack(message, false, true))),
      quarantine: (problems) => once(() => quarantine(taken, problems)),
    };
  }

  async function quarantine({ message, on }: Taken, problems: readonly Problem[]): Promise<void> {
    if (on.over.signal.aborted) return;
    try {
      await parts.quarantine(message, problems);
      settled(on, message, (channel) => channel.ack(message));
    } catch (error) {
      log.warn("a message could not be quarantined and is given back", { error });
      settled(on, message, (channel) => channel.nack(message, false, true));
    }
  }

  async function run(): Promise<void> {
    for (let failures = 0; !stop.signal.aborted; ) {
      const link = await links.current(stop.signal);
      if (link === undefined) break;
      try {
        await consume(link);
        failures = 0;
      } catch (error) {
        log.warn("a queue could not be consumed", { error });
        await pause(++failures, stop.signal);
      }
      if (!stop.signal.aborted) inHand.drop(); // messages of a channel that is over: the server delivers them again
    }
    inHand.end();
    begun.resolve();
    stop.release();
  }
  const running = run();

  return {
    deliveries: inHand.items,
    begun: begun.promise,
    close: async () => {
      stop.abort();
      await running;
    },
  };
}

function settled(on: Consuming, message: ConsumeMessage, settle: (channel: Channel) => void): void {
  on.open.delete(message.fields.deliveryTag);
  whileOpen(on, settle);
}

/**
 * Acks that follow one commit come within one turn of the event loop: they are sent together, as one settlement instead of a
 * hundred.
 */
function acked(on: Consuming, message: ConsumeMessage): Promise<void> {
  on.acks.add(message.fields.deliveryTag);
  on.flushing ??= new Promise((resolve) => {
    setImmediate(() => {
      on.flushing = undefined;
      flush(on);
      resolve();
    });
  });
  return on.flushing;
}

/**
 * The oldest messages in a row are acked with one word for all of them. A message behind one that is still worked on is acked
 * by itself.
 */
function flush(on: Consuming): void {
  const { open, acks } = on;
  on.acks = new Set();
  let upTo: ConsumeMessage | undefined;
  for (const [tag, message] of open) {
    if (!acks.has(tag)) break;
    upTo = message;
    open.delete(tag);
    acks.delete(tag);
  }
  if (upTo !== undefined) whileOpen(on, (channel) => channel.ack(upTo, true));
  for (const tag of acks) {
    const message = open.get(tag);
    if (message !== undefined) settled(on, message, (channel) => channel.ack(message));
  }
}

/** After a lost connection or channel a settlement does nothing: the server has taken the message back. */
function whileOpen({ channel, over }: Consuming, settle: (channel: Channel) => void): void {
  if (over.signal.aborted) return;
  try {
    settle(channel);
  } catch {
    over.abort(); // amqplib noticed the loss before it told us
  }
}

function closeQuietly({ channel, over }: Consuming): void {
  if (over.signal.aborted) return;
  channel.close().catch(() => undefined); // the connection was lost before
}

/** Quorum queues count deliveries; other queues only say that this was not the first. */
function redeliveries({ properties, fields }: ConsumeMessage): number {
  const headers: Record<string, unknown> = properties.headers ?? {};
  const counts = [headers["x-delivery-count"], headers["x-acquired-count"]].filter((it) => typeof it === "number");
  return Math.max(fields.redelivered ? 1 : 0, ...counts);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

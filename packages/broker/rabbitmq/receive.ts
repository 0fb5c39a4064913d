/**
 * Takes messages of one queue from RabbitMQ, on a channel of its own that is rebuilt whenever it is lost.
 *
 * The bugs this prevents: a receiver that is dead although the connection lives (the server cancels a consumer when its queue
 * is deleted; amqplib signals that by a null), and a settlement that is sent on a new channel for a message of the old channel,
 * which makes the server close the new one too.
 */
import type { Problem } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Channel, ConsumeMessage, Message } from "amqplib";
import type { Delivery, ReceiveOptions } from "../port.ts";
import { type Receiver, receiving, settlement } from "../receiving.ts";
import { aborted, type Sessions } from "../session.ts";
import type { Link } from "./connection.ts";
import { openChannel } from "./topology.ts";

const PREFETCH_MAX = 65_535;

export interface ReceiverParts {
  readonly links: Sessions<Link>;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes sure that the queue exists; returns its name. Called each time before the queue is consumed. */
  readonly prepare: (link: Link, channel: Channel) => Promise<string>;
  /** Resolves when quarantine has confirmed the message. */
  readonly quarantine: (message: ConsumeMessage, problems: readonly Problem[]) => Promise<void>;
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

export function receiver(parts: ReceiverParts, { inFlightMax, signal }: ReceiveOptions): Receiver {
  const { links, log } = parts;
  const { inHand, begun, stop, start } = receiving<Delivery>(parts, signal);

  async function consume(link: Link): Promise<void> {
    const channel = await openChannel(link);
    const over = new AbortController();
    const on: Consuming = { channel, over, open: new Map(), unsettled: 0, acks: new Set(), flushing: undefined };
    channel.on("close", () => over.abort());
    link.over.addEventListener("abort", () => over.abort(), { once: true });
    await channel.prefetch(Math.min(PREFETCH_MAX, inFlightMax));
    const queue = await parts.prepare(link, channel);
    const { consumerTag } = await channel.consume(queue, (message) => {
      if (message === null) return over.abort(); // the server cancelled the consumer: the queue is gone
      on.unsettled++;
      inHand.give(deliver(message, on));
    });
    begun.resolve();
    await aborted(over.signal, stop);
    if (!over.signal.aborted) return await retire(on, consumerTag);
    await channel.close().catch(() => undefined); // still open if the server cancelled only the consumer
    inHand.drop(); // the server delivers them again
  }

  /** Takes no more messages. Lanes may still settle theirs; the channel closes after the last. */
  async function retire(on: Consuming, consumerTag: string): Promise<void> {
    await Promise.race([on.channel.cancel(consumerTag).catch(() => undefined), aborted(on.over.signal)]);
    for (const delivery of inHand.drop()) await delivery.requeue();
    if (on.unsettled === 0) closeQuietly(on);
  }

  function deliver(message: ConsumeMessage, on: Consuming): Delivery {
    on.open.set(message.fields.deliveryTag, message);
    const once = settlement(`a message of ${message.fields.exchange}`, () => {
      on.unsettled--;
      if (stop.aborted && on.unsettled === 0) closeQuietly(on);
    });
    return {
      id: textOf(message.properties.messageId) ?? "",
      body: message.content,
      redeliveries: redeliveries(message),
      user: textOf(message.properties.userId),
      ...answerProperties(message),
      ack: () => once(() => acked(on, message)),
      requeue: () => once(() => requeued(on, message)),
      quarantine: (problems) => once(() => quarantine(on, message, problems)),
    };
  }

  async function quarantine(on: Consuming, message: ConsumeMessage, problems: readonly Problem[]): Promise<void> {
    if (on.over.signal.aborted) return;
    try {
      await parts.quarantine(message, problems);
      settled(on, message, (channel) => channel.ack(message));
    } catch (error) {
      log.warn("a message could not be quarantined and is given back", { error });
      requeued(on, message);
    }
  }

  return start(links, { consume });
}

/** Uses nack, not reject: some versions count a reject against a delivery limit, but never a nack. */
function requeued(on: Consuming, message: ConsumeMessage): void {
  settled(on, message, (channel) => channel.nack(message, false, true));
}

function settled(on: Consuming, message: ConsumeMessage, settle: (channel: Channel) => void): void {
  on.open.delete(message.fields.deliveryTag);
  whileOpen(on, settle);
}

/**
 * Collects the acks of one turn of the event loop: the acks after one commit are sent as one settlement instead of a hundred.
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

/** Acks the oldest messages together, up to the first that is still worked on. Messages after that are acked one by one. */
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

/** Quorum queues count deliveries; other queues only say that a delivery is not the first. */
function redeliveries({ properties, fields }: ConsumeMessage): number {
  const headers: Record<string, unknown> = properties.headers ?? {};
  const counts = [headers["x-delivery-count"], headers["x-acquired-count"]].filter((it) => typeof it === "number");
  return Math.max(fields.redelivered ? 1 : 0, ...counts);
}

/** Returns where the sender wants its answer, and the mark that the answer carries back. */
export const answerProperties = ({ properties }: Message): Pick<Delivery, "replyTo" | "correlationId"> => ({
  replyTo: textOf(properties.replyTo),
  correlationId: textOf(properties.correlationId),
});

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

/**
 * RabbitMQ (3.10 and later) as an adapter of port.ts: quorum queues, confirms, returns, and two connections, so that a server
 * that stops its publishers still takes our acks.
 *
 * The files of its parts name the bugs that they prevent: connection, topology, receive.
 */
import { randomUUID } from "node:crypto";
import { Failure, type Problem } from "@longshore/contract/problems/problem.ts";
import { every } from "@longshore/runtime/loop.ts";
import type { Channel, ConsumeMessage } from "amqplib";
import { hostPort, messageOf } from "../address.ts";
import type { AdapterOptions } from "../brokers.ts";
import type { Broker, BrokerReport, BrokerStatus, Delivery, Outgoing, Published, ReceiveOptions, Topic } from "../port.ts";
import { problemsText, type Receiver, settledDeliveries } from "../receiving.ts";
import { atMost, boundedPublishing, sessionFor } from "../session.ts";
import { isOurs } from "../settings.ts";
import { checked, type Link, openLinks, type Sending } from "./connection.ts";
import { answerProperties, receiver } from "./receive.ts";
import { declareTopology, openChannel } from "./topology.ts";

const CHECK_MS = 30_000;
const CLOSE_WITHIN_MS = 2_000;
const FOLLOWER_LENGTH_MAX = 10_000;
const BLOCKED_LOOK_MS = 100;

export async function openRabbitmqBroker(options: AdapterOptions): Promise<Broker> {
  const { address, names, log, clock, publishWithinMs, waitsForLauncher } = options;
  const where = `RabbitMQ at ${hostPort(address)}`;
  const topology = { names, log, waitsForLauncher, where: `${where}, virtual host "${address.space}",` };
  const closing = new AbortController();
  const out = await openLinks({ address, clock, log, purpose: "publish", prepare: (link) => declareTopology(link, topology) });
  const into = await openLinks({ address, clock, log, purpose: "receive", prepare: () => Promise.resolve() }).catch(
    async (error: unknown) => {
      await out.close();
      throw error;
    },
  );
  const receivers = new Set<Receiver>();
  const bounded = boundedPublishing({ clock, where, withinMs: publishWithinMs });
  let takesCommands = false;

  /** Sends only while the server reads: else messages pile up in our memory, and arrive long after their publishers gave up. */
  function send(sending: Sending, signal = closing.signal): Promise<Published> {
    return bounded(sending.message.body.byteLength, signal, async (attempt) => {
      for (;;) {
        const link = await sessionFor(attempt, out, closing.signal);
        if (link.blocked() === undefined) return await link.send(sending, attempt);
        await clock.sleep(BLOCKED_LOOK_MS, closing.signal);
      }
    });
  }

  async function publish(topic: Topic, message: Outgoing, signal: AbortSignal): Promise<Published> {
    checked(message);
    const user = topic === "events" ? undefined : address.user;
    const published = await send({ exchange: names[topic], key: message.key, message, user }, signal);
    if (published === "stored") return published;
    // Every topic has a queue of ours bound to it: if a message is returned, somebody removed the binding.
    await repair();
    const what = `${where} had no queue bound to "${names[topic]}", so a message was dropped.`;
    throw new Failure("retry", "TopologyDamaged", `${what} Queues and bindings were declared again.`);
  }

  async function repair(): Promise<void> {
    const link = await out.current(AbortSignal.abort());
    if (link === undefined) return; // a new connection declares everything anyway
    try {
      await declareTopology(link, topology);
    } catch (error) {
      if (closing.signal.aborted) return; // the orderly end of the connection broke this off
      log.error("the broker's queues could not be declared again", { error });
    }
  }

  /** Moves commands from the queue of unrouted commands to their own queue. Each is acked only after the new queue has it. */
  async function takeInStrays(link: Link | undefined): Promise<void> {
    if (link === undefined) return;
    const channel = await openChannel(link);
    try {
      for (let stray = await channel.get(names.unrouted); stray !== false; stray = await channel.get(names.unrouted)) {
        const { content, fields, properties } = stray;
        const message = {
          id: String(properties.messageId ?? ""),
          key: fields.routingKey,
          body: content,
          ...answerProperties(stray),
        };
        await send({ exchange: names.commands, key: message.key, message, headers: properties.headers ?? {} });
        channel.ack(stray);
        log.warn("a command that came while its queue was not bound is moved to its queue", { key: message.key });
      }
    } finally {
      await channel.close().catch(() => undefined); // the connection was lost before: messages without an ack stay in the queue
    }
  }

  async function quarantine(bad: ConsumeMessage, problems: readonly Problem[]): Promise<void> {
    const { properties, fields, content } = bad;
    const headers = {
      ...properties.headers,
      "x-longshore-problems": problemsText(problems),
      "x-longshore-exchange": fields.exchange,
      "x-longshore-key": fields.routingKey,
      "x-longshore-first-seen": new Date(clock.now()).toISOString(),
      ...(properties.userId === undefined ? {} : { "x-longshore-user": String(properties.userId) }),
    };
    const id = String(properties.messageId ?? "");
    const message: Outgoing = { id, key: fields.routingKey, body: content, ...answerProperties(bad) };
    const published = await send({ exchange: names.quarantine, key: message.key, message, headers });
    if (published === "stored") return;
    await repair();
    throw new Failure("retry", "TopologyDamaged", `${where} had no queue bound to "${names.quarantine}".`);
  }

  function start(options: ReceiveOptions, prepare: (link: Link, channel: Channel) => Promise<string>): Receiver {
    const started = receiver({ links: into, clock, log, prepare, quarantine }, options);
    receivers.add(started);
    return started;
  }

  /** Makes and binds a queue that ends with its connection. Each new connection makes and binds another one. */
  async function bound(exchange: string, pattern: string, options: ReceiveOptions): Promise<AsyncIterableIterator<Delivery>> {
    const started = start(options, async (_link, channel) => {
      const { queue } = await channel.assertQueue(`${names.follow}${randomUUID()}`, {
        exclusive: true,
        autoDelete: true,
        durable: false,
        maxLength: FOLLOWER_LENGTH_MAX,
      });
      await channel.bindQueue(queue, exchange, pattern);
      return queue;
    });
    await started.begun;
    return started.deliveries;
  }

  async function check(): Promise<void> {
    await repair();
    const link = takesCommands ? await into.current(AbortSignal.abort()) : undefined;
    await takeInStrays(link).catch((error: unknown) => {
      if (!closing.signal.aborted) log.warn("unrouted commands wait for the next check", { error });
    });
  }
  const checking = clock
    .sleep(CHECK_MS, closing.signal)
    .then(() => every({ clock, ms: CHECK_MS, signal: closing.signal }, check));

  return {
    publish,
    reply: async (queue, message, signal) => {
      checked(message);
      if (isOurs(queue, names)) return "unrouted";
      return await send({ exchange: "", key: queue, message }, signal);
    },
    receive: (queue, options) => {
      if (queue === "commands") takesCommands = true;
      return start(options, async (link) => {
        await declareTopology(link, topology);
        if (queue === "commands") await takeInStrays(link);
        return names[queue];
      }).deliveries;
    },
    follow: (pattern, options) => bound(names.events, pattern, options),
    broadcast: async (message, signal) => {
      checked(message);
      return await send({ exchange: names.control, key: message.key, message }, signal);
    },
    listen: async (pattern, options) => settledDeliveries(await bound(names.control, pattern, options)),
    status: () => worst(out.status(), into.status()),
    inspect: (signal) => inspect(signal),
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      const resting = Promise.all([...receivers].map((it) => it.close()));
      await atMost(clock, CLOSE_WITHIN_MS, resting);
      await Promise.all([out.close(), into.close()]); // a frozen server never answers: closing its connections ends the waits for it
      await Promise.all([resting, checking]);
    },
  };

  async function inspect(signal: AbortSignal): Promise<BrokerReport> {
    const link = await into.current(signal);
    if (link === undefined)
      throw new Failure("retry", "Interrupted", "The broker was not reached before the caller stopped waiting.");
    try {
      const channel = await openChannel(link);
      const waiting = { commands: 0, facts: 0, quarantine: 0 };
      for (const queue of ["commands", "facts", "quarantine"] as const) {
        waiting[queue] = (await channel.checkQueue(names[queue])).messageCount;
      }
      await channel.close();
      return { product: `RabbitMQ ${link.version}`, user: address.user, waiting };
    } catch (error) {
      throw new Failure("retry", "BrokerUnavailable", `${where} did not say how many messages wait: ${messageOf(error)}`, error);
    }
  }
}

function worst(one: BrokerStatus, other: BrokerStatus): BrokerStatus {
  if (one.kind === "reconnecting") return one;
  return other.kind === "reconnecting" ? other : one;
}

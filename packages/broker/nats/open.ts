/**
 * NATS (2.10 and later, with JetStream) behind the port: streams with confirmed publishing, one consumer for each queue, and
 * plain subjects for messages that nobody keeps.
 *
 * The bugs this prevents stand in the files of its parts: connection, subjects, topology, publish, receive.
 */
import { randomUUID } from "node:crypto";
import { Failure } from "@longshore/contract/problem.ts";
import type { Problem } from "@longshore/contract/problem.ts";
import { linked } from "@longshore/runtime/loop.ts";
import type { Msg } from "@nats-io/transport-node";
import { hostPort } from "../address.ts";
import { atMost, boundedPublishing, type Try } from "../bounded-publishing.ts";
import type { AdapterOptions } from "../brokers.ts";
import { deliveryQueue } from "../delivery-queue.ts";
import type { Names } from "../names.ts";
import type { Broker, BrokerReport, Delivery, Outgoing, Published, Queue, ReceiveOptions, Topic } from "../port.ts";
import { either, openSessions } from "../session.ts";
import { type Link, openLink } from "./connection.ts";
import { failureOf } from "./failure.ts";
import { abandonedBefore, checked, HEADER, idOf, passer, type Sending, store } from "./publish.ts";
import { type Receiver, receiver, type Receiving } from "./receive.ts";
import { filterOf, isReplySubject, keyOf, streamName, subjectOf } from "./subjects.ts";
import { topology } from "./topology.ts";

const CHECK_MS = 30_000;
const CLOSE_WITHIN_MS = 2_000;
const HEARD_MAX = 10_000;
const PROBLEMS_BYTES_MAX = 32 * 1024;

export async function openNatsBroker({ address, names, log, clock, publishWithinMs }: AdapterOptions): Promise<Broker> {
  const where = `NATS at ${hostPort(address)}`;
  const { user } = address;
  const at = { where, user };
  const closing = new AbortController();
  const streams = topology({ ...at, names, log, replicas: Number(address.query.get("replicas") ?? 1) });
  const links = await openSessions<Link>({
    clock,
    log,
    about: { broker: "nats" },
    open: async () => {
      const link = await openLink({ address, inboxes: inboxesOf(names, user) });
      try {
        await streams.declare(link);
        return link;
      } catch (error) {
        link.drop();
        throw error;
      }
    },
  });
  const receivers = new Set<Receiver>();
  const receiving = new Set<Queue>();
  const bounded = boundedPublishing({ clock, where, withinMs: publishWithinMs });
  const pass = passer(at);

  async function live(attempt: Try): Promise<Link> {
    const link = await links.current(closing.signal);
    if (link === undefined) throw new Failure("retry", "Closed", "The broker was closed before the message was sent.");
    abandonedBefore(attempt);
    return link;
  }

  async function keep(name: string, sending: Sending, signal: AbortSignal): Promise<void> {
    const published = await bounded(sending.message.body.byteLength, signal, async (attempt) =>
      store(await live(attempt), streamName(name), sending, at),
    );
    if (published === "stored") return;
    await repair();
    const what = `${where} had no stream for "${sending.subject}", so it did not take a message.`;
    throw new Failure("retry", "TopologyDamaged", `${what} Streams were declared again.`);
  }

  async function repair(): Promise<void> {
    const link = await links.current(AbortSignal.abort());
    if (link === undefined) return; // a new connection declares everything anyway
    try {
      await streams.declare(link);
      for (const queue of receiving) await streams.consumer(link, queue);
    } catch (error) {
      log.error("the broker's streams could not be declared again", { error });
    }
  }

  async function quarantine(queue: Queue, bad: Msg, problems: readonly Problem[]): Promise<void> {
    const key = keyOf(names[queue], bad.subject);
    const replyTo = bad.headers?.get(HEADER.replyTo) || undefined;
    const message: Outgoing = { id: idOf(bad), key, body: bad.data, ...(replyTo === undefined ? {} : { replyTo }) };
    const subject = subjectOf(names.quarantine, `${queue}.${key}`);
    const more = { "Longshore-Problems": problemsText(problems), "Longshore-First-Seen": new Date(clock.now()).toISOString() };
    await keep(names.quarantine, { subject, message, headers: more }, closing.signal).catch(async (error: unknown) => {
      if (!(error instanceof Failure && error.code === "MessageInvalid")) throw error;
      // The message is as large as the server takes: it is kept without the reasons, rather than delivered again for ever.
      await keep(names.quarantine, { subject, message, headers: "none" }, closing.signal);
    });
  }

  function start(options: ReceiveOptions, parts: Pick<Receiving, "prepare" | "quarantine" | "onEnd" | "wants">): Receiver {
    const stop = linked(options.signal);
    const started = receiver({ links, clock, log, ...parts }, { ...options, signal: stop.signal });
    receivers.add(started);
    return started;
  }

  function receive(queue: Queue, options: ReceiveOptions): AsyncIterableIterator<Delivery> {
    receiving.add(queue);
    return start(options, {
      prepare: async (link) => {
        await streams.declare(link);
        return await streams.consumer(link, queue);
      },
      quarantine: (message, problems) => quarantine(queue, message, problems),
    }).deliveries;
  }

  async function follow(pattern: string, options: ReceiveOptions): Promise<AsyncIterableIterator<Delivery>> {
    const { subjects, matches } = filterOf(names.events, pattern);
    const started = start(options, {
      prepare: (link) => streams.follower(link, `follow-${randomUUID()}`, subjects),
      onEnd: async (link, { stream, name }) => void (await link.manager.consumers.delete(stream, name)),
      wants: (subject) => matches(keyOf(names.events, subject)),
      quarantine: () => Promise.reject(new Error("an event that is followed belongs to nobody's queue")),
    });
    await started.begun.catch(async (error: unknown) => {
      await started.close();
      throw error;
    });
    return started.deliveries;
  }

  async function listen(pattern: string, { signal }: ReceiveOptions): Promise<AsyncIterableIterator<Uint8Array>> {
    const { subjects, matches } = filterOf(names.control, pattern);
    const stop = linked(signal);
    const begun = Promise.withResolvers<void>();
    let waiting = 0;
    const heard = deliveryQueue<Uint8Array>(() => stop.abort());
    const hear = (error: Error | null, { subject, data }: Msg) => {
      if (error !== null) return begun.reject(failureOf(error, at, "ended a subscription"));
      if (waiting >= HEARD_MAX || !matches(keyOf(names.control, subject))) return;
      waiting++;
      heard.give(data);
    };
    const end = () => stop.abort();
    closing.signal.addEventListener("abort", end, { once: true });
    stop.signal.addEventListener("abort", () => heard.end(), { once: true });

    const listening = async () => {
      for (let link = await links.current(stop.signal); link !== undefined; link = await links.current(stop.signal)) {
        const on = link.connection;
        const subscriptions = subjects.map((it) => on.subscribe(it, { callback: hear }));
        await link.flush().then(begun.resolve, () => undefined); // the connection was lost again: the next one binds
        await either(link.over, stop.signal);
        for (const it of subscriptions) it.unsubscribe();
        if (stop.signal.aborted) break;
      }
      closing.signal.removeEventListener("abort", end);
      heard.end();
      begun.resolve();
      stop.release();
    };
    void listening();
    await begun.promise.catch((error: unknown) => {
      stop.abort();
      throw error;
    });
    const items: AsyncIterableIterator<Uint8Array> = {
      [Symbol.asyncIterator]: () => items,
      next: async () => {
        const next = await heard.items.next();
        if (next.done !== true) waiting--;
        return next;
      },
      return: async () => {
        await heard.items.return?.();
        return { done: true, value: undefined };
      },
    };
    return items;
  }

  /** Upstream reads replies from a stream, which confirms them, or subscribes and hears only what passes. */
  async function reply(subject: string, message: Outgoing, signal: AbortSignal): Promise<Published> {
    checked(message);
    if (!isReplySubject(subject, names)) return "unrouted";
    return await bounded(message.body.byteLength, signal, async (attempt) => {
      const link = await live(attempt);
      const stream = await link.manager.streams.find(subject).catch(() => undefined); // no stream takes it, or we may not ask
      const sending = { subject, message };
      return stream === undefined ? await pass(link, sending) : await store(link, stream, sending, at);
    }).catch((error: unknown) => {
      if (!(error instanceof Failure && error.code === "BrokerForbidden")) throw error;
      throw new Failure("refuse", error.code, error.message, error); // the sender chose a subject that we may not use
    });
  }

  async function check(): Promise<void> {
    while (!closing.signal.aborted) {
      await clock.sleep(CHECK_MS * (0.9 + 0.2 * clock.random()), closing.signal);
      if (!closing.signal.aborted) await repair();
    }
  }
  const checking = check();

  return {
    publish: async (topic: Topic, message, signal) => {
      checked(message);
      await keep(names[topic], { subject: subjectOf(names[topic], message.key), message }, signal);
      return "stored";
    },
    reply,
    receive,
    follow,
    broadcast: async (message, signal) => {
      checked(message);
      const subject = subjectOf(names.control, message.key);
      return await bounded(message.body.byteLength, signal, async (attempt) => pass(await live(attempt), { subject, message }));
    },
    listen,
    status: () => links.status(),
    inspect,
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      const resting = Promise.all([...receivers].map((it) => it.close()));
      await atMost(clock, CLOSE_WITHIN_MS, resting);
      await links.close(); // a frozen server never answers: closing this way ends the waiting
      await Promise.all([resting, checking]);
    },
  };

  async function inspect(signal: AbortSignal): Promise<BrokerReport> {
    const link = await links.current(signal);
    if (link === undefined)
      throw new Failure("retry", "Interrupted", "The broker was not reached before the question was withdrawn.");
    try {
      const waiting = { commands: 0, facts: 0, quarantine: 0 };
      let clockSkewMs = 0;
      for (const queue of ["commands", "facts", "quarantine"] as const) {
        const before = clock.now();
        const { state, ts } = await link.manager.streams.info(streamName(names[queue]));
        waiting[queue] = state.messages;
        if (ts !== undefined) clockSkewMs = Math.round(Date.parse(ts) - (before + clock.now()) / 2);
      }
      return { product: `NATS ${link.version} (JetStream)`, user: user || "(none)", waiting, clockSkewMs };
    } catch (error) {
      throw failureOf(error, at, "did not say how much waits");
    }
  }
}

/** The prefix of inboxes for one user alone. A reply never goes there, since the prefix is beneath a name of ours. */
function inboxesOf({ follow }: Names, user: string): string {
  return `${follow}${user.replaceAll(/[^A-Za-z0-9_-]/g, "_") || "anybody"}`;
}

/** A header is one line of ASCII, so it tells only the first problems of a refused message. */
function problemsText(problems: readonly Problem[]): string {
  for (let count = problems.length; count > 0; count = Math.floor(count / 2)) {
    const text = ascii(JSON.stringify(problems.slice(0, count)));
    if (text.length <= PROBLEMS_BYTES_MAX) return text;
  }
  return ascii(JSON.stringify(problems.slice(0, 1)).slice(0, PROBLEMS_BYTES_MAX / 8));
}

function ascii(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

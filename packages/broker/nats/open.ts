/**
 * NATS (2.10 and later, with JetStream) as an adapter of port.ts: streams with confirmed publishing, one consumer for each
 * queue, and plain subjects for messages that nobody keeps.
 *
 * The files of its parts name the bugs that they prevent: connection, topology, publish, receive.
 */
import { randomUUID } from "node:crypto";
import { Failure, type Problem } from "@longshore/contract/problems/problem.ts";
import { every } from "@longshore/runtime/loop.ts";
import type { Msg } from "@nats-io/transport-node";
import { hostPort } from "../address.ts";
import type { AdapterOptions } from "../brokers.ts";
import type { Broker, BrokerReport, Outgoing, Published, Queue, ReceiveOptions, Topic } from "../port.ts";
import { mapped, problemsText, type Receiver, receiving } from "../receiving.ts";
import { aborted, atMost, boundedPublishing, openSessions, sessionFor } from "../session.ts";
import type { Names } from "../settings.ts";
import { failureOf, type Link, openLink } from "./connection.ts";
import { answerHeaders, checked, idOf, passer, type Sending, store } from "./publish.ts";
import { receiver, type ReceiverParts } from "./receive.ts";
import { filterOf, isReplySubject, keyOf, streamName, subjectOf, topology } from "./topology.ts";

const CHECK_MS = 30_000;
const CLOSE_WITHIN_MS = 2_000;
const HEARD_MAX = 10_000;

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
      const link = await openLink(address, inboxesOf(names, user));
      try {
        await streams.declare(link);
        return link;
      } catch (error) {
        link.drop();
        throw error;
      }
    },
  });
  const receivers = new Set<Receiver<unknown>>();
  const received = new Set<Queue>();
  const bounded = boundedPublishing({ clock, where, withinMs: publishWithinMs });
  const pass = passer(at);

  function send<R>({ body }: Outgoing, signal: AbortSignal, work: (link: Link) => Promise<R>): Promise<R> {
    return bounded(body.byteLength, signal, async (attempt) => await work(await sessionFor(attempt, links, closing.signal)));
  }

  async function keep(name: string, sending: Sending, signal: AbortSignal): Promise<void> {
    const published = await send(sending.message, signal, (link) => store(link, streamName(name), sending, at));
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
      for (const queue of received) await streams.consumer(link, queue);
    } catch (error) {
      if (closing.signal.aborted) return; // the orderly end of the connection broke this off
      log.error("the broker's streams could not be declared again", { error });
    }
  }

  async function quarantine(queue: Queue, bad: Msg, problems: readonly Problem[]): Promise<void> {
    const key = keyOf(names[queue], bad.subject);
    const message: Outgoing = { id: idOf(bad), key, body: bad.data, ...answerHeaders(bad) };
    const subject = subjectOf(names.quarantine, `${queue}.${key}`);
    const more = {
      "Longshore-Problems": problemsText(problems, ascii),
      "Longshore-First-Seen": new Date(clock.now()).toISOString(),
    };
    await keep(names.quarantine, { subject, message, headers: more }, closing.signal).catch(async (error: unknown) => {
      if (!(error instanceof Failure && error.code === "MessageInvalid")) throw error;
      // If the reasons make the message too large for the server, the message is kept without them. Otherwise the server would
      // deliver it again for ever.
      await keep(names.quarantine, { subject, message, headers: "none" }, closing.signal);
    });
  }

  function started<T>(it: Receiver<T>): Receiver<T> {
    receivers.add(it);
    return it;
  }

  async function begun<T>(it: Receiver<T>): Promise<AsyncIterableIterator<T>> {
    await it.begun.catch(async (error: unknown) => {
      await it.close();
      throw error;
    });
    return it.deliveries;
  }

  function receive(parts: Pick<ReceiverParts, "prepare" | "quarantine" | "onEnd" | "wants">, options: ReceiveOptions): Receiver {
    return started(receiver({ links, clock, log, ...parts }, options));
  }

  async function follow(pattern: string, options: ReceiveOptions) {
    const { subjects, matches } = filterOf(names.events, pattern);
    const parts: Parameters<typeof receive>[0] = {
      prepare: (link) => streams.follower(link, `follow-${randomUUID()}`, subjects),
      onEnd: async (link, { stream, name }) => void (await link.manager.consumers.delete(stream, name)),
      wants: (subject) => matches(keyOf(names.events, subject)),
      quarantine: () => Promise.reject(new Error("an event that is followed belongs to nobody's queue")),
    };
    return await begun(receive(parts, options));
  }

  async function listen(pattern: string, { signal }: ReceiveOptions): Promise<AsyncIterableIterator<Uint8Array>> {
    const { subjects, matches } = filterOf(names.control, pattern);
    const heard = receiving<Uint8Array>({ clock, log }, signal);
    let waiting = 0;
    const hear = (error: Error | null, { subject, data }: Msg) => {
      if (error !== null) return heard.begun.reject(failureOf(error, at, "ended a subscription"));
      if (waiting >= HEARD_MAX || !matches(keyOf(names.control, subject))) return;
      waiting++;
      heard.inHand.give(data);
    };
    const consume = async (link: Link) => {
      const subscriptions = subjects.map((it) => link.connection.subscribe(it, { callback: hear }));
      await link.flush().then(heard.begun.resolve, () => undefined); // if the connection is lost, the next one subscribes
      await aborted(link.over, heard.stop);
      for (const it of subscriptions) it.unsubscribe();
    };
    return mapped(await begun(started(heard.start(links, { consume }))), (data) => {
      waiting--;
      return data;
    });
  }

  /**
   * If a stream takes the subject, the reply is stored and confirmed. Otherwise it reaches only those who subscribe at the
   * moment.
   */
  async function reply(subject: string, message: Outgoing, signal: AbortSignal): Promise<Published> {
    checked(message);
    if (!isReplySubject(subject, names)) return "unrouted";
    return await send(message, signal, async (link) => {
      const stream = await link.manager.streams.find(subject).catch(() => undefined); // no such stream, or we may not ask
      const sending = { subject, message };
      return stream === undefined ? await pass(link, sending) : await store(link, stream, sending, at);
    }).catch((error: unknown) => {
      if (!(error instanceof Failure && error.code === "BrokerForbidden")) throw error;
      throw new Failure("refuse", error.code, error.message, error); // the sender chose a subject that we may not use
    });
  }

  const checking = clock
    .sleep(CHECK_MS, closing.signal)
    .then(() => every({ clock, ms: CHECK_MS, signal: closing.signal }, repair));

  return {
    publish: async (topic: Topic, message, signal) => {
      checked(message);
      await keep(names[topic], { subject: subjectOf(names[topic], message.key), message }, signal);
      return "stored";
    },
    reply,
    receive: (queue, options) => {
      received.add(queue);
      const prepare = async (link: Link) => {
        await streams.declare(link);
        return await streams.consumer(link, queue);
      };
      return receive({ prepare, quarantine: (bad, problems) => quarantine(queue, bad, problems) }, options).deliveries;
    },
    follow,
    broadcast: async (message, signal) => {
      checked(message);
      const sending = { subject: subjectOf(names.control, message.key), message };
      return await send(message, signal, (link) => pass(link, sending));
    },
    listen,
    status: () => links.status(),
    inspect,
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      const resting = Promise.all([...receivers].map((it) => it.close()));
      await atMost(clock, CLOSE_WITHIN_MS, resting);
      await links.close(); // a frozen server never answers: closing its connection ends the waits for it
      await Promise.all([resting, checking]);
    },
  };

  async function inspect(signal: AbortSignal): Promise<BrokerReport> {
    const link = await links.current(signal);
    if (link === undefined)
      throw new Failure("retry", "Interrupted", "The broker was not reached before the caller stopped waiting.");
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
      throw failureOf(error, at, "did not say how many messages wait");
    }
  }
}

/** The prefix of one user's inboxes. It begins with a name of ours, so that no command can name an inbox for its reply. */
function inboxesOf({ follow }: Names, user: string): string {
  return `${follow}${user.replaceAll(/[^A-Za-z0-9_-]/g, "_") || "anybody"}`;
}

/** A header is one line of ASCII. */
function ascii(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, (it) => `\\u${it.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

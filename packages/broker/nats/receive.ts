/**
 * Asks a consumer of JetStream for messages, one request at a time, and settles them.
 *
 * The bugs this prevents: more unsettled messages than were asked for, a message that another process gets while we work on it
 * (so we tell the server regularly that we still do), a settlement that is lost unnoticed (so each is confirmed), and a request
 * that the server forgot or refused, which looks like an empty queue.
 */
import type { Problem } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { linked, wakeUp } from "@longshore/runtime/loop.ts";
import { type Msg, nanos } from "@nats-io/transport-node";
import type { Delivery, ReceiveOptions } from "../port.ts";
import { type Receiver, receiving, settlement } from "../receiving.ts";
import type { Sessions } from "../session.ts";
import type { Link } from "./connection.ts";
import { answerHeaders, idOf } from "./publish.ts";
import { ACK_WAIT_MS, type Consumer } from "./topology.ts";

const WORKING_MS = ACK_WAIT_MS / 3;
const SETTLE_WITHIN_MS = 5_000;
const LOSS_MS = 50;
const AGAIN_MS = 1_000;

const ACK = "+ACK";
const GIVE_BACK = "-NAK";
const GIVE_BACK_LATER = `-NAK ${JSON.stringify({ delay: nanos(AGAIN_MS) })}`;
const WORKING = "+WPI";

export interface ReceiverParts {
  readonly links: Sessions<Link>;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes sure that the consumer exists. Called each time before the consumer is asked for messages. */
  readonly prepare: (link: Link) => Promise<Consumer>;
  readonly onEnd?: (link: Link, consumer: Consumer) => Promise<void>;
  /** Tells whether the receiver asked for messages of this subject. */
  readonly wants?: (subject: string) => boolean;
  /** Resolves when quarantine has confirmed the message. */
  readonly quarantine: (message: Msg, problems: readonly Problem[]) => Promise<void>;
}

interface Taken {
  readonly message: Msg;
  readonly link: Link;
}

export function receiver(parts: ReceiverParts, { inFlightMax, signal }: ReceiveOptions): Receiver {
  const { links, clock, log } = parts;
  const { inHand, begun, stop, start } = receiving<Delivery>(parts, signal);
  const closed = new AbortController();
  const woken = wakeUp(clock);
  /** Messages that the server waits for us to settle. */
  const held = new Set<Taken>();
  /**
   * Messages that were held when the connection was lost. A killed server may forget that it delivered them, so we count that
   * delivery.
   */
  let former: ReadonlySet<string> = new Set();

  function taken(message: Msg, link: Link): void {
    const it = { message, link };
    if (parts.wants?.(message.subject) === false) return void settle(it, ACK);
    held.add(it);
    inHand.give(deliver(it));
  }

  function deliver(it: Taken): Delivery {
    const { message, link } = it;
    const place = placeOf(message);
    const once = settlement(`a message of ${message.subject}`, () => {
      if (link.over.aborted) return; // the message is given back on the next connection
      held.delete(it);
      woken.wake();
    });
    return {
      id: idOf(message),
      body: message.data,
      redeliveries: Math.max(former.has(place.message) ? 1 : 0, place.deliveries - 1),
      user: undefined, // NATS never tells who published
      ...answerHeaders(message),
      ack: () => once(() => settle(it, ACK)),
      requeue: () => once(() => settle(it, GIVE_BACK)),
      quarantine: (problems) => once(() => quarantine(it, problems)),
    };
  }

  /** After a lost connection a settlement does nothing: the message is delivered again. */
  async function settle({ message, link }: Taken, how: string): Promise<void> {
    if (link.over.aborted || message.reply === undefined) return;
    try {
      await link.connection.request(message.reply, how, { timeout: SETTLE_WITHIN_MS });
    } catch (error) {
      log.debug("a settlement was not confirmed; the message may come again", { subject: message.subject, error });
      await clock.sleep(LOSS_MS, link.over); // a lost connection is noticed only a moment after the failed request
    }
  }

  async function quarantine(it: Taken, problems: readonly Problem[]): Promise<void> {
    if (it.link.over.aborted) return;
    try {
      await parts.quarantine(it.message, problems);
    } catch (error) {
      log.warn("a message could not be quarantined and is given back", { error });
      return await settle(it, GIVE_BACK_LATER);
    }
    await settle(it, ACK);
  }

  /** Gives back the messages of an earlier connection, so that they come again at once and not after ACK_WAIT_MS. */
  async function giveBackFormer(link: Link): Promise<void> {
    const lost = [...held].filter((it) => it.link !== link);
    if (lost.length === 0) return;
    former = new Set(lost.map((it) => placeOf(it.message).message));
    for (const it of lost) held.delete(it);
    await Promise.all(lost.map((it) => settle({ ...it, link }, GIVE_BACK)));
  }

  /** Throws if the server ended the pulling. */
  async function consume(link: Link): Promise<void> {
    const consumer = await parts.prepare(link);
    await giveBackFormer(link);
    const onMessage = (message: Msg) => taken(message, link);
    const pulls = openPulls({ link, consumer, clock, onMessage, onChange: () => woken.wake() });
    begun.resolve();
    while (!pulls.over.aborted && !stop.aborted) {
      pulls.ask(inFlightMax - held.size);
      await woken.wait(WORKING_MS, stop);
      pulls.check();
    }
    await pulls.drain();
    if (link.over.aborted) return void inHand.drop(); // the server delivers them again
    if (!stop.aborted) throw pulls.over.reason;
    await Promise.all(inHand.drop().map((it) => it.requeue()));
    await parts.onEnd?.(link, consumer).catch((error: unknown) => log.debug("a follower ends by itself", { error }));
  }

  /**
   * Tells the server that we still work on the unsettled messages, also after the stop. Otherwise the server gives them to
   * another process after ACK_WAIT_MS.
   */
  async function sayWorking(): Promise<void> {
    while (!closed.signal.aborted && !(stop.aborted && held.size === 0)) {
      await clock.sleep(WORKING_MS, closed.signal);
      for (const { message, link } of held)
        if (!link.over.aborted && message.reply !== undefined) link.connection.publish(message.reply, WORKING);
    }
  }

  const started = start(links, { consume });
  const working = sayWorking();
  return {
    ...started,
    close: async () => {
      closed.abort();
      await Promise.all([started.close(), working]);
      await Promise.all([...held].map((it) => settle(it, GIVE_BACK)));
    },
  };
}

/**
 * Reads the reply subject "$JS.ACK.<stream>.<consumer>.<deliveries>.<message>…"; newer servers put the domain and the account
 * before the stream.
 */
function placeOf({ reply = "" }: Msg): { readonly deliveries: number; readonly message: string } {
  const tokens = reply.split(".");
  const [stream, consumer, deliveries, message] = tokens.slice(tokens.length > 9 ? 4 : 2);
  return { deliveries: Number(deliveries) || 1, message: `${stream}.${consumer}.${message}` };
}

const LASTS_MS = 30_000;
const HEARTBEAT_MS = 5_000;
const SILENCE_MS = 3 * HEARTBEAT_MS;
const BATCH_MAX = 1_000;

/** Statuses of a request that ended normally: there is no message, or the request's time is over. */
const ENDED = new Set([404, 408]);
const HEARTBEAT = 100;

interface Pulling {
  readonly link: Link;
  readonly consumer: Consumer;
  readonly clock: Clock;
  readonly onMessage: (message: Msg) => void;
  /** Called when another request may be due, or when pulling is over. */
  readonly onChange: () => void;
}

interface Pulls {
  /** Aborts, with the reason, if the server ended the pulling or the connection is lost. */
  readonly over: AbortSignal;
  /** Asks for this many messages, unless a request is under way. */
  ask(room: number): void;
  /** Ends the pulling if a request is under way and the server has been silent. */
  check(): void;
  /** Sends no more requests. Resolves when no message is under way, or the connection is lost. */
  drain(): Promise<void>;
}

function openPulls({ link, consumer, clock, onMessage, onChange }: Pulling): Pulls {
  const over = linked(link.over);
  const inbox = link.inbox();
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${consumer.stream}.${consumer.name}`;
  let asked = 0; // how many messages the request may still bring
  let heardMs = clock.now();
  over.signal.addEventListener("abort", onChange, { once: true });

  /** Messages come with their own subject. A message on our inbox's subject is the server's status of the request. */
  function hear(message: Msg): void {
    heardMs = clock.now();
    if (message.subject !== inbox) {
      asked--;
      onMessage(message);
    } else {
      const code = message.headers?.code ?? 0;
      if (ENDED.has(code)) asked = 0;
      else if (code !== HEARTBEAT) over.abort(new Error(`the server ended a pull: ${message.headers?.description ?? code}`));
    }
    if (asked === 0) onChange();
  }

  const subscription = link.connection.subscribe(inbox, {
    callback: (error, message) => (error === null ? hear(message) : over.abort(error)),
  });

  return {
    over: over.signal,
    ask: (room) => {
      if (asked > 0 || room <= 0) return;
      asked = Math.min(BATCH_MAX, room);
      heardMs = clock.now();
      const request = { batch: asked, expires: nanos(LASTS_MS), idle_heartbeat: nanos(HEARTBEAT_MS) };
      link.connection.publish(subject, JSON.stringify(request), { reply: inbox });
    },
    check: () => {
      if (asked > 0 && clock.now() - heardMs > SILENCE_MS) over.abort(new Error("the server forgot a pull"));
    },
    drain: async () => {
      over.release();
      const drained = subscription.isClosed() ? undefined : subscription.drain();
      await Promise.race([drained, link.flush()]).catch(() => undefined); // the connection was lost: nothing more comes
    },
  };
}

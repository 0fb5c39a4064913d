/**
 * Takes messages of one consumer from JetStream, and settles them.
 *
 * The bugs this prevents: more messages in hand than there are places for, a message that another process gets while we work on
 * it (we tell the server again and again that we do), and a settlement that is lost without a trace: each is confirmed.
 */
import { Failure, type Problem } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, linked, wakeUp } from "@longshore/runtime/loop.ts";
import { type Msg, nanos } from "@nats-io/transport-node";
import { deliveryQueue } from "../delivery-queue.ts";
import type { Delivery, ReceiveOptions } from "../port.ts";
import type { Sessions } from "../session.ts";
import type { Link } from "./connection.ts";
import { HEADER, idOf } from "./publish.ts";
import { openPulls } from "./pull.ts";
import { ACK_WAIT_MS, type Consumer } from "./topology.ts";

const WORKING_MS = ACK_WAIT_MS / 3;
const SETTLE_WITHIN_MS = 5_000;
const LOSS_MS = 50;
const AGAIN_MS = 1_000;

const ACK = "+ACK";
const GIVE_BACK = "-NAK";
const GIVE_BACK_LATER = `-NAK ${JSON.stringify({ delay: nanos(AGAIN_MS) })}`;
const WORKING = "+WPI";

export interface Receiving {
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

export interface Receiver {
  readonly deliveries: AsyncIterableIterator<Delivery>;
  /**
   * Resolves when the consumer exists for the first time, or the receiver ended before. Rejects if we may not have a consumer.
   */
  readonly begun: Promise<void>;
  /** Gives back the messages in hand. */
  close(): Promise<void>;
}

interface Taken {
  readonly message: Msg;
  readonly link: Link;
}

export function receiver(parts: Receiving, { inFlightMax, signal }: ReceiveOptions): Receiver {
  const { links, clock, log } = parts;
  const stop = linked(signal);
  const inHand = deliveryQueue<Delivery>(() => stop.abort());
  const closed = new AbortController();
  const woken = wakeUp(clock);
  const pause = backOff(clock, { firstMs: 50, mostMs: 5_000 });
  const begun = Promise.withResolvers<void>();
  begun.promise.catch(() => undefined); // only followers await this; a queue's receiver goes on trying
  /** Messages that the server waits for us to settle. */
  const held = new Set<Taken>();
  /**
   * Messages that we had not settled when the connection was lost. A killed server may have forgotten that it delivered these.
   */
  let former: ReadonlySet<string> = new Set();
  stop.signal.addEventListener("abort", () => inHand.end(), { once: true });

  function taken(message: Msg, link: Link): void {
    const it = { message, link };
    if (parts.wants?.(message.subject) === false) return void settle(it, ACK);
    held.add(it);
    inHand.give(deliver(it));
  }

  function deliver(it: Taken): Delivery {
    const { message } = it;
    const place = placeOf(message);
    let done = false;
    const once = async (work: () => Promise<void>) => {
      if (done) throw new Error(`a message of ${message.subject} was settled twice`);
      done = true;
      await work();
      if (it.link.over.aborted) return; // the message is given back on the next connection
      held.delete(it);
      woken.wake();
    };
    return {
      id: idOf(message),
      body: message.data,
      redeliveries: Math.max(former.has(place.message) ? 1 : 0, place.deliveries - 1),
      user: undefined, // NATS never tells who published
      replyTo: message.headers?.get(HEADER.replyTo) || undefined,
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
      await clock.sleep(LOSS_MS, link.over); // if the connection is lost, that shows a moment after the failed request
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

  /**
   * Gives back the unsettled messages of an earlier connection, so that they come again at once and not after the server's
   * wait.
   */
  async function giveBackFormer(link: Link): Promise<void> {
    const lost = [...held].filter((it) => it.link !== link);
    if (lost.length === 0) return;
    former = new Set(lost.map((it) => placeOf(it.message).message));
    for (const it of lost) held.delete(it);
    await Promise.all(lost.map((it) => settle({ ...it, link }, GIVE_BACK)));
  }

  /** Runs until we are stopped or the connection is lost. Throws if the server ended the pulling. */
  async function consume(link: Link): Promise<void> {
    const consumer = await parts.prepare(link);
    await giveBackFormer(link);
    const onMessage = (message: Msg) => taken(message, link);
    const pulls = openPulls({ link, consumer, clock, onMessage, onChange: () => woken.wake() });
    begun.resolve();
    while (!pulls.over.aborted && !stop.signal.aborted) {
      pulls.ask(inFlightMax - held.size);
      await woken.wait(WORKING_MS, stop.signal);
      pulls.check();
    }
    await pulls.drain();
    if (link.over.aborted) return void inHand.drop(); // the server delivers them again
    if (!stop.signal.aborted) throw pulls.over.reason;
    await Promise.all(inHand.drop().map((it) => it.requeue()));
    await parts.onEnd?.(link, consumer).catch((error: unknown) => log.debug("a follower ends by itself", { error }));
  }

  /**
   * Tells the server that we still work on our messages, also after the stop: else it gives them to another process after its
   * wait.
   */
  async function sayWorking(): Promise<void> {
    while (!closed.signal.aborted && !(stop.signal.aborted && held.size === 0)) {
      await clock.sleep(WORKING_MS, closed.signal);
      for (const { message, link } of held)
        if (!link.over.aborted && message.reply !== undefined) link.connection.publish(message.reply, WORKING);
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
        if (stop.signal.aborted) break;
        if (error instanceof Failure && error.disposition === "halt") begun.reject(error);
        log.warn("a queue could not be consumed", { error });
        await pause(++failures, stop.signal);
      }
    }
    inHand.end();
    begun.resolve();
    stop.release();
  }
  const running = Promise.all([run(), sayWorking()]);

  return {
    deliveries: inHand.items,
    begun: begun.promise,
    close: async () => {
      stop.abort();
      closed.abort();
      await running;
      await Promise.all([...held].map((it) => settle(it, GIVE_BACK)));
    },
  };
}

/** "$JS.ACK.<stream>.<consumer>.<deliveries>.<message>…"; newer servers put the domain and the account before the stream. */
function placeOf({ reply = "" }: Msg): { readonly deliveries: number; readonly message: string } {
  const tokens = reply.split(".");
  const [stream, consumer, deliveries, message] = tokens.slice(tokens.length > 9 ? 4 : 2);
  return { deliveries: Number(deliveries) || 1, message: `${stream}.${consumer}.${message}` };
}

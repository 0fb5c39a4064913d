/**
 * Takes messages of one consumer from JetStream by asking for them, and settles them.
 *
 * The bugs this prevents: more in hand than was asked for (a pull asks for the free places and no more), a message that
 * another process gets while we work on it (each says again and again that it is worked on), a receiver that waits for a
 * pull that the server forgot (it must hear a heartbeat), and a settlement that is lost without a trace: each is confirmed.
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
import { ACK_WAIT_MS, type Consumer } from "./topology.ts";

const WORKING_MS = ACK_WAIT_MS / 3;
const PULL_MS = 30_000;
const HEARTBEAT_MS = 5_000;
const SILENCE_MS = 3 * HEARTBEAT_MS;
const SETTLE_WITHIN_MS = 5_000;
const LOSS_MS = 50;
const AGAIN_MS = 1_000;
const BATCH_MAX = 1_000;

const ACK = "+ACK";
const GIVE_BACK = "-NAK";
const GIVE_BACK_LATER = `-NAK ${JSON.stringify({ delay: nanos(AGAIN_MS) })}`;
const WORKING = "+WPI";

/** Statuses of a pull that ended in order: it ran out, or there is nothing. */
const ENDED = new Set([404, 408]);
const HEARTBEAT = 100;

export interface Receiving {
  readonly links: Sessions<Link>;
  readonly clock: Clock;
  readonly log: Log;
  /** Makes sure that the consumer is there. Called before each time that it is asked. */
  readonly prepare: (link: Link) => Promise<Consumer>;
  readonly onEnd?: (link: Link, consumer: Consumer) => Promise<void>;
  /** Whether a message is one that the receiver asked for. */
  readonly wants?: (subject: string) => boolean;
  /** Resolves when quarantine has confirmed it. */
  readonly quarantine: (message: Msg, problems: readonly Problem[]) => Promise<void>;
}

export interface Receiver {
  readonly deliveries: AsyncIterableIterator<Delivery>;
  /** Resolves when the consumer is there for the first time, or the receiver ended before. Rejects when we may not have one. */
  readonly begun: Promise<void>;
  /** Gives back what is in hand. */
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
  const woken = wakeUp(clock);
  const pause = backOff(clock, { firstMs: 50, mostMs: 5_000 });
  const begun = Promise.withResolvers<void>();
  begun.promise.catch(() => undefined); // of interest to followers; a queue's receiver goes on trying
  /** What the server waits for us to settle. */
  const held = new Set<Taken>();
  /** What we held when the connection was lost. A killed server may have forgotten that it delivered these. */
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
      if (it.link.over.aborted) return; // given back on the next connection
      held.delete(it);
      woken.wake();
    };
    return {
      id: idOf(message),
      body: message.data,
      redeliveries: Math.max(former.has(place.message) ? 1 : 0, place.deliveries - 1),
      user: undefined, // NATS tells nobody who published
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
      await clock.sleep(LOSS_MS, link.over); // a connection that is lost says so a moment after its requests
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

  /** What an earlier connection held comes at once, instead of when the server has waited for it. */
  async function giveBackFormer(link: Link): Promise<void> {
    const lost = [...held].filter((it) => it.link !== link);
    if (lost.length === 0) return;
    former = new Set(lost.map((it) => placeOf(it.message).message));
    for (const it of lost) held.delete(it);
    await Promise.all(lost.map((it) => settle({ ...it, link }, GIVE_BACK)));
  }

  async function giveBackUntaken(): Promise<void> {
    await Promise.all(inHand.drop().map((it) => it.requeue()));
  }

  async function consume(link: Link): Promise<void> {
    const consumer = await parts.prepare(link);
    await giveBackFormer(link);
    const over = linked(link.over);
    const inbox = link.inbox();
    let asked = 0; // how many messages the pull in flight may still bring
    let heardMs = clock.now();

    const subscription = link.connection.subscribe(inbox, {
      callback: (error, message) => {
        if (error !== null) return over.abort(error); // the server ended the subscription
        heardMs = clock.now();
        if (message.subject !== inbox) {
          asked--;
          taken(message, link);
        } else {
          const code = message.headers?.code ?? 0;
          if (ENDED.has(code)) asked = 0;
          else if (code !== HEARTBEAT) over.abort(new Error(`the server ended a pull: ${message.headers?.description ?? code}`));
        }
        woken.wake();
      },
    });
    const ending = linked(over.signal);
    const ended = () => ending.abort();
    stop.signal.addEventListener("abort", ended, { once: true });
    if (stop.signal.aborted) ended();
    begun.resolve();

    const next = `$JS.API.CONSUMER.MSG.NEXT.${consumer.stream}.${consumer.name}`;
    let saidMs = clock.now();
    while (!ending.signal.aborted) {
      const room = Math.min(BATCH_MAX, inFlightMax - held.size);
      if (asked === 0 && room > 0) {
        asked = room;
        heardMs = clock.now();
        const pull = { batch: room, expires: nanos(PULL_MS), idle_heartbeat: nanos(HEARTBEAT_MS) };
        link.connection.publish(next, JSON.stringify(pull), { reply: inbox });
      }
      await woken.wait(WORKING_MS, ending.signal);
      if (clock.now() - saidMs >= WORKING_MS) {
        saidMs = clock.now();
        for (const { message, link: on } of held)
          if (on === link && message.reply) link.connection.publish(message.reply, WORKING);
      }
      if (asked > 0 && clock.now() - heardMs > SILENCE_MS) over.abort(new Error("the server forgot a pull"));
    }
    stop.signal.removeEventListener("abort", ended);
    ending.release();
    over.release();
    if (stop.signal.aborted && !link.over.aborted) {
      await Promise.race([subscription.drain(), link.flush()]).catch(() => undefined); // lost meanwhile: nothing comes any more
      await giveBackUntaken();
      await parts.onEnd?.(link, consumer).catch((error: unknown) => log.debug("a follower ends by itself", { error }));
    } else {
      subscription.unsubscribe();
      if (link.over.aborted)
        inHand.drop(); // the server delivers them again
      else throw over.signal.reason;
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
  const running = run();

  return {
    deliveries: inHand.items,
    begun: begun.promise,
    close: async () => {
      stop.abort();
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

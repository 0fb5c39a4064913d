/**
 * Asks a consumer of JetStream for messages, one request at a time.
 *
 * The bugs this prevents: more messages than were asked for, a wait for a request that the server forgot (the server must say
 * every few seconds that it remembers the request), and a request that the server refused and that looks like an empty queue.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { linked } from "@longshore/runtime/loop.ts";
import { type Msg, nanos } from "@nats-io/transport-node";
import type { Link } from "./connection.ts";
import type { Consumer } from "./topology.ts";

const LASTS_MS = 30_000;
const HEARTBEAT_MS = 5_000;
const SILENCE_MS = 3 * HEARTBEAT_MS;
const BATCH_MAX = 1_000;

/** Statuses of a request that ended normally: there is no message, or the request's time is over. */
const ENDED = new Set([404, 408]);
const HEARTBEAT = 100;

export interface Pulling {
  readonly link: Link;
  readonly consumer: Consumer;
  readonly clock: Clock;
  readonly onMessage: (message: Msg) => void;
  /** Called when another request may be due, or when pulling is over. */
  readonly onChange: () => void;
}

export interface Pulls {
  /** Aborts if the server ended the pulling, with the reason, or if the connection is lost. */
  readonly over: AbortSignal;
  /** Asks for this many messages, unless a request is under way. */
  ask(room: number): void;
  /** Ends the pulling if a request is under way and the server has been silent. */
  check(): void;
  /** Sends no more requests. Resolves when no message is under way, or the connection is lost. */
  drain(): Promise<void>;
}

export function openPulls({ link, consumer, clock, onMessage, onChange }: Pulling): Pulls {
  const over = linked(link.over);
  const inbox = link.inbox();
  const subject = `$JS.API.CONSUMER.MSG.NEXT.${consumer.stream}.${consumer.name}`;
  let asked = 0; // how many messages the request may still bring
  let heardMs = clock.now();
  over.signal.addEventListener("abort", onChange, { once: true });

  /** A message has its own subject; anything under our inbox is about the request. */
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

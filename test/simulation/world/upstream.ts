/**
 * The application that publishes commands and follows its runs, as the client's README advises.
 *
 * The bug this prevents: a story that is right in the ledger and wrong where it is heard. The judge checks the events that
 * arrived here, through a broker that repeats and reorders.
 */
import { story } from "@longshore/client/story.ts";
import { type ReceivedEvent, readEvent } from "@longshore/contract/messages/envelope.ts";
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import type { Delivery } from "@longshore/broker/port.ts";
import type { Connection } from "./broker.ts";
import type { Mortal } from "./mortal.ts";
import type { Asked } from "../scenario/orders.ts";

export const UPSTREAM_QUEUE = "upstream.events";

export interface Upstream {
  /** Publishes until the broker confirms the message. */
  publish(asked: Asked, signal: AbortSignal): Promise<void>;
  listen(signal: AbortSignal): Promise<void>;
  readonly confirmed: readonly Asked[];
  /** The events as they were applied: each run's in order, and refusals among them. */
  readonly heard: readonly ReceivedEvent[];
  /** The number of deliveries that wait for an earlier event. */
  early(): number;
  readonly unreadable: readonly string[];
}

export function openUpstream(process: Mortal, broker: Pick<Connection, "publish" | "consume">): Upstream {
  const confirmed: Asked[] = [];
  const heard: ReceivedEvent[] = [];
  const unreadable: string[] = [];
  const early = new Map<string, Delivery>();
  const { hear } = story({ lastApplied: () => 0 }); // the queue is there before all runs, so each begins with number 1
  const pause = backOff(process.clock, { mostMs: 5_000 });

  async function handle(delivery: Delivery): Promise<void> {
    const read = readEvent(delivery.body);
    if (read.kind === "unreadable") {
      unreadable.push(`${Buffer.from(delivery.body).toString().slice(0, 300)}: ${JSON.stringify(read.problems)}`);
      return await delivery.ack();
    }
    const { event } = read;
    const verdict = hear(event);
    switch (verdict.kind) {
      case "told":
        heard.push(...verdict.events);
        await delivery.ack();
        for (const it of verdict.events.slice(1)) await settleEarly(it);
        return;
      case "repeat": {
        const key = `${event.source} ${event.sequence}`;
        const waiting = early.get(key);
        // If an event that waits comes again, the newer delivery is kept: the older one's connection may be gone.
        if (waiting !== undefined) early.set(key, delivery);
        return await (waiting ?? delivery).ack();
      }
      case "early":
        early.set(`${event.source} ${event.sequence}`, delivery);
        return;
    }
  }

  async function settleEarly({ source, sequence }: ReceivedEvent): Promise<void> {
    const key = `${source} ${sequence}`;
    const delivery = early.get(key);
    early.delete(key);
    await delivery?.ack();
  }

  return {
    confirmed,
    heard,
    unreadable,
    early: () => early.size,
    async publish(asked, signal) {
      const { id, key, body } = asked;
      for (let failures = 0; !signal.aborted; await pause(++failures, signal)) {
        try {
          await broker.publish("commands", { id, key, body }, signal);
          confirmed.push(asked);
          return;
        } catch (error) {
          if (!isTransient(error)) throw error;
        }
      }
    },
    async listen(signal) {
      for await (const delivery of broker.consume(UPSTREAM_QUEUE, { inFlightMax: 500, signal })) await handle(delivery);
    },
  };
}

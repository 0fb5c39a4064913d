/**
 * Shared by the files of the conformance suite: the parts that an adapter's test gives, and helpers that make and take
 * messages.
 */
import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { NAMES, type Names } from "../settings.ts";
import type { Broker, Delivery, Outgoing } from "../port.ts";

export interface Quarantined {
  readonly id: string;
  readonly body: string;
  readonly key: string;
  readonly problems: unknown;
}

export interface Conforming {
  readonly name: string;
  readonly url: string;
  /**
   * Names whose queues have existed for a while, for the tests that kill the server. RabbitMQ saves its list of quorum queues
   * and streams some seconds late. If it is killed before that, it comes back with queues that take nothing.
   */
  readonly settled: Names;
  /** For a broker that lives in this process: takes this many messages, settles none, and loses the connection. */
  readonly holdAndDie?: (names: Names, count: number) => Promise<void>;
  /** Opens another connection to the same server. Its time limits are short, so that tests with a silent server are short. */
  readonly open: (names: Names) => Promise<Broker>;
  readonly server: {
    readonly kill: () => Promise<void>;
    readonly start: () => Promise<void>;
    readonly freeze: () => Promise<void>;
    readonly thaw: () => Promise<void>;
    /** Makes a queue of upstream's own, for replies. */
    readonly makeQueue: (name: string) => Promise<void>;
    /** Returns the bodies that wait in the queue, oldest first. */
    readonly readQueue: (name: string) => Promise<readonly string[]>;
    readonly quarantined: (names: Names) => Promise<readonly Quarantined[]>;
    /** Deletes a queue, as a careless operator does. */
    readonly deleteQueue: (name: string) => Promise<void>;
    readonly unbind?: (queue: string, exchange: string) => Promise<void>;
    readonly block?: () => Promise<void>;
    readonly unblock?: () => Promise<void>;
  };
}

export const forever = new AbortController().signal;

export function freshNames(): Names {
  const prefix = `t${randomUUID().slice(0, 8)}`;
  const entries = Object.entries(NAMES).map(([what, name]) => [what, name.replace("longshore", prefix)] as const);
  return { ...NAMES, ...Object.fromEntries(entries) };
}

export function message(n: number | string, more: Partial<Outgoing> = {}): Outgoing {
  return { id: `id-${n}`, key: "shop.prod.run.failed", body: Buffer.from(`body ${n}`), ...more };
}

export async function publishAll(broker: Broker, count: number): Promise<void> {
  for (let n = 0; n < count; n++) await broker.publish("commands", message(n), forever);
}

export async function take(deliveries: AsyncIterator<Delivery>): Promise<Delivery> {
  const next = await deliveries.next();
  if (next.done === true) throw new Error("the iteration ended before the message came");
  return next.value;
}

/** Takes the next message with one of these ids. Messages that an earlier test left behind are acked. */
export async function takeId(deliveries: AsyncIterator<Delivery>, ...wanted: readonly string[]): Promise<Delivery> {
  for (;;) {
    const delivery = await take(deliveries);
    if (wanted.includes(delivery.id)) return delivery;
    await delivery.ack();
  }
}

export async function takeAll(deliveries: AsyncIterator<Delivery>, count: number): Promise<readonly Delivery[]> {
  const taken: Delivery[] = [];
  while (taken.length < count) taken.push(await take(deliveries));
  return taken;
}

export const ids = (deliveries: readonly Delivery[]): readonly string[] => deliveries.map((it) => it.id);
export const text = (delivery: Delivery): string => Buffer.from(delivery.body).toString();

/** Starts another process that takes this many messages and settles none. */
export async function holding(url: string, names: Names, count: number): Promise<ChildProcess> {
  const child = fork(fileURLToPath(import.meta.resolve("./conformance-holder.ts")), {
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  child.send({ url, names, count });
  await Promise.race([
    once(child, "message"),
    once(child, "exit").then(() => {
      throw new Error("the process that should hold messages ended");
    }),
  ]);
  return child;
}

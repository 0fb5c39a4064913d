/**
 * A broker in memory that behaves like a real one on a bad day. It duplicates and reorders, takes a message and loses the
 * confirm, loses its connections and delivers again, freezes, and is away for a while.
 *
 *   publish ─▶ exchange (events: history and bound queues) ─▶ queue ─▶ pump ─▶ delivery queue ─▶ settled, or back in the queue
 *
 * The bug this prevents: loops that were only ever tried on a broker that delivers each message once and in order.
 */
import { boundedPublishing, PUBLISH_WITHIN_MS } from "@longshore/broker/session.ts";
import { deliveryQueue, type DeliveryQueue, settledDeliveries } from "@longshore/broker/receiving.ts";
import { isOurs, NAMES, type Names } from "@longshore/broker/settings.ts";
import type { Broker, Delivery, Outgoing, Published, ReceiveOptions } from "@longshore/broker/port.ts";
import { keyForPattern, patternAsRegex } from "@longshore/broker/topic-pattern.ts";
import { Failure, type Problem } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";

export interface BrokerTrouble {
  /** The chance that a message is stored, and its publisher is told that it may not be. */
  readonly loseConfirm: number;
  /** The chance that a message is not stored, and its publisher is told so. */
  readonly losePublish: number;
  readonly duplicate: number;
  /** The number of waiting messages from which the next one is drawn; 1 keeps the order. */
  readonly shuffle: number;
  /** The chance that an event is confirmed and comes back unrouted, as if no queue were bound. */
  readonly unrouted: number;
  readonly delayMs: readonly [from: number, to: number];
}

export const NO_TROUBLE: BrokerTrouble = {
  loseConfirm: 0,
  losePublish: 0,
  duplicate: 0,
  shuffle: 1,
  unrouted: 0,
  delayMs: [0, 0],
};

export interface Connection extends Broker {
  /** Consumes from any queue, such as upstream's own. */
  consume(queue: string, options: ReceiveOptions): AsyncIterableIterator<Delivery>;
  /** Loses the connection, as when its heartbeat fails: unsettled messages are delivered again. It connects again by itself. */
  drop(): void;
  /** Loses the connection because its process is gone: it does not connect again. */
  forget(): void;
}

export interface BrokerModel {
  connect(options?: { readonly names?: Names; readonly withinMs?: number }): Connection;
  trouble: BrokerTrouble;
  /** Makes a queue. With a pattern, the queue gets the events that match it. */
  declare(queue: string, pattern?: string): void;
  down(): void;
  up(): void;
  freeze(): void;
  thaw(): void;
  remove(queue: string): void;
  readonly waiting: (queue: string) => readonly Stored[];
  /** The number of messages that consumers hold and have not settled. */
  readonly held: (queue: string) => number;
  readonly quarantined: readonly Quarantined[];
}

export interface Stored extends Outgoing {
  readonly redeliveries: number;
}

export interface Quarantined extends Stored {
  readonly queue: string;
  readonly problems: readonly Problem[];
}

interface Consumer {
  readonly queue: string;
  readonly most: number;
  readonly held: Set<Stored>;
  readonly delivering: DeliveryQueue<Delivery>;
  readonly line: Line;
  /** Counts the connections: a message that was delivered on an earlier one can no longer be settled. */
  era: number;
  /** True if the reader wants no more messages; it may still settle those that it has. */
  ended: boolean;
}

interface Line {
  readonly consumers: Set<Consumer>;
  state: "connected" | "dropped" | "closed";
}

export function brokerModel(clock: Clock): BrokerModel {
  const queues = new Map<string, Stored[]>();
  const bindings = new Map<string, RegExp>();
  const listeners = new Map<string, { readonly exchange: string; readonly pattern: RegExp }>();
  /** The queues that are being delivered; true if somebody asked for a delivery meanwhile. */
  const pumping = new Map<string, boolean>();
  const lines = new Set<Line>();
  const quarantined: Quarantined[] = [];
  const stored = new WeakMap<Delivery, Stored>();
  const gate = openGate();
  let server = "up" as "up" | "down" | "frozen";
  let turn = 0;

  const late = async (): Promise<void> => {
    const [from, to] = model.trouble.delayMs;
    if (to > 0) await clock.sleep(from + clock.random() * (to - from));
  };
  const chance = (probability: number): boolean => probability > 0 && clock.random() < probability;

  function declare(queue: string): Stored[] {
    const known = queues.get(queue) ?? [];
    queues.set(queue, known);
    return known;
  }

  function store(queue: string, message: Outgoing): void {
    const waiting = declare(queue);
    waiting.push({ ...message, redeliveries: 0 });
    if (chance(model.trouble.duplicate)) waiting.push({ ...message, redeliveries: 0 });
    pump(queue);
  }

  function route(message: Outgoing): void {
    for (const [queue, pattern] of bindings) if (pattern.test(keyForPattern(message.key))) store(queue, message);
  }

  function pass(exchange: string, message: Outgoing): Published {
    const heard = [...listeners].filter(([, it]) => it.exchange === exchange && it.pattern.test(keyForPattern(message.key)));
    for (const [queue] of heard) store(queue, message);
    return heard.length > 0 ? "stored" : "unrouted";
  }

  // ── Delivering ────────────────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Delivers the messages that wait. If a delivery is under way, another one follows it: the first may just have found no
   * consumer with room.
   */
  function pump(queue: string): void {
    const isAtIt = pumping.has(queue);
    pumping.set(queue, isAtIt);
    if (isAtIt) return;
    void deliver(queue).finally(() => {
      const again = pumping.get(queue) === true;
      pumping.delete(queue);
      if (again) pump(queue);
    });
  }

  const isDown = (): boolean => server === "down";

  async function deliver(queue: string): Promise<void> {
    while (!isDown() && (queues.get(queue)?.length ?? 0) > 0 && ready(queue).length > 0) {
      await late();
      await gate.open();
      const waiting = queues.get(queue) ?? [];
      const open = ready(queue);
      const consumer = open[turn++ % Math.max(1, open.length)];
      const at = Math.floor(clock.random() * Math.min(model.trouble.shuffle, waiting.length));
      if (isDown() || consumer === undefined || waiting.length === 0) return;
      const [message] = waiting.splice(at, 1);
      if (message === undefined) return;
      consumer.held.add(message);
      const given = delivery(consumer, message);
      stored.set(given, message);
      consumer.delivering.give(given);
    }
  }

  const ready = (queue: string): readonly Consumer[] =>
    [...lines].flatMap((line) => [...line.consumers]).filter((it) => it.queue === queue && !it.ended && it.line.state === "connected" && it.held.size < it.most); // biome-ignore format: one question

  function delivery(consumer: Consumer, message: Stored): Delivery {
    const { era } = consumer;
    let settled = false;
    /** Takes the message from its consumer, unless the connection that delivered it is gone. */
    const settle = async (work: () => void): Promise<void> => {
      if (settled) throw new Error(`the message ${message.id} was settled twice`);
      settled = true;
      await late();
      await gate.open();
      if (consumer.era !== era || !consumer.held.delete(message)) return;
      work();
      pump(consumer.queue);
    };
    return {
      id: message.id,
      body: message.body,
      redeliveries: message.redeliveries,
      user: undefined,
      replyTo: message.replyTo,
      correlationId: message.correlationId,
      ack: () => settle(() => undefined),
      requeue: () => settle(() => giveBack(consumer.queue, [message])),
      quarantine: (problems) => settle(() => void quarantined.push({ ...message, queue: consumer.queue, problems })),
    };
  }

  function giveBack(queue: string, messages: readonly Stored[]): void {
    declare(queue).unshift(...messages.map((it) => ({ ...it, redeliveries: it.redeliveries + 1 })));
    pump(queue);
  }

  // ── Connections ───────────────────────────────────────────────────────────────────────────────────────────────────

  function lose(line: Line): void {
    for (const consumer of line.consumers) {
      consumer.era++;
      consumer.delivering.drop();
      const held = [...consumer.held];
      consumer.held.clear();
      giveBack(consumer.queue, held);
    }
  }

  function drop(line: Line): void {
    if (line.state !== "connected") return;
    line.state = "dropped";
    lose(line);
    void late().then(() => reconnect(line));
  }

  function reconnect(line: Line): void {
    if (line.state !== "dropped" || server === "down") return;
    line.state = "connected";
    for (const { queue } of line.consumers) pump(queue);
  }

  function connect({ names = NAMES, withinMs = PUBLISH_WITHIN_MS }: Parameters<BrokerModel["connect"]>[0] = {}): Connection {
    const line: Line = { consumers: new Set(), state: server === "down" ? "dropped" : "connected" };
    lines.add(line);
    for (const queue of [names.commands, names.facts]) declare(queue);
    const bounded = boundedPublishing({ clock, where: "the model's broker", withinMs });
    const unreachable = (): Failure => new Failure("retry", "BrokerUnreachable", "The broker's connection is lost.");

    const publish = (message: Outgoing, signal: AbortSignal, put: () => Published): Promise<Published> =>
      bounded(message.body.byteLength, signal, async () => {
        if (line.state !== "connected") throw unreachable();
        await late();
        await gate.open();
        if (server === "down" || chance(model.trouble.losePublish)) throw unreachable();
        const published = put();
        if (chance(model.trouble.loseConfirm)) throw unreachable();
        await late();
        if (line.state !== "connected") throw unreachable();
        return published;
      });

    function consume(queue: string, { inFlightMax, signal }: ReceiveOptions): AsyncIterableIterator<Delivery> {
      const end = (): void => {
        if (consumer.ended) return;
        consumer.ended = true;
        const unseen = consumer.delivering.drop().flatMap((it) => stored.get(it) ?? []);
        consumer.delivering.end();
        giveBack(queue, unseen.filter((it) => consumer.held.delete(it))); // biome-ignore format: one line
      };
      const consumer: Consumer = {
        queue,
        most: inFlightMax,
        held: new Set(),
        delivering: deliveryQueue<Delivery>(end),
        line,
        era: 0,
        ended: false,
      };
      declare(queue);
      line.consumers.add(consumer);
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
      pump(queue);
      return consumer.delivering.items;
    }
    function close(): void {
      line.state = "closed";
      lose(line);
      for (const it of line.consumers) it.delivering.end();
      lines.delete(line);
    }

    return {
      publish: (topic, message, signal) =>
        publish(message, signal, () => {
          if (topic === "events" && chance(model.trouble.unrouted)) return "unrouted";
          if (topic === "events") route(message);
          else store(topic === "commands" ? names.commands : names.facts, message);
          return "stored";
        }),
      reply: (queue, message, signal) =>
        publish(message, signal, () => {
          if (isOurs(queue, names) || !queues.has(queue)) return "unrouted";
          store(queue, message);
          return "stored";
        }),
      receive: (queue, options) => consume(queue === "commands" ? names.commands : names.facts, options),
      follow: async (pattern, options) => {
        const queue = `${names.follow}${++turn}`;
        model.declare(queue, pattern);
        options.signal.addEventListener("abort", () => model.remove(queue), { once: true });
        return consume(queue, options);
      },
      broadcast: (message, signal) => publish(message, signal, () => pass(names.control, message)),
      listen: async (pattern, options) => {
        const queue = `${names.follow}${++turn}`;
        listeners.set(queue, { exchange: names.control, pattern: new RegExp(patternAsRegex(pattern)) });
        options.signal.addEventListener("abort", () => model.remove(queue), { once: true });
        return settledDeliveries(consume(queue, options));
      },
      consume,
      status: () =>
        line.state === "connected" ? { kind: "connected" } : { kind: "reconnecting", sinceMs: clock.now(), lastError: "lost" },
      inspect: async () => {
        const count = (queue: string): number => model.waiting(queue).length + model.held(queue);
        const waiting = { commands: count(names.commands), facts: count(names.facts), quarantine: ofNames(names).length };
        return { product: "the model 1.0", user: "simulation", waiting };
      },
      drop: () => drop(line),
      forget: close,
      [Symbol.asyncDispose]: async () => close(),
    };
  }

  const ofNames = ({ commands, facts }: Names): readonly Quarantined[] =>
    quarantined.filter(({ queue }) => queue === commands || queue === facts);

  const model: BrokerModel = {
    trouble: NO_TROUBLE,
    connect,
    declare: (queue, pattern) => {
      declare(queue);
      if (pattern !== undefined) bindings.set(queue, new RegExp(patternAsRegex(pattern)));
    },
    down: () => {
      server = "down";
      gate.set(true);
      for (const line of lines) {
        if (line.state !== "connected") continue;
        line.state = "dropped";
        lose(line);
      }
    },
    up: () => {
      server = "up";
      for (const line of lines) void late().then(() => reconnect(line));
    },
    freeze: () => {
      if (server !== "up") return;
      server = "frozen";
      gate.set(false);
    },
    thaw: () => {
      if (server !== "frozen") return;
      server = "up";
      gate.set(true);
    },
    remove: (queue) => {
      queues.delete(queue);
      bindings.delete(queue);
      listeners.delete(queue);
    },
    waiting: (queue) => queues.get(queue) ?? [],
    held: (queue) => [...lines].flatMap((line) => [...line.consumers]).reduce((sum, it) => sum + (it.queue === queue ? it.held.size : 0), 0), // biome-ignore format: one question
    quarantined,
  };
  return model;
}

/** A gate: while it is shut, callers of `open` wait. */
function openGate(): { open(): Promise<void>; set(isOpen: boolean): void } {
  let isOpen = true;
  let waiting: (() => void)[] = [];
  return {
    open: () => (isOpen ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    set: (open) => {
      isOpen = open;
      if (!open) return;
      for (const go of waiting.splice(0)) go();
      waiting = [];
    },
  };
}

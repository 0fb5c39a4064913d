/**
 * The half of the conformance suite in which the server is killed, frozen, full, or changed by a careless operator.
 *
 * The bug this prevents: a message that was reported as stored and is gone, and a publisher or receiver that never comes back.
 */
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Test } from "tap";
import { type Conforming, forever, freshNames, message, publishAll, take, takeId, text } from "./conformance-parts.ts";
import type { Broker, BrokerStatus, Outgoing, Topic } from "../port.ts";

const FAULT_MS = 120_000;

export async function serverFaults(t: Test, it: Conforming): Promise<void> {
  t.setTimeout(10 * FAULT_MS);
  await t.test("killed", (t) => killed(t, it));
  await t.test("killed while all are connected", (t) => killedWhileAllAreThere(t, it));
  await t.test("frozen", (t) => frozen(t, it));
  await t.test("changed", (t) => changed(t, it));
  if (it.server.block !== undefined) await t.test("blocked", (t) => blocked(t, it));
}

/** Publishes the same message after each "retry" until it is stored, as our publishers do. Returns the number of failures. */
export async function stubborn(broker: Broker, topic: Topic, sent: Outgoing): Promise<number> {
  for (let failures = 0; ; failures++) {
    try {
      await broker.publish(topic, sent, forever);
      return failures;
    } catch (error) {
      if (!isTransient(error)) throw error;
      await systemClock.sleep(50);
    }
  }
}

async function until(broker: Broker, kind: BrokerStatus["kind"]): Promise<void> {
  while (broker.status().kind !== kind) await systemClock.sleep(20);
}

async function killed(t: Test, { open, server, settled }: Conforming): Promise<void> {
  t.setTimeout(FAULT_MS);

  await t.test("nothing that was told as stored is lost when the server is killed in the middle of it", async (t) => {
    await using broker = await open(settled);
    const total = 400;
    let next = 0;
    let stored = 0;
    let killing: Promise<void> | undefined;
    const lane = async () => {
      while (next < total) {
        const n = next++;
        await stubborn(broker, "commands", message(n));
        if (++stored === 100) killing = server.kill().then(() => server.start());
      }
    };
    await Promise.all(Array.from({ length: 20 }, lane));
    await killing;

    const missing = new Set(Array.from({ length: total }, (_, n) => `id-${n}`));
    const stop = new AbortController();
    for await (const delivery of broker.receive("commands", { inFlightMax: 50, signal: stop.signal })) {
      missing.delete(delivery.id);
      await delivery.ack();
      if (missing.size === 0) stop.abort();
    }
    t.equal(missing.size, 0, "every message that was told as stored has come");
  });
}

/** One kill for all who are connected: a start of RabbitMQ costs five seconds of a processor and more. */
async function killedWhileAllAreThere(t: Test, { open, server, settled }: Conforming): Promise<void> {
  t.setTimeout(FAULT_MS);
  await using broker = await open(settled);
  for (const id of ["first", "second"]) await broker.publish("commands", message(id), forever);
  const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
  const held = await takeId(deliveries, "id-first");
  const followed = await broker.follow("shop.#", { inFlightMax: 5, signal: forever });
  const heard = await broker.listen("prod.#", { inFlightMax: 5, signal: forever });

  await t.test("while it is down a publisher is told to retry, and the status says since when", async (t) => {
    await server.kill();
    try {
      await t.rejects(broker.publish("facts", message(1), forever), { name: "Failure", disposition: "retry" });
      await t.rejects(broker.broadcast(message("away"), forever), { name: "Failure", disposition: "retry" });
      await until(broker, "reconnecting");
      t.match(broker.status(), { kind: "reconnecting", sinceMs: Number, lastError: String });
    } finally {
      await server.start();
    }
    await until(broker, "connected");
    await stubborn(broker, "facts", message(1));
  });

  await t.test("a receiver goes on after a restart; what it held comes again, and its old settlement does nothing", async (t) => {
    await held.ack(); // does nothing: its connection is lost
    // The order depends on whether the server has noticed by then that the old receiver is gone.
    const again = new Map<string, number>();
    while (again.size < 2) {
      const delivery = await takeId(deliveries, "id-first", "id-second");
      again.set(delivery.id, delivery.redeliveries);
      await delivery.ack();
    }
    t.ok((again.get("id-first") ?? 0) >= 1, "it says that it is not the first time");
  });

  // Queues of followers and listeners are temporary, so they may miss what passes before they are bound again. What passes
  // later arrives.
  await t.test("a follower is bound again after a restart", async (t) => {
    const got = await saidUntil(() => stubborn(broker, "events", message("again")), take(followed));
    t.equal(got.id, "id-again");
  });

  await t.test("a listener is bound again after a restart", async (t) => {
    const say = () => broker.broadcast(message("again", { key: "prod.x" }), forever).catch(onlyRetry);
    const next = await saidUntil(say, heard.next());
    t.equal(next.done === true ? "over" : Buffer.from(next.value).toString(), "body again");
  });
}

/** Says the same again and again until it is heard. */
async function saidUntil<T>(say: () => Promise<unknown>, hearing: Promise<T>): Promise<T> {
  const stop = new AbortController();
  const talking = (async () => {
    while (!stop.signal.aborted) {
      await say();
      await systemClock.sleep(50, stop.signal);
    }
  })();
  const heard = await hearing;
  stop.abort();
  await talking;
  return heard;
}

function onlyRetry(error: unknown): void {
  if (!isTransient(error)) throw error;
}

async function frozen(t: Test, { open, server }: Conforming): Promise<void> {
  t.setTimeout(FAULT_MS);

  await t.test("a publisher is told to retry within its bound, and all goes on after the thaw", async (t) => {
    await using broker = await open(freshNames());
    const deliveries = broker.receive("commands", { inFlightMax: 3, signal: forever });
    await server.freeze();
    try {
      await t.rejects(broker.publish("commands", message(1), forever), { name: "Failure", disposition: "retry" });
      const stop = new AbortController();
      const stopped = broker.publish("commands", message(2), stop.signal);
      stop.abort();
      await t.rejects(stopped, { name: "Failure", code: "Interrupted" });
    } finally {
      await server.thaw();
    }
    await stubborn(broker, "commands", message("after"));
    for (let got = ""; got !== "body after"; ) {
      const delivery = await take(deliveries);
      got = text(delivery);
      await delivery.ack();
    }
    t.pass("the message that was published after the thaw arrived");
  });

  await t.test("it can be closed while the server is frozen", async (t) => {
    const broker = await open(freshNames());
    const deliveries = broker.receive("commands", { inFlightMax: 3, signal: forever });
    await server.freeze();
    try {
      await broker[Symbol.asyncDispose]();
      t.equal((await deliveries.next()).done, true);
    } finally {
      await server.thaw();
    }
  });
}

async function changed(t: Test, { open, server }: Conforming): Promise<void> {
  t.setTimeout(FAULT_MS);

  await t.test("a queue that somebody deleted is declared again, and its receiver goes on", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    const deliveries = broker.receive("commands", { inFlightMax: 3, signal: forever });
    await publishAll(broker, 1);
    await (await take(deliveries)).ack();
    await server.deleteQueue(names.commands);
    await stubborn(broker, "commands", message("after"));
    t.equal((await take(deliveries)).id, "id-after");
  });

  await t.test("a deleted queue of facts is declared again by who publishes to it", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await server.deleteQueue(names.facts);
    await stubborn(broker, "facts", message("after"));
    t.equal((await take(broker.receive("facts", { inFlightMax: 3, signal: forever }))).id, "id-after");
  });

  const { unbind } = server;
  if (unbind === undefined) return;
  await t.test("commands that came while the binding was gone are taken in by who starts next", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await unbind(names.commands, names.commands);
    await broker.publish("commands", message("astray"), forever);
    await using starting = await open(names);
    t.equal((await take(starting.receive("commands", { inFlightMax: 3, signal: forever }))).id, "id-astray");
  });

  await t.test("an event that the history did not get is not told as stored; the history is bound again", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await unbind(names.history, names.events);
    await t.rejects(broker.publish("events", message(1), forever), { disposition: "retry", code: "TopologyDamaged" });
    await stubborn(broker, "events", message(1));
    t.pass("stored in the end");
  });
}

async function blocked(t: Test, { open, server }: Conforming): Promise<void> {
  t.setTimeout(FAULT_MS);

  await t.test("out of memory, the server stops publishers within their bound, and receivers go on", async (t) => {
    await using broker = await open(freshNames());
    await publishAll(broker, 3);
    const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
    await server.block?.();
    try {
      await t.rejects(broker.publish("facts", message(1), forever), { name: "Failure", disposition: "retry" });
      await until(broker, "blocked");
      for (const id of ["id-0", "id-1", "id-2"]) {
        const delivery = await take(deliveries);
        t.equal(delivery.id, id);
        await delivery.ack();
      }
      const many = await Promise.allSettled(
        Array.from({ length: 6_000 }, (_, n) => broker.publish("facts", message(n), forever)),
      );
      t.ok(
        many.every((it) => it.status === "rejected"),
        "none is told as stored",
      );
      t.ok(
        many.some((it) => it.status === "rejected" && it.reason instanceof Failure && it.reason.code === "BrokerOverloaded"),
        "beyond the bound they are refused at once",
      );
    } finally {
      await server.unblock?.();
    }
    await until(broker, "connected");
    await stubborn(broker, "facts", message("after"));
    t.pass("it publishes again");
  });
}

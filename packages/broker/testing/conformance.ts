/**
 * The conformance suite: written once, and every broker must pass it.
 *
 * The bug this prevents: an adapter that follows its author's guess of the port's meaning. Faults are caused at the server
 * (killed, frozen, out of memory, queues deleted by an operator), never by calling our own callbacks. Each test has queues of
 * its own, so that a test's leftovers cannot help or hurt the next test.
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type { Test } from "tap";
import { serverFaults, stubborn } from "./conformance-faults.ts";
import { passing } from "./conformance-passing.ts";
import type { Conforming } from "./conformance-parts.ts";
import { forever, freshNames, holding, ids, message, publishAll, take, takeAll, text } from "./conformance-parts.ts";
import type { Names } from "../settings.ts";
import type { Broker, Delivery } from "../port.ts";

export async function brokerConformance(t: Test, it: Conforming): Promise<void> {
  await t.test(`${it.name}: messages`, (t) => messages(t, it));
  await t.test(`${it.name}: settling`, (t) => settling(t, it));
  await t.test(`${it.name}: replies and followers`, (t) => repliesAndFollowers(t, it));
  await t.test(`${it.name}: in passing`, (t) => passing(t, it));
  await t.test(`${it.name}: faults of the server`, (t) => serverFaults(t, it));
}

async function messages(t: Test, { open }: Conforming): Promise<void> {
  t.setTimeout(120_000);

  await t.test("what is told as stored is delivered whole", async (t) => {
    await using broker = await open(freshNames());
    const sent = message("ü", { replyTo: "somewhere", correlationId: "of mine", body: Buffer.from([0, 255, 10, 0]) });
    t.equal(await broker.publish("commands", sent, forever), "stored");
    const got = await take(broker.receive("commands", { inFlightMax: 1, signal: forever }));
    t.match(got, { id: sent.id, replyTo: "somewhere", correlationId: "of mine", redeliveries: 0 });
    t.same([...got.body], [0, 255, 10, 0]);
    await got.ack();
  });

  await t.test("a message of 900 KiB passes, and so does an empty one", async (t) => {
    await using broker = await open(freshNames());
    await broker.publish("facts", message(1, { body: Buffer.alloc(900 * 1024, 7) }), forever);
    await broker.publish("facts", message(2, { body: Buffer.alloc(0) }), forever);
    const [large, empty] = await takeAll(broker.receive("facts", { inFlightMax: 2, signal: forever }), 2);
    t.equal(large?.body.byteLength, 900 * 1024);
    t.equal(empty?.body.byteLength, 0);
  });

  await t.test("one publisher's messages arrive in its order", async (t) => {
    await using broker = await open(freshNames());
    await publishAll(broker, 200);
    const deliveries = broker.receive("commands", { inFlightMax: 7, signal: forever });
    const got: string[] = [];
    while (got.length < 200) {
      const delivery = await take(deliveries);
      got.push(delivery.id);
      await delivery.ack();
    }
    t.same(
      got,
      Array.from({ length: 200 }, (_, n) => `id-${n}`),
    );
  });

  await t.test("no more than inFlightMax are in hand", async (t) => {
    await using broker = await open(freshNames());
    await publishAll(broker, 8);
    const deliveries = broker.receive("commands", { inFlightMax: 5, signal: forever });
    const held = await takeAll(deliveries, 5);
    let sixth: Delivery | undefined;
    const waiting = take(deliveries).then((delivery) => (sixth = delivery));
    // Several messages pass through the server meanwhile. If a sixth delivery were on its way, it would arrive in that time.
    const facts = broker.receive("facts", { inFlightMax: 1, signal: forever });
    for (let n = 0; n < 5; n++) {
      await broker.publish("facts", message(n), forever);
      await (await take(facts)).ack();
    }
    t.equal(sixth, undefined, "a sixth was delivered before one of five was settled");
    await held[0]?.ack();
    t.equal((await waiting).id, "id-5");
  });

  await t.test("two receivers never hold the same message", async (t) => {
    const names = freshNames();
    await using one = await open(names);
    await using other = await open(names);
    await publishAll(one, 60);
    const stop = new AbortController();
    const seen: string[] = [];
    const lane = async (broker: Broker) => {
      for await (const delivery of broker.receive("commands", { inFlightMax: 4, signal: stop.signal })) {
        seen.push(delivery.id);
        await delivery.ack();
        if (seen.length === 60) stop.abort();
      }
    };
    await Promise.all([lane(one), lane(other)]);
    t.equal(new Set(seen).size, 60);
  });

  await t.test(
    "the signal ends the iteration, what is in hand may still be settled, and the rest waits for others",
    async (t) => {
      const names = freshNames();
      await using broker = await open(names);
      await publishAll(broker, 6);
      const stop = new AbortController();
      const deliveries = broker.receive("commands", { inFlightMax: 4, signal: stop.signal });
      const first = await take(deliveries);
      stop.abort();
      t.equal((await deliveries.next()).done, true);
      await first.ack();
      const rest = await takeAll(broker.receive("commands", { inFlightMax: 10, signal: forever }), 5);
      t.same([...ids(rest)].sort(), ["id-1", "id-2", "id-3", "id-4", "id-5"]);
    },
  );

  await t.test("closing the broker ends who receives", async (t) => {
    const broker = await open(freshNames());
    const ended = (async () => {
      for await (const delivery of broker.receive("commands", { inFlightMax: 1, signal: forever })) t.fail(delivery.id);
    })();
    await broker[Symbol.asyncDispose]();
    await ended;
    t.pass("the loop came to its end");
  });

  await t.test("it says who we are there and how much waits", async (t) => {
    await using broker = await open(freshNames());
    await publishAll(broker, 3);
    const report = await broker.inspect(forever);
    t.same(report.waiting, { commands: 3, facts: 0, quarantine: 0 });
    t.match(report.product, /\d+\.\d+/);
    t.not(report.user, "");
    t.same(broker.status(), { kind: "connected" });
  });
}

async function settling(t: Test, { open, server, url, holdAndDie }: Conforming): Promise<void> {
  t.setTimeout(120_000);

  await t.test("a message that was given back comes again and says so", async (t) => {
    await using broker = await open(freshNames());
    await publishAll(broker, 1);
    const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
    await (await take(deliveries)).requeue();
    const again = await take(deliveries);
    t.match(again, { id: "id-0", redeliveries: 1 });
    await again.ack();
  });

  await t.test("a message that was given back 200 times is still there", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await publishAll(broker, 1);
    const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
    for (let n = 0; n < 200; n++) await (await take(deliveries)).requeue();
    const last = await take(deliveries);
    t.equal(text(last), "body 0");
    t.ok(last.redeliveries >= 1);
    await last.ack();
    t.same(await server.quarantined(names), []);
  });

  await t.test("settling twice is a bug, and is told as one", async (t) => {
    await using broker = await open(freshNames());
    await publishAll(broker, 1);
    const delivery = await take(broker.receive("commands", { inFlightMax: 1, signal: forever }));
    await delivery.ack();
    await t.rejects(delivery.requeue(), /settled twice/);
  });

  await t.test("what is quarantined is kept with its reasons and never delivered again", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await publishAll(broker, 2);
    const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
    const problems = [{ path: "/data/run", code: "Missing", message: "A command names its run. „so“" }];
    await (await take(deliveries)).quarantine(problems);
    const next = await take(deliveries);
    t.equal(next.id, "id-1");
    await next.ack();
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 1 });
    // Reads the quarantine only now: reading gives the messages back, and those count again only a moment later.
    t.same(await server.quarantined(names), [{ id: "id-0", body: "body 0", key: "shop.prod.run.failed", problems }]);
  });

  await t.test("what a killed process held is delivered to another", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await publishAll(broker, 3);
    await (holdAndDie ?? heldAndKilled(url))(names, 3);
    const got = await takeAll(broker.receive("commands", { inFlightMax: 3, signal: forever }), 3);
    t.same([...ids(got)].sort(), ["id-0", "id-1", "id-2"]);
    t.ok(
      got.every((it) => it.redeliveries >= 1),
      "each says that it was delivered before",
    );
  });
}

const heldAndKilled =
  (url: string) =>
  async (names: Names, count: number): Promise<void> => {
    const victim = await holding(url, names, count);
    victim.kill("SIGKILL");
    await once(victim, "exit");
  };

async function repliesAndFollowers(t: Test, { open, server }: Conforming): Promise<void> {
  t.setTimeout(120_000);

  await t.test("a reply reaches the queue it names, and is unrouted when that is gone", async (t) => {
    await using broker = await open(freshNames());
    const queue = `upstream-${randomUUID()}`;
    await server.makeQueue(queue);
    t.equal(await broker.reply(queue, message(1), forever), "stored");
    t.same(await server.readQueue(queue), ["body 1"]);
    t.equal(await broker.reply(`${queue}-gone`, message(1), forever), "unrouted");
  });

  await t.test("a reply never reaches a queue of ours", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    for (const ours of [names.commands, names.facts, names.quarantine, `${names.follow}x`]) {
      t.equal(await broker.reply(ours, message(1), forever), "unrouted");
    }
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
  });

  await t.test("an event that nobody follows is stored", async (t) => {
    await using broker = await open(freshNames());
    t.equal(await broker.publish("events", message(1), forever), "stored");
  });

  await t.test("each follower gets what its pattern asks for, from when it is bound", async (t) => {
    const names = freshNames();
    await using broker = await open(names);
    await using other = await open(names);
    await broker.publish("events", message("before"), forever);
    const shop = await broker.follow("shop.#", { inFlightMax: 10, signal: forever });
    const failed = await other.follow("*.*.run.failed", { inFlightMax: 10, signal: forever });
    const keys = ["shop.a.run.started", "bank.b.run.failed", "shop", "shop.a.run.failed", "shopping.a.run.started"];
    for (const key of keys) await broker.publish("events", message(key, { key, correlationId: `of ${key}` }), forever);
    const heard = await takeAll(shop, 3);
    t.same(ids(heard), ["id-shop.a.run.started", "id-shop", "id-shop.a.run.failed"]);
    t.equal(heard[1]?.correlationId, "of shop");
    t.same(ids(await takeAll(failed, 2)), ["id-bank.b.run.failed", "id-shop.a.run.failed"]);
  });

  await t.test("a follower that leaves hinders nobody", async (t) => {
    await using broker = await open(freshNames());
    const leaving = new AbortController();
    const gone = await broker.follow("#", { inFlightMax: 1, signal: leaving.signal });
    const stays = await broker.follow("#", { inFlightMax: 1, signal: forever });
    leaving.abort();
    t.equal((await gone.next()).done, true);
    // If a queue goes while an event is on its way, the publisher may get a "retry", but the event is not lost.
    await stubborn(broker, "events", message(1));
    t.equal((await take(stays)).id, "id-1");
  });
}

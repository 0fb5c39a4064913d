/** The NATS adapter passes the conformance suite on a private server, and keeps messages that NATS alone could lose. */
// needs nats
// runs at most 12 min
import { openBroker } from "@longshore/broker/brokers.ts";
import { ACK_WAIT_MS, streamName } from "@longshore/broker/nats/topology.ts";
import type { Delivery } from "@longshore/broker/port.ts";
import type { Names } from "@longshore/broker/settings.ts";
import { stubborn } from "@longshore/broker/testing/conformance-faults.ts";
import type { Quarantined } from "@longshore/broker/testing/conformance-parts.ts";
import {
  forever,
  freshNames,
  holding,
  ids,
  message,
  publishAll,
  take,
  takeAll,
} from "@longshore/broker/testing/conformance-parts.ts";
import { brokerConformance } from "@longshore/broker/testing/conformance.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { jetstream, type StoredMsg } from "@nats-io/jetstream";
import t from "tap";
import { tcpProxy } from "../harness/faults/proxy.ts";
import { nats } from "../harness/nats/server.ts";
import { asOperator } from "../harness/nats/upstream.ts";

t.setTimeout(900_000);
await using server = await nats();

const open = (url: string, names: Partial<Names> = {}) =>
  openBroker({ url, names, log: silentLog, clock: systemClock, publishWithinMs: 1_000 });

async function stored(stream: string): Promise<readonly StoredMsg[]> {
  return await asOperator(server.url, async ({ streams }) => {
    const { state } = await streams.info(stream);
    const found: StoredMsg[] = [];
    for (let seq = state.first_seq; state.messages > 0 && seq <= state.last_seq; seq++) {
      const message = await streams.getMessage(stream, { seq });
      if (message !== null) found.push(message);
    }
    return found;
  });
}

await brokerConformance(t, {
  name: "NATS",
  url: server.url,
  settled: freshNames(),
  open: (names) => open(server.url, names),
  server: {
    kill: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    makeQueue: async (name) => void (await asOperator(server.url, ({ streams }) => streams.add({ name, subjects: [name] }))),
    readQueue: async (name) => (await stored(name)).map((it) => it.string()),
    quarantined: async (names) =>
      (await stored(streamName(names.quarantine))).map(
        (it): Quarantined => ({
          id: it.header.get("Longshore-Id"),
          body: it.string(),
          key: it.subject.slice(`${names.quarantine}.commands.`.length),
          problems: JSON.parse(it.header.get("Longshore-Problems")),
        }),
      ),
    deleteQueue: async (name) => void (await asOperator(server.url, ({ streams }) => streams.delete(streamName(name)))),
  },
});

await t.test("replies", async (t) => {
  await t.test("a reply reaches neither JetStream's API nor a subject beneath a name of ours, nor a wildcard", async (t) => {
    const names = freshNames();
    await using broker = await open(server.url, names);
    const bad = [
      `$JS.API.STREAM.DELETE.${streamName(names.commands)}`,
      `${names.commands}.x`,
      `${names.control}.x`,
      "replies.*",
      ">",
      "a b",
      "",
    ];
    for (const subject of bad) t.equal(await broker.reply(subject, message(1), forever), "unrouted", subject);
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
  });

  await t.test("one that we may not publish to is refused, not tried for ever", async (t) => {
    await using launcher = await open(server.as("launcher"));
    await t.rejects(launcher.reply("elsewhere.x", message(1), forever), { disposition: "refuse", message: /"elsewhere.x"/ });
  });
});

await t.test("what is published", async (t) => {
  await t.test("repeats of one id are all kept: facts repeat on purpose", async (t) => {
    await using broker = await open(server.url, freshNames());
    for (let n = 0; n < 3; n++) await broker.publish("facts", message("same"), forever);
    t.equal((await broker.inspect(forever)).waiting.facts, 3);
  });

  await t.test("a key that is no subject, and a message larger than the server takes, are refused", async (t) => {
    await using broker = await open(server.url, freshNames());
    for (const key of ["", "a..b", "a b", "a.*", ">"])
      await t.rejects(broker.publish("facts", message(1, { key }), forever), { disposition: "refuse", code: "MessageInvalid" });
    const body = Buffer.alloc(1024 * 1024 + 1);
    await t.rejects(broker.publish("facts", message(1, { body }), forever), { disposition: "refuse", message: /max_payload/ });
  });

  await t.test("a poisoned command as large as the server takes is put aside, without its reasons", async (t) => {
    const names = freshNames();
    await using broker = await open(server.url, names);
    await asOperator(server.url, async (_manager, connection) => {
      await jetstream(connection).publish(`${names.commands}.large`, Buffer.alloc(connection.info?.max_payload ?? 0));
    });
    const command = await take(broker.receive("commands", { inFlightMax: 1, signal: forever }));
    await command.quarantine([{ path: "/", code: "TooLarge", message: "x".repeat(100_000) }]);
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 1 });
  });

  await t.test("a full stream refuses, nothing is dropped for it, and what was taken is delivered", async (t) => {
    const names = freshNames();
    await using broker = await open(server.url, names);
    await asOperator(server.url, ({ streams }) => streams.update(streamName(names.commands), { max_msgs: 2 }));
    await publishAll(broker, 2);
    await t.rejects(broker.publish("commands", message(3), forever), { disposition: "retry", message: /maximum messages/ });
    t.same(ids(await takeAll(broker.receive("commands", { inFlightMax: 2, signal: forever }), 2)), ["id-0", "id-1"]);
  });
});

await t.test("doubt", async (t) => {
  await t.test("what a frozen process holds goes to another", async (t) => {
    const names = freshNames();
    await using broker = await open(server.url, names);
    await publishAll(broker, 2);
    const sleeper = await holding(server.url, names, 2);
    try {
      sleeper.kill("SIGSTOP");
      const got = await takeAll(broker.receive("commands", { inFlightMax: 2, signal: forever }), 2);
      t.same([...ids(got)].sort(), ["id-0", "id-1"]);
      sleeper.kill("SIGCONT");
      await Promise.all(got.map((it) => it.ack()));
      t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
    } finally {
      sleeper.kill("SIGKILL");
    }
  });

  await t.test("what takes longer than the server waits stays in hand, because it is said to be worked on", async (t) => {
    await using broker = await open(server.url, freshNames());
    await publishAll(broker, 1);
    const deliveries = broker.receive("commands", { inFlightMax: 2, signal: forever });
    const held = await take(deliveries);
    let again: Delivery | undefined;
    const waiting = take(deliveries).then((it) => (again = it));
    await systemClock.sleep(ACK_WAIT_MS * 1.5);
    t.equal(again, undefined, "it was delivered again while it was in hand");
    await held.ack();
    await broker.publish("commands", message("next"), forever);
    t.equal((await waiting).id, "id-next");
  });

  await t.test("a publisher whose confirmation was lost on the way is told to retry, and loses nothing by it", async (t) => {
    const names = freshNames();
    await using proxy = await tcpProxy("127.0.0.1", server.port);
    await using broker = await open(proxy.url(server.url), names);
    await publishAll(broker, 1);
    proxy.dropReplies(true);
    await t.rejects(broker.publish("commands", message("doubtful"), forever), { name: "Failure", disposition: "retry" });
    proxy.cut();
    proxy.dropReplies(false);
    await stubborn(broker, "commands", message("doubtful"));
    const got = await takeAll(broker.receive("commands", { inFlightMax: 5, signal: forever }), 3);
    t.same(ids(got), ["id-0", "id-doubtful", "id-doubtful"], "the first try arrived too, and is another message");
  });

  await t.test("a connection that is cut costs no message, and none comes that was acked", async (t) => {
    const names = freshNames();
    await using proxy = await tcpProxy("127.0.0.1", server.port);
    await using broker = await open(proxy.url(server.url), names);
    await publishAll(broker, 3);
    const deliveries = broker.receive("commands", { inFlightMax: 2, signal: forever });
    await (await take(deliveries)).ack();
    const held = await take(deliveries);
    proxy.cut();
    await held.ack(); // the connection is gone: this ack reaches nobody
    const left = new Map<string, number>();
    while (left.size < 2) {
      const it = await take(deliveries);
      left.set(it.id, it.redeliveries);
      await it.ack();
    }
    t.same([...left.keys()].sort(), ["id-1", "id-2"]);
    t.ok((left.get("id-1") ?? 0) >= 1, "it says that it is not the first time");
    t.same((await broker.inspect(forever)).waiting.commands, 0);
  });

  await t.test("an ack for a message of a deleted stream acks none of the stream that was made in its place", async (t) => {
    const names = freshNames();
    await using broker = await open(server.url, names);
    await publishAll(broker, 1);
    const deliveries = broker.receive("commands", { inFlightMax: 2, signal: forever });
    const old = await take(deliveries);
    await asOperator(server.url, ({ streams }) => streams.delete(streamName(names.commands)));
    await stubborn(broker, "commands", message("new")); // gets the number that the old message had
    const { id, ack } = await take(deliveries);
    t.equal(id, "id-new");
    await old.ack();
    t.equal((await broker.inspect(forever)).waiting.commands, 1, "the new message is still there");
    await ack();
    t.equal((await broker.inspect(forever)).waiting.commands, 0);
  });
});

await t.test("a MaxDeliver that somebody sets stops a message for a minute, and loses none (fault 54)", async (t) => {
  const exhausted = async (putBack: boolean): Promise<void> => {
    const names = freshNames();
    const stream = streamName(names.commands);
    await using broker = await open(server.url, names);
    const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
    await publishAll(broker, 1);
    await (await take(deliveries)).requeue();
    const limit = (max_deliver: number) =>
      asOperator(server.url, async ({ consumers }) => {
        const [only] = await consumers.list(stream).next();
        await consumers.update(stream, only?.name ?? "", { max_deliver });
        return only?.name ?? "";
      });
    const held = await take(deliveries);
    const name = await limit(2);
    await held.requeue();
    await systemClock.sleep(2_000);
    const given = await asOperator(server.url, ({ consumers }) => consumers.info(stream, name));
    t.same([given.num_ack_pending, given.num_pending], [0, 0], "the server delivers it no more");
    if (putBack) await limit(-1);
    const again = await take(deliveries);
    t.equal(again.id, "id-0");
    await again.ack();
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
  };
  await Promise.all([exhausted(false), exhausted(true)]);
});

/**
 * The NATS adapter passes the conformance suite on a private server, with the users that are deployed. If it cannot be opened,
 * it says why.
 */
// needs nats
// runs at most 12 min
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import type { Names } from "@longshore/broker/names.ts";
import { streamName } from "@longshore/broker/nats/subjects.ts";
import { ACK_WAIT_MS } from "@longshore/broker/nats/topology.ts";
import { openBroker } from "@longshore/broker/open.ts";
import type { Delivery } from "@longshore/broker/port.ts";
import { stubborn } from "@longshore/broker/testing/conformance-faults.ts";
import {
  forever,
  freshNames,
  holding,
  ids,
  message,
  publishAll,
  type Quarantined,
  take,
  takeAll,
} from "@longshore/broker/testing/conformance-parts.ts";
import { brokerConformance } from "@longshore/broker/testing/conformance.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { type JetStreamManager, jetstream, jetstreamManager, StorageType, type StoredMsg } from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/transport-node";
import t from "tap";
import { tcpProxy } from "../harness/faults/proxy.ts";
import { nats } from "../harness/nats/server.ts";
import { connected } from "../harness/nats/upstream.ts";

t.setTimeout(900_000);
await using server = await nats();

const open = (url: string, names: Partial<Names> = {}) =>
  openBroker({ url, names, log: silentLog, clock: systemClock, publishWithinMs: 1_000 });

async function asOperator<R>(work: (manager: JetStreamManager, connection: NatsConnection) => Promise<R>): Promise<R> {
  const connection = await connected(server.url);
  try {
    return await work(await jetstreamManager(connection), connection);
  } finally {
    await connection.close();
  }
}

async function stored(stream: string): Promise<readonly StoredMsg[]> {
  return await asOperator(async ({ streams }) => {
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
    makeQueue: async (name) => void (await asOperator(({ streams }) => streams.add({ name, subjects: [name] }))),
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
    deleteQueue: async (name) => void (await asOperator(({ streams }) => streams.delete(streamName(name)))),
  },
});

await t.test("opening", async (t) => {
  const at = new URL(server.url);

  await t.test("a wrong password is told with host and port and without the password", async (t) => {
    const error: unknown = await open(Object.assign(new URL(at), { password: "hunter2" }).href).catch((it: unknown) => it);
    t.match(error, { name: "Failure", disposition: "halt", code: "BrokerAuth" });
    t.match(String(error), new RegExp(`127.0.0.1:${at.port}.*"operator"`));
    t.notMatch(String(error), /hunter2/);
  });

  await t.test("no user where one is needed is told as such", async (t) => {
    await t.rejects(open(`nats://127.0.0.1:${at.port}`), { disposition: "halt", message: /client without a user/ });
  });

  await t.test("a closed port and a host without an address say so", async (t) => {
    await t.rejects(open("nats://u:p@127.0.0.1:1"), { disposition: "retry", message: /127.0.0.1:1 refused the connection/ });
    await t.rejects(open("nats://u:p@nowhere.invalid"), { disposition: "retry", message: /nowhere.invalid:4222 has no address/ });
  });

  await t.test("a server without TLS is told to who asks for it", async (t) => {
    await t.rejects(open(server.url.replace("nats:", "tls:")), { disposition: "halt", code: "BrokerTls", message: /no TLS/ });
  });

  await t.test("a server that speaks something else is told", async (t) => {
    const other = createServer((socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"));
    await once(other.listen(0, "127.0.0.1"), "listening");
    const { port } = other.address() as AddressInfo;
    await t.rejects(open(`nats://u:p@127.0.0.1:${port}`), { code: "BrokerUnreachable", message: /does not speak NATS/ });
    other.close();
  });

  await t.test("a server without JetStream is told, with what to do", async (t) => {
    await using bare = await nats({ jetstream: false });
    await t.rejects(open(bare.url), { disposition: "halt", code: "BrokerJetStream", message: /without JetStream.*Start it/ });
  });

  await t.test("a stream with other properties is told by their names, with what to do", async (t) => {
    const names = freshNames();
    const name = streamName(names.facts);
    const wrong = { subjects: [`${names.facts}.>`], storage: StorageType.Memory, max_age: nanos(60_000) };
    await asOperator(({ streams }) => streams.add({ name, ...wrong }));
    const message = new RegExp(`${name}.*retention is "limits".*storage is "memory".*max_age is .* Edit the stream`);
    await t.rejects(open(server.url, names), { disposition: "halt", code: "BrokerTopology", message });
  });

  await t.test("a subject that another stream takes is told", async (t) => {
    const names = freshNames();
    await asOperator(({ streams }) =>
      streams.add({ name: `other-${names.follow.slice(0, -8)}`, subjects: [`${names.commands}.x`] }),
    );
    await t.rejects(open(server.url, names), {
      disposition: "halt",
      code: "BrokerTopology",
      message: /another stream.*other names/,
    });
  });

  await t.test("settings that name users of the broker do not go with NATS, which tells none", async (t) => {
    const opening = openBroker({ url: server.url, log: silentLog, clock: systemClock, needsUsers: true });
    await t.rejects(opening, { disposition: "halt", code: "BrokerUsers", message: /NATS.*"operators"/ });
  });
});

await t.test("the users that are deployed", async (t) => {
  await using launcher = await open(server.as("launcher"));
  await using watcher = await open(server.as("watcher"));
  await using upstream = await open(server.as("upstream"));

  await t.test("each may do its work", async (t) => {
    const stop = new AbortController();
    const commands = launcher.receive("commands", { inFlightMax: 1, signal: stop.signal });
    const facts = launcher.receive("facts", { inFlightMax: 1, signal: stop.signal });
    const events = await upstream.follow("shop.#", { inFlightMax: 1, signal: forever });
    const heard = await watcher.listen("#", { inFlightMax: 1, signal: forever });
    const asked = await launcher.listen("#", { inFlightMax: 1, signal: forever });
    await upstream.publish("commands", message("command"), forever);
    await watcher.publish("facts", message("fact"), forever);
    await launcher.publish("events", message("event"), forever);
    t.equal(await launcher.broadcast(message("news"), forever), "stored");
    t.equal(Buffer.from((await heard.next()).value ?? "").toString(), "body news");
    await asked.next(); // the launcher hears its own news too
    t.equal(await watcher.broadcast(message("question"), forever), "stored");
    t.equal(Buffer.from((await asked.next()).value ?? "").toString(), "body question");
    const command = await take(commands);
    t.equal(command.id, "id-command");
    t.equal(command.user, undefined, "NATS does not tell who published");
    await command.quarantine([]);
    const fact = await take(facts);
    t.equal(fact.id, "id-fact");
    await fact.requeue();
    await (await take(facts)).ack();
    const event = await take(events);
    t.equal(event.id, "id-event");
    await event.ack();
    t.same((await launcher.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 1 });
    stop.abort();
  });

  await t.test("upstream may wait for replies as NATS applications do", async (t) => {
    const connection = await connected(server.as("upstream"));
    const inbox = "replies.mine";
    t.equal(await launcher.reply(inbox, message("nobody"), forever), "unrouted");
    const replies = connection.subscribe(inbox, { max: 1 });
    await connection.flush();
    t.equal(await launcher.reply(inbox, message("reply"), forever), "stored");
    for await (const it of replies) t.equal(it.string(), "body reply");
    await connection.close();
  });

  await t.test("the watcher can read no command, no event and no fact, and publish no command and no event", async (t) => {
    await upstream.publish("commands", message("secret"), forever);
    for (const topic of ["commands", "events"] as const) {
      const subject = new RegExp(`"watcher" to publish to "longshore.${topic}.`);
      await t.rejects(watcher.publish(topic, message(topic), forever), {
        disposition: "retry",
        code: "BrokerForbidden",
        message: subject,
      });
    }
    await t.rejects(watcher.follow("#", { inFlightMax: 1, signal: forever }), {
      code: "BrokerForbidden",
      message: /CONSUMER.CREATE/,
    });
    const inboxPrefix = "longshore.follow.watcher";
    const connection = await connected(server.as("watcher"), inboxPrefix);
    for (const stream of ["LONGSHORE_COMMANDS", "LONGSHORE_EVENTS", "LONGSHORE_FACTS", "LONGSHORE_QUARANTINE"]) {
      const { streams, consumers } = await jetstreamManager(connection, { checkAPI: false });
      await t.rejects(streams.getMessage(stream, { seq: 1 }), /Permissions Violation/, `get from ${stream}`);
      await t.rejects(consumers.add(stream, { name: "spy" }), /Permissions Violation/, `consume ${stream}`);
      await t.rejects(streams.delete(stream), /Permissions Violation/, `delete ${stream}`);
    }
    for (const subject of [
      "longshore.commands.>",
      "longshore.facts.>",
      "longshore.events.>",
      "longshore.follow.launcher.>",
      "_INBOX.>",
      ">",
    ]) {
      const refused = Promise.withResolvers<Error | null>();
      connection.subscribe(subject, { callback: (error) => refused.resolve(error) });
      t.match(await refused.promise, /Permissions Violation/, `subscribe to ${subject}`);
    }
    await connection.close();
    await (await take(launcher.receive("commands", { inFlightMax: 1, signal: forever }))).ack();
  });

  await t.test("upstream can publish no fact and no event, and read no command", async (t) => {
    for (const topic of ["facts", "events"] as const)
      await t.rejects(upstream.publish(topic, message(topic), forever), { code: "BrokerForbidden" });
    await t.rejects(upstream.inspect(forever), { code: "BrokerForbidden", message: /"upstream".*LONGSHORE_COMMANDS/ });
    const listening = upstream.listen("#", { inFlightMax: 1, signal: forever });
    await t.rejects(listening, { disposition: "halt", message: /subscribe to "longshore.control.>"/ });
  });

  await t.test("a user that may not read the answers to its own requests is told its inbox", async (t) => {
    const opening = open(server.as("launcher"), { follow: "elsewhere.follow." });
    await t.rejects(opening, { disposition: "halt", message: /"launcher" to subscribe to "elsewhere.follow.launcher./ });
  });
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
    await asOperator(async (_manager, connection) => {
      await jetstream(connection).publish(`${names.commands}.large`, Buffer.alloc(connection.info?.max_payload ?? 0));
    });
    const command = await take(broker.receive("commands", { inFlightMax: 1, signal: forever }));
    await command.quarantine([{ path: "/", code: "TooLarge", message: "x".repeat(100_000) }]);
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 1 });
  });

  await t.test("a full stream refuses, nothing is dropped for it, and what was taken is delivered", async (t) => {
    const names = freshNames();
    await using broker = await open(server.url, names);
    await asOperator(({ streams }) => streams.update(streamName(names.commands), { max_msgs: 2 }));
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
    await asOperator(({ streams }) => streams.delete(streamName(names.commands)));
    await stubborn(broker, "commands", message("new")); // has the same number as the old one
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
      asOperator(async ({ consumers }) => {
        const [only] = await consumers.list(stream).next();
        await consumers.update(stream, only?.name ?? "", { max_deliver });
        return only?.name ?? "";
      });
    const held = await take(deliveries);
    const name = await limit(2);
    await held.requeue();
    await systemClock.sleep(2_000);
    const given = await asOperator(({ consumers }) => consumers.info(stream, name));
    t.same([given.num_ack_pending, given.num_pending], [0, 0], "the server delivers it no more");
    if (putBack) await limit(-1);
    const again = await take(deliveries);
    t.equal(again.id, "id-0");
    await again.ack();
    t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
  };
  await Promise.all([exhausted(false), exhausted(true)]);
});

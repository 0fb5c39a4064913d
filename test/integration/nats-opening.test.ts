/**
 * The NATS adapter works with the rights of the deployed users, and they have no other rights. If it cannot be opened, it says
 * why.
 */
// needs nats
// runs at most 12 min
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { openBroker } from "@longshore/broker/brokers.ts";
import { streamName } from "@longshore/broker/nats/topology.ts";
import type { Names } from "@longshore/broker/settings.ts";
import { forever, freshNames, message, take } from "@longshore/broker/testing/conformance-parts.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { jetstreamManager, StorageType } from "@nats-io/jetstream";
import { nanos } from "@nats-io/transport-node";
import t from "tap";
import { nats } from "../harness/nats/server.ts";
import { asOperator, connected } from "../harness/nats/upstream.ts";

t.setTimeout(300_000);
await using server = await nats();

const open = (url: string, names: Partial<Names> = {}) =>
  openBroker({ url, names, log: silentLog, clock: systemClock, publishWithinMs: 1_000 });

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
    await asOperator(server.url, ({ streams }) => streams.add({ name, ...wrong }));
    const message = new RegExp(`${name}.*retention is "limits".*storage is "memory".*max_age is .* Edit the stream`);
    await t.rejects(open(server.url, names), { disposition: "halt", code: "BrokerTopology", message });
  });

  await t.test("a subject that another stream takes is told", async (t) => {
    const names = freshNames();
    await asOperator(server.url, ({ streams }) =>
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

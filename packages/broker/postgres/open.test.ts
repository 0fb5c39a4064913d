// runs with integration
/** The broker in Postgres passes the conformance suite on a private embedded Postgres. If the broker cannot be opened, the error says why. */
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import pg from "pg";
import t from "tap";
import { postgres } from "../../../test/harness/servers/postgres.ts";
import { tcpProxy } from "../../../test/harness/faults/proxy.ts";
import { brokerConformance } from "../testing/conformance.ts";
import { stubborn } from "../testing/conformance-faults.ts";
import type { Quarantined } from "../testing/conformance-parts.ts";
import { forever, freshNames, holding, ids, message, publishAll, take, takeAll } from "../testing/conformance-parts.ts";
import { openBroker } from "../brokers.ts";

t.setTimeout(300_000);
const server = await postgres();
t.teardown(() => server[Symbol.asyncDispose]());

const open = (url: string) => openBroker({ url, log: silentLog, clock: systemClock, publishWithinMs: 1_000 });

async function sql<R extends pg.QueryResultRow>(statement: string, parameters: readonly unknown[] = []): Promise<readonly R[]> {
  const client = new pg.Client(server.url);
  await client.connect();
  try {
    return (await client.query<R>(statement, [...parameters])).rows;
  } finally {
    await client.end();
  }
}

await brokerConformance(t, {
  name: "postgres",
  url: server.url,
  settled: freshNames(),
  open: (names) => openBroker({ url: server.url, names, log: silentLog, clock: systemClock, publishWithinMs: 1_000 }),
  server: {
    kill: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    makeQueue: async (name) => void (await sql("insert into longshore_broker.queue (name) values ($1)", [name])),
    readQueue: async (name) => {
      const rows = await sql<{ body: Buffer }>("select body from longshore_broker.message where queue = $1 order by id", [name]);
      return rows.map((it) => it.body.toString());
    },
    quarantined: async (names) => {
      const statement = "select message_id, body, key, problems from longshore_broker.message where queue = $1 order by id";
      const rows = await sql<{ message_id: string; body: Buffer; key: string; problems: unknown }>(statement, [names.quarantine]);
      return rows.map(
        ({ message_id, body, key, problems }): Quarantined => ({ id: message_id, body: body.toString(), key, problems }),
      );
    },
    deleteQueue: async () => void (await sql("drop schema longshore_broker cascade")),
  },
});

t.test("doubt", async (t) => {
  t.setTimeout(120_000);

  await t.test(
    "a frozen process's messages go to another one when its session ends, and it finds a new session when it wakes",
    async (t) => {
      const names = freshNames();
      await using broker = await openBroker({ url: server.url, names, log: silentLog, clock: systemClock });
      await publishAll(broker, 2);
      const sleeper = await holding(server.url, names, 2);
      try {
        sleeper.kill("SIGSTOP");
        // Lets every session run out now instead of after ten seconds. A session that is awake renews itself a moment later.
        await sql("update longshore_broker.session set until = now() - interval '1 second'");
        const deliveries = broker.receive("commands", { inFlightMax: 2, signal: forever });
        const got = await takeAll(deliveries, 2);
        t.same(ids(got), ["id-0", "id-1"]);
        sleeper.kill("SIGCONT");
        await Promise.all(got.map((it) => it.ack()));
        t.same((await broker.inspect(forever)).waiting, { commands: 0, facts: 0, quarantine: 0 });
      } finally {
        sleeper.kill("SIGKILL");
      }
    },
  );

  await t.test("a publisher whose confirmation was lost on the way is told to retry, and loses nothing by it", async (t) => {
    const names = freshNames();
    await using proxy = await tcpProxy("127.0.0.1", server.port);
    await using broker = await openBroker({
      url: proxy.url(server.url),
      names,
      log: silentLog,
      clock: systemClock,
      publishWithinMs: 1_000,
    });
    await publishAll(broker, 1);
    proxy.dropReplies(true);
    await t.rejects(broker.publish("commands", message("doubtful"), forever), { name: "Failure", disposition: "retry" });
    proxy.cut();
    proxy.dropReplies(false);
    await stubborn(broker, "commands", message("doubtful"));
    await using other = await openBroker({ url: server.url, names, log: silentLog, clock: systemClock });
    const deliveries = other.receive("commands", { inFlightMax: 5, signal: forever });
    t.same(ids(await takeAll(deliveries, 2)), ["id-0", "id-doubtful"]);
  });

  await t.test("a claim or an ack whose answer was lost holds nothing for ever", async (t) => {
    const names = freshNames();
    await using proxy = await tcpProxy("127.0.0.1", server.port);
    await using broker = await openBroker({ url: proxy.url(server.url), names, log: silentLog, clock: systemClock });
    await using other = await openBroker({ url: server.url, names, log: silentLog, clock: systemClock });
    const deliveries = broker.receive("commands", { inFlightMax: 1, signal: forever });
    await publishAll(other, 1);
    const first = await take(deliveries);
    proxy.dropReplies(true);
    const acking = first.ack();
    await proxy.received(proxy.count("toServer") + 1);
    proxy.cut();
    proxy.dropReplies(false);
    await acking;
    await publishAll(other, 3);
    const left = new Set(["id-1", "id-2"]); // id-0 may come again if its ack was lost
    while (left.size > 0) {
      const delivery = await take(deliveries);
      left.delete(delivery.id);
      await delivery.ack();
    }
    t.same((await other.inspect(forever)).waiting.commands, 0);
  });
});

t.test("opening", async (t) => {
  const at = new URL(server.url);

  await t.test("a wrong password is told with host and port and without the password", async (t) => {
    const error: unknown = await open(Object.assign(new URL(at), { password: "hunter2" }).href).catch((it: unknown) => it);
    t.match(error, { name: "Failure", disposition: "halt", code: "BrokerAuth" });
    t.match(String(error), new RegExp(`127.0.0.1:${at.port}.*"longshore"`));
    t.notMatch(String(error), /hunter2/);
  });

  await t.test("a database that is not there is told by its name", async (t) => {
    await t.rejects(open(Object.assign(new URL(at), { pathname: "/nowhere" }).href), {
      code: "BrokerSpace",
      message: /"nowhere"/,
    });
  });

  await t.test("a closed port says so", async (t) => {
    await t.rejects(open("postgres://u:p@127.0.0.1:1/x"), {
      disposition: "retry",
      message: /127.0.0.1:1 refused the connection/,
    });
  });

  await t.test("a host without an address says so", async (t) => {
    await t.rejects(open("postgres://u:p@nowhere.invalid/x"), { disposition: "retry", message: /nowhere.invalid:5432/ });
  });

  await t.test("an unknown scheme lists the known ones", async (t) => {
    await t.rejects(open("kafka://u:p@h/x"), { disposition: "halt", message: /"kafka".*amqp.*postgres/ });
  });

  await t.test("a text that is no URL is answered with what a URL looks like", async (t) => {
    await t.rejects(open("rabbit"), { disposition: "halt", message: /amqp:\/\/user:password@host:5672/ });
  });

  await t.test("eight that start at once on an empty database all come up", async (t) => {
    const url = await server.database();
    const brokers = await Promise.all(Array.from({ length: 8 }, () => open(url)));
    t.same(
      brokers.map((it) => it.status().kind),
      Array.from({ length: 8 }, () => "connected"),
    );
    await Promise.all(brokers.map((it) => it[Symbol.asyncDispose]()));
  });

  await t.test("tables of a version without listeners get the missing parts, and keep their rows", async (t) => {
    const url = await server.database();
    {
      await using earlier = await open(url);
      await publishAll(earlier, 1);
    }
    const client = new pg.Client(url);
    await client.connect();
    await client.query("drop table longshore_broker.listener");
    await client.end();
    await using broker = await open(url);
    const heard = await broker.listen("#", { inFlightMax: 1, signal: forever });
    await broker.broadcast(message("news"), forever);
    t.equal(Buffer.from((await heard.next()).value ?? "").toString(), "body news");
    t.equal((await broker.inspect(forever)).waiting.commands, 1);
  });

  await t.test("a message with a NUL in its id is refused and its batch is not", async (t) => {
    await using broker = await open(await server.database());
    const signal = new AbortController().signal;
    const body = Buffer.from("x");
    const [bad, good] = await Promise.allSettled([
      broker.publish("commands", { id: "a\0b", key: "k", body }, signal),
      broker.publish("commands", { id: "good", key: "k", body }, signal),
    ]);
    t.match(bad, { status: "rejected", reason: { disposition: "refuse", code: "MessageInvalid" } });
    t.match(good, { status: "fulfilled", value: "stored" });
  });
});

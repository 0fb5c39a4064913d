/** The broker in Postgres passes the conformance suite on a private embedded Postgres, and explains itself when it cannot be opened. */
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import pg from "pg";
import t from "tap";
import { postgres } from "../../test/harness/postgres.ts";
import { brokerConformance } from "./conformance.ts";
import type { Quarantined } from "./conformance-parts.ts";
import { openBroker } from "./open.ts";

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

  await t.test("what is no URL says what one looks like", async (t) => {
    await t.rejects(open("rabbit"), { disposition: "halt", message: /amqp:\/\/host:5672/ });
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

/**
 * The RabbitMQ adapter passes the conformance suite on private servers of both versions. If it cannot be opened, it says why.
 */
// needs rabbitmq
// runs at most 12 min
import { openBroker } from "@longshore/broker/brokers.ts";
import { brokerConformance } from "@longshore/broker/testing/conformance.ts";
import { forever, freshNames, publishAll, type Quarantined } from "@longshore/broker/testing/conformance-parts.ts";
import type { Names } from "@longshore/broker/settings.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { type Channel, connect } from "amqplib";
import t, { type Test } from "tap";
import { rabbitmq, type TestRabbitmq } from "../harness/rabbitmq/server.ts";

t.setTimeout(900_000);

/**
 * Declares the queues, and stops RabbitMQ in an orderly way, so that it writes them to the disk: a kill -9 may lose queues that
 * were declared in the last seconds.
 */
async function settledNames(server: TestRabbitmq): Promise<Names> {
  const names = freshNames();
  await using _declared = await open(server.url, names);
  await server.ctl("stop_app");
  await server.ctl("start_app");
  return names;
}

const open = (url: string, names: Partial<Names> = {}) =>
  openBroker({ url, names, log: silentLog, clock: systemClock, publishWithinMs: 1_000 });

/** Acts as an operator or an upstream application, on a connection of its own. */
async function asOther<R>({ url }: TestRabbitmq, work: (channel: Channel) => Promise<R>): Promise<R> {
  const model = await connect(url);
  try {
    return await work(await model.createChannel());
  } finally {
    await model.close();
  }
}

/** The first check of the queues begins with the opening, and the end breaks it off. */
async function stopped(t: Test, server: TestRabbitmq): Promise<void> {
  const errors: unknown[] = [];
  const log = { ...silentLog, error: (...said: unknown[]) => void errors.push(said) };
  const clock = {
    ...systemClock,
    sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms === 30_000 ? 0 : ms, signal),
  };
  for (let times = 0; times < 5; times++) {
    await using _broker = await openBroker({ url: server.url, names: freshNames(), log, clock });
    await systemClock.sleep(times);
  }
  t.same(errors, []);
}

async function drain(server: TestRabbitmq, queue: string): Promise<readonly Quarantined[]> {
  return await asOther(server, async (channel) => {
    const found: Quarantined[] = [];
    for (let it = await channel.get(queue); it !== false; it = await channel.get(queue)) {
      const problems: unknown = it.properties.headers?.["x-longshore-problems"];
      found.push({
        id: String(it.properties.messageId),
        body: it.content.toString(),
        key: it.fields.routingKey,
        problems: typeof problems === "string" ? (JSON.parse(problems) as unknown) : undefined,
      });
    }
    return found; // the channel closes without acks, so the messages stay
  });
}

async function opening(t: Test, server: TestRabbitmq): Promise<void> {
  const at = new URL(server.url);

  await t.test("a wrong password is told with host and port and without the password", async (t) => {
    const error: unknown = await open(Object.assign(new URL(at), { password: "hunter2" }).href).catch((it: unknown) => it);
    t.match(error, { name: "Failure", disposition: "halt", code: "BrokerAuth" });
    t.match(String(error), new RegExp(`127.0.0.1:${at.port}.*"longshore"`));
    t.notMatch(String(error), /hunter2/);
  });

  await t.test("a virtual host that is not there is told by its name", async (t) => {
    await t.rejects(open(Object.assign(new URL(at), { pathname: "/nowhere" }).href), {
      code: "BrokerSpace",
      message: /"nowhere"/,
    });
  });

  await t.test("a closed port says so", async (t) => {
    await t.rejects(open("amqp://u:p@127.0.0.1:1/"), { disposition: "retry", message: /127.0.0.1:1 refused the connection/ });
  });

  await t.test("a queue of that name with other properties is told, with what to do", async (t) => {
    await asOther(server, (channel) => channel.assertQueue("taken.commands", { durable: true }));
    await t.rejects(open(server.url, { commands: "taken.commands" }), {
      disposition: "halt",
      message: /"taken.commands".*another name/,
    });
  });

  await t.test("a user who may not declare works with what is there, and hears what is missing", async (t) => {
    await using _first = await open(server.url);
    await server.ctl("add_user", "watcher", "secret");
    await server.ctl("set_permissions", "watcher", "^longshore\\.follow", ".*", ".*");
    await using broker = await openBroker({
      url: server.url,
      user: "watcher",
      password: "secret",
      log: silentLog,
      clock: systemClock,
    });
    t.equal(
      await broker.publish("facts", { id: "1", key: "job.started", body: Buffer.from("x") }, new AbortController().signal),
      "stored",
    );
    const restricted = Object.assign(new URL(at), { username: "watcher", password: "secret" }).href;
    await t.rejects(open(restricted, { facts: "nobody.declared" }), { disposition: "halt", code: "BrokerForbidden" });
    const waiting = openBroker({
      url: restricted,
      names: { facts: "nobody.declared" },
      log: silentLog,
      clock: systemClock,
      waitsForLauncher: true,
    });
    await t.rejects(waiting, {
      disposition: "retry",
      code: "BrokerUndeclared",
      message: /127\.0\.0\.1:\d+, virtual host "\/", has no .*"nobody\.declared".*launcher's first start/,
    });
  });
}

async function limited(t: Test, server: TestRabbitmq): Promise<void> {
  const names = freshNames();
  await using broker = await open(server.url, names);
  await server.ctl(
    "set_policy",
    "careless",
    `^${names.commands.replace(".", "\\.")}$`,
    '{"delivery-limit": 3}',
    "--apply-to",
    "queues",
  );
  await publishAll(broker, 1);
  const stop = new AbortController();
  let delivered = 0;
  const giving = (async () => {
    for await (const delivery of broker.receive("commands", { inFlightMax: 1, signal: stop.signal })) {
      delivered++;
      await delivery.requeue();
    }
  })();
  let kept: readonly Quarantined[] = [];
  while (kept.length === 0 && delivered < 20) kept = await drain(server, names.quarantine);
  stop.abort();
  await giving;
  const { waiting } = await broker.inspect(forever);
  t.ok(
    kept.length + waiting.commands >= 1,
    `after ${delivered} deliveries under a limit of 3 it is in quarantine or still there`,
  );
}

for (const version of ["3.10", "4.0"] as const) {
  await t.test(`RabbitMQ ${version}`, async (t) => {
    t.setTimeout(600_000);
    await using server = await rabbitmq({ version });
    const settled = await settledNames(server);
    await brokerConformance(t, {
      name: `RabbitMQ ${version}`,
      url: server.url,
      settled,
      open: (names) => open(server.url, names),
      server: {
        kill: () => server.kill(),
        start: () => server.start(),
        freeze: () => server.freeze(),
        thaw: () => server.thaw(),
        block: () => server.block(),
        unblock: () => server.unblock(),
        makeQueue: async (name) => void (await asOther(server, (channel) => channel.assertQueue(name, { durable: true }))),
        readQueue: async (name) => (await drain(server, name)).map((it) => it.body),
        quarantined: (names) => drain(server, names.quarantine),
        deleteQueue: async (name) => void (await asOther(server, (channel) => channel.deleteQueue(name))),
        unbind: async (queue, exchange) => void (await asOther(server, (channel) => channel.unbindQueue(queue, exchange, "#"))),
      },
    });
    await t.test("opening", (t) => opening(t, server));
    await t.test("an orderly stop logs no error of the check that it breaks off", (t) => stopped(t, server));
    await t.test("a delivery limit that an operator sets sends messages to quarantine and loses none", (t) => limited(t, server));
  });
}

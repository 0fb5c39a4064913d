/**
 * RabbitMQ is killed, is frozen, has no memory left, or loses queues and bindings, while runs are under way. (Faults 45–48, 52,
 * 53 in GUARANTEES.md.)
 */
// needs rabbitmq
// runs at most 12 min
import { readFile } from "node:fs/promises";
import { type Channel, connect } from "amqplib";
import t from "tap";
import { readEvent } from "@longshore/contract/messages/envelope.ts";
import { NAMES } from "@longshore/broker/settings.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { openSystem } from "../harness/system.ts";
import { UPSTREAM } from "../harness/upstream.ts";
import { faultsOfHeard, heardOf } from "../judge/stories.ts";
import { brokerIsFrozen, brokerIsKilled, factsAreLost, names, queuesAreDeleted, sent } from "./bodies/broker-broken.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const RSS_MOST_KB = 512 * 1024;

await using rabbit = await rabbitmq({ version: "4.0" });
await using system = await openSystem({ brokerUrl: rabbit.url, instant: true, jobs: 1000 });
// A kill may cost RabbitMQ the queues that a client declared in the last seconds. An orderly stop writes them to the disk.
await rabbit.ctl("stop_app");
await rabbit.ctl("start_app");

/** Acts as an operator, on a connection of its own. */
async function asOther<R>(work: (channel: Channel) => Promise<R>): Promise<R> {
  const model = await connect(rabbit.url);
  try {
    return await work(await model.createChannel());
  } finally {
    await model.close();
  }
}

const server = { ...rabbit, deleteQueue: (name: string) => asOther((channel) => channel.deleteQueue(name)) };

await using watcher = await system.watcher();
await using launcher = await system.launcher();

await brokerIsKilled(t, system, server);
await brokerIsFrozen(t, system, server, launcher);

await t.test("RabbitMQ's memory alarm stops everybody who publishes: the launcher goes on and stays small", async (t) => {
  await launcher.stop();
  const before = (await system.created()).length;
  const runs = names("blocked", 300);
  await sent(system, runs);
  await rabbit.block();
  await using another = await system.launcher();
  await system.until("the Jobs", async () => (await system.created()).length === before + runs.length);
  const rss = Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${another.pid}/status`, "utf8"))?.[1]);
  t.ok(rss < RSS_MOST_KB, `the launcher holds ${Math.round(rss / 1024)} MB`);
  await rabbit.unblock();
  t.same(await system.faults(runs), []);
});

await factsAreLost(t, system, server, watcher);

await using _later = await system.watcher();
await using _again = await system.launcher();

await queuesAreDeleted(t, system, server);

await t.test("the bindings of commands and facts are removed: what was sent meanwhile is taken in", async (t) => {
  await asOther(async (channel) => {
    await channel.unbindQueue(NAMES.commands, NAMES.commands, "#");
    await channel.unbindQueue(NAMES.facts, NAMES.facts, "#");
  });
  const runs = names("unbound", 5);
  await sent(system, runs);
  t.same(await system.faults(runs), []);
});

await t.test("nobody upstream is bound to the events: the history has them all", async (t) => {
  await asOther((channel) => channel.unbindQueue(UPSTREAM, NAMES.events, "#"));
  const runs = names("unheard", 5);
  await sent(system, runs);
  const told = async (): Promise<boolean> => {
    const records = await Promise.all(runs.map((run) => system.ledger.find(RunId.parse(run))));
    return records.every((it) => it?.record.run.state === "ended") && (await system.ledger.counts()).outbox === 0;
  };
  await system.until("runs that are over, and told", told);
  const stories = await asOther(async (channel) => {
    const events: Extract<ReturnType<typeof readEvent>, { kind: "event" }>["event"][] = [];
    await channel.prefetch(500);
    await channel.consume(
      NAMES.history,
      (message) => {
        if (message === null) return;
        const read = readEvent(message.content);
        if (read.kind === "event" && runs.includes(read.event.subject ?? "")) events.push(read.event);
        channel.ack(message);
      },
      { arguments: { "x-stream-offset": "first" } },
    );
    await system.until("the history", () =>
      runs.every((run) => events.some((it) => it.subject === run && it.type === "run.succeeded")),
    );
    return events;
  });
  t.same(
    runs.flatMap((run) => faultsOfHeard(run, stories.filter(({ subject }) => subject === run).flatMap(heardOf))),
    [],
  );
  await asOther((channel) => channel.bindQueue(UPSTREAM, NAMES.events, "#"));
});

/**
 * RabbitMQ is killed, frozen, out of memory, and loses queues and bindings while runs are under way. (Faults 45–48, 52, 53 in GUARANTEES.md.)
 */
// needs rabbitmq
// runs at most 12 min
import { readFile } from "node:fs/promises";
import { type Channel, connect } from "amqplib";
import t from "tap";
import { readEvent } from "@longshore/contract/envelope.ts";
import { NAMES } from "@longshore/broker/names.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { openSystem } from "../harness/system.ts";
import { UPSTREAM } from "../harness/upstream.ts";
import { faultsOfHeard, heardOf } from "../judge/stories.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const names = (prefix: string, most: number): readonly string[] => Array.from({ length: most }, (_, n) => `${prefix}/${n}`);
const RSS_MOST_KB = 512 * 1024;

await using rabbit = await rabbitmq({ version: "4.0" });
await using system = await openSystem({ brokerUrl: rabbit.url, instant: true, jobs: 1000 });
// RabbitMQ may lose queues that it made in the last seconds before a kill, for any client. An orderly stop writes them.
await rabbit.ctl("stop_app");
await rabbit.ctl("start_app");

const sent = (runs: readonly string[]): Promise<unknown> =>
  Promise.all(runs.map((run) => system.command("run.requested", { run, ...quick })));

/** Acts as an operator, on a connection of its own. */
async function asOther<R>(work: (channel: Channel) => Promise<R>): Promise<R> {
  const model = await connect(rabbit.url);
  try {
    return await work(await model.createChannel());
  } finally {
    await model.close();
  }
}

const timeOf = (line: string): string => /"time":"([^"]+)"/.exec(line)?.[1] ?? "";

await using watcher = await system.watcher();
await using launcher = await system.launcher();

await t.test("kill -9 of RabbitMQ while messages of every kind wait for their confirms: no run is lost", async (t) => {
  const runs = names("killed", 200);
  const sending = sent(runs);
  await system.heard("run.succeeded", "killed/20");
  await rabbit.kill();
  await rabbit.start();
  await sending;
  t.same(await system.faults(runs), []);
});

await t.test("RabbitMQ freezes until the launcher has given its connection up, and thaws: no run is lost", async (t) => {
  const runs = names("frozen", 100);
  const sending = sent(runs);
  await system.heard("run.accepted", "frozen/0");
  await rabbit.freeze();
  const frozenAt = new Date().toISOString();
  const isLoss = (line: string): boolean => line.includes("lost the connection to the broker") && timeOf(line) > frozenAt;
  await system.until("the launcher to give its connection up", () => launcher.said.some(isLoss));
  await rabbit.thaw();
  await sending;
  t.same(await system.faults(runs), []);
});

await t.test("RabbitMQ's memory alarm stops everybody who publishes: the launcher goes on and stays small", async (t) => {
  await launcher.stop();
  const before = (await system.created()).length;
  const runs = names("blocked", 300);
  await sent(runs);
  await rabbit.block();
  await using another = await system.launcher();
  await system.until("the Jobs", async () => (await system.created()).length === before + runs.length);
  const rss = Number(/VmRSS:\s+(\d+) kB/.exec(await readFile(`/proc/${another.pid}/status`, "utf8"))?.[1]);
  t.ok(rss < RSS_MOST_KB, `the launcher holds ${Math.round(rss / 1024)} MB`);
  await rabbit.unblock();
  t.same(await system.faults(runs), []);
});

await t.test(
  "a queue full of facts is deleted while no launcher is there: the next watcher tells again what was lost",
  async (t) => {
    const gone = await system.launcher();
    watcher.signal("SIGSTOP");
    const runs = names("lost", 20);
    await sent(runs);
    await Promise.all(runs.map((run) => system.heard("run.launched", run)));
    await gone.stop();
    watcher.signal("SIGCONT");
    const waiting = async (): Promise<number> => await asOther(async (it) => (await it.checkQueue(NAMES.facts)).messageCount);
    await system.until("the facts", async () => (await waiting()) >= runs.length);
    await asOther((channel) => channel.deleteQueue(NAMES.facts));
    await watcher.stop(); // it repeats facts only after a minute; a new watcher tells all held Jobs at once
    await using _next = await system.launcher();
    await using _anew = await system.watcher();
    t.same(await system.faults(runs), []);
  },
);

await using _later = await system.watcher();
await using _again = await system.launcher();

await t.test("the server cancels the consumers, since their queues are deleted: they are made again and consumed", async (t) => {
  for (const queue of [NAMES.facts, NAMES.commands]) await asOther((channel) => channel.deleteQueue(queue));
  const runs = names("cancelled", 20);
  await sent(runs);
  t.same(await system.faults(runs), []);
});

await t.test("the bindings of commands and facts are removed: what was sent meanwhile is taken in", async (t) => {
  await asOther(async (channel) => {
    await channel.unbindQueue(NAMES.commands, NAMES.commands, "#");
    await channel.unbindQueue(NAMES.facts, NAMES.facts, "#");
  });
  const runs = names("unbound", 5);
  await sent(runs);
  t.same(await system.faults(runs), []);
});

await t.test("nobody upstream is bound to the events: the history has them all", async (t) => {
  await asOther((channel) => channel.unbindQueue(UPSTREAM, NAMES.events, "#"));
  const runs = names("unheard", 5);
  await sent(runs);
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

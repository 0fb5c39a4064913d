/**
 * Incoming messages are poison, or come ten times and in any order: through RabbitMQ, with real services. (Faults 49, 51 in
 * GUARANTEES.md.)
 */
// needs rabbitmq
import { type Channel, type ConsumeMessage, connect } from "amqplib";
import t from "tap";
import { NAMES } from "@longshore/broker/settings.ts";
import { PREFIX, writeCommand } from "@longshore/contract/messages/envelope.ts";
import { RunId } from "@longshore/contract/ids.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { openSystem } from "../harness/system.ts";
import { type Chance, chanceOf } from "../simulation/scenario/chance.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const names = (prefix: string, most: number): readonly string[] => Array.from({ length: most }, (_, n) => `${prefix}/${n}`);
const COPIES = 10;

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using system = await openSystem({ brokerUrl: rabbit.url, instant: true });
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const good = names("good", 200);
const seed = String(Date.now());
t.comment(`seed ${seed}`);
const chance = chanceOf(seed);

function shuffled<T>(items: readonly T[], { random }: Chance): readonly T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

const bodyOf = (run: string, more: object = {}): Buffer =>
  Buffer.from(writeCommand({ id: `command/${run}`, source: "/tests", type: "run.requested", data: { run, ...quick, ...more } }));
const changed = (run: string, change: (text: string) => string): Buffer => Buffer.from(change(bodyOf(run).toString()));

/** Each message is wrong in a different way; `n` makes every message different. */
const POISON: readonly ((n: number) => Buffer)[] = [
  () => Buffer.alloc(0),
  (n) => Buffer.concat([Buffer.from([0xff, 0xfe, n % 256]), bodyOf(`poison/${n}`)]),
  (n) => Buffer.from(`this is not JSON ${n}`),
  (n) => bodyOf(`poison/${n}`).subarray(0, -1),
  (n) => changed(`poison/${n}`, (text) => `${text}${text}`),
  (n) => Buffer.from("[".repeat(10_000 + n)),
  (n) => changed(`poison/${n}`, (text) => text.replace('"image"', '"__proto__":{},"image"')),
  (n) => changed(`poison/${n}`, (text) => text.replace('"image"', '"imgae"')),
  (n) => changed(`poison/${n}`, (text) => text.replace("run.requested", "run.requsted")),
  (n) => changed(`poison/${n}`, (text) => text.replace('"1.0"', '"7.0"')),
  (n) => changed(`poison/${n}`, (text) => text.replace(`"poison/${n}"`, `"${"x".repeat(300)}"`)),
  (n) => changed(`poison/${n}`, (text) => text.replace('"image"', `"priority":${"9".repeat(400)},"image"`)),
  (n) => changed(`poison/${n}`, (text) => text.replace('"image"', '"image":"a:1","image"')),
];

/**
 * True if the problems are in the whole text and not at paths in it. Such a message is in quarantine, although the run that it
 * names is also told.
 */
const isQuarantined = ({ problems }: Readonly<Record<string, unknown>>): boolean =>
  Array.isArray(problems) && problems.every(({ path }: { readonly path: string }) => path === "");

/** Publishes with confirms, as an application would. */
async function published(bodies: readonly Buffer[]): Promise<void> {
  const model = await connect(rabbit.url);
  const channel = await model.createConfirmChannel();
  for (const body of bodies) channel.publish(NAMES.commands, `${PREFIX}run.requested`, body, { persistent: true });
  await channel.waitForConfirms();
  await model.close();
}

await t.test(
  "800 poisoned messages among 200 good ones: each good one is one run, each poisoned one is put aside or refused",
  async (t) => {
    const poison = Array.from({ length: 800 }, (_, n) => (POISON[n % POISON.length] ?? Buffer.alloc)(n));
    await published(shuffled([...good.map((run) => bodyOf(run)), ...poison], chance));
    t.same(await system.faults(good), []);
    const answered = async (): Promise<number> => {
      const { waiting } = await system.broker.inspect(AbortSignal.timeout(10_000));
      const refused = system.received.filter(({ type, data }) => type === "command.refused" && !isQuarantined(data));
      return waiting.quarantine + new Set(refused.map(({ id }) => id)).size;
    };
    await system.until(`an answer to ${poison.length} poisoned messages`, async () => (await answered()) >= distinct(poison));
    t.equal(
      system.received.filter(({ subject }) => subject?.startsWith("poison/")).length,
      0,
      "no poisoned message became a run",
    );
  },
);

/**
 * Sits between the watcher and the launcher, and passes on ten copies of each fact: mixed with other facts, and some copies
 * much later.
 */
async function multiplied(channel: Channel): Promise<AsyncDisposable> {
  const stop = new AbortController();
  let held: ConsumeMessage[] = [];
  await channel.unbindQueue(NAMES.facts, NAMES.facts, "#");
  const { queue } = await channel.assertQueue("", { exclusive: true });
  await channel.bindQueue(queue, NAMES.facts, "#");
  await channel.consume(queue, (fact) => void (fact && held.push(...Array.from({ length: COPIES }, () => fact))), {
    noAck: true,
  });
  const handingOn = (async () => {
    for (; !stop.signal.aborted; await clock.sleep(100, stop.signal)) {
      const mixed = shuffled(held, chance);
      held = mixed.slice(0, Math.floor(mixed.length / 3));
      for (const { content } of mixed.slice(held.length)) channel.sendToQueue(NAMES.facts, content, { persistent: true });
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      stop.abort();
      await handingOn;
      await channel.bindQueue(NAMES.facts, NAMES.facts, "#");
      await channel.unbindQueue(queue, NAMES.facts, "#");
    },
  };
}

await t.test(`every command and every fact comes ${COPIES} times, in any order: one Job and one story each`, async (t) => {
  await using closing = new AsyncDisposableStack();
  const model = await connect(rabbit.url);
  closing.defer(() => model.close());
  closing.use(await multiplied(await model.createChannel()));
  const runs = names("copied", 60);
  await published(
    shuffled(
      runs.flatMap((run) => Array.from({ length: COPIES }, () => bodyOf(run))),
      chance,
    ),
  );
  t.same(await system.faults([...good, ...runs]), []);
  t.equal((await Promise.all(runs.map((run) => system.heard("run.succeeded", run)))).length, runs.length, "all succeeded");
});

await t.test(`a restart comes ${COPIES} times: the run goes one generation further, and runs once more`, async (t) => {
  const runs = names("again", 20);
  const each = (deed: (run: string) => Promise<void>): Promise<unknown> => Promise.all(runs.map(deed));
  await each((run) => system.command("run.requested", { run, ...quick }));
  await system.ended(runs);
  const restart = (run: string) => system.command("run.restart", { run, from: "start" }, `restart/${run}`);
  await each(async (run) => void (await Promise.all(Array.from({ length: COPIES }, () => restart(run)))));
  const successes = (run: string) => system.received.filter(({ subject, type }) => subject === run && type === "run.succeeded");
  const isAgain = (run: string): boolean => successes(run).some(({ generation }) => generation === 2);
  await system.until("the second end of each", () => runs.every(isAgain));
  t.same(await system.faults(runs), []);
  for (const run of runs)
    t.match((await system.ledger.find(RunId.parse(run)))?.record, { run: { generation: 2 }, attempts: [{ n: 1 }, { n: 2 }] });
});

/** Counts the different messages: a message that repeats is refused only once. */
function distinct(bodies: readonly Buffer[]): number {
  return new Set(bodies.map((it) => it.toString("base64"))).size;
}

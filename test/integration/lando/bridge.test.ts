/**
 * The bridge alone: what it makes of Bespin's messages, of Longshore's refusals, and of an API and a broker that go away.
 */
// needs rabbitmq
// runs at most 6 min
import { type Channel, type ChannelModel, connect } from "amqplib";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { readCommand } from "@longshore/contract/messages/envelope.ts";
import { STEP_TYPES } from "../../harness/lando/bespin.ts";
import { parametersOf } from "../../harness/lando/parameters.ts";
import { landoStage } from "../../harness/lando/stage.ts";
import { pythonWithPika } from "../../harness/python.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";

t.setTimeout(0); // each wait has its own bound

const python = await pythonWithPika((sentence) => t.comment(sentence));
await using rabbit = await rabbitmq({ version: "4.0", say: (sentence) => t.comment(sentence) });
let connection: ChannelModel;
let channel: Channel;
/** In place of the launcher: it has made the exchange, and nobody takes the commands. */
async function listens(): Promise<void> {
  connection = await connect(rabbit.url);
  connection.on("error", () => undefined); // it dies with the broker
  channel = await connection.createChannel();
  await channel.assertExchange("longshore.commands", "topic", { durable: true });
  await channel.assertQueue("commands", { durable: true });
  await channel.bindQueue("commands", "longshore.commands", "#");
}
await listens();
await using _connection = { [Symbol.asyncDispose]: () => connection.close() };

await using stage = await landoStage({ brokerUrl: rabbit.url, ledgerUrl: "postgres://not-used", python });
const { bespin } = stage;
const bridge = await stage.bridge("lando");

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 600; tries++) {
    const found = await look();
    if (found !== undefined) return found;
    await sleep(100);
  }
  throw new Error(`${what} did not come within 60 s`);
}

/** The next command that the bridge publishes. It is one that the launcher can read. */
const next = () =>
  until("a command", async () => {
    const message = await channel.get("commands", { noAck: true });
    if (message === false) return undefined;
    const read = readCommand(message.content);
    if (read.kind !== "command") throw new Error(JSON.stringify(read));
    return { ...read.command, replyTo: message.properties.replyTo as unknown };
  });
const told = (job: number, words: readonly string[]) =>
  until(`${words.join(", ")} of job ${job}`, async () => (bespin.wordsOf(job).join() === words.join() ? words : undefined));

const COMMANDS = Object.fromEntries(STEP_TYPES.map((step) => [step, ["run", step]]));
let jobs = 0;
function job(more: { readonly workflow?: "zipped" | "packed" | "tar" } = {}): number {
  bespin.add({ id: ++jobs, image: "lando-util:1", commands: COMMANDS, ...more });
  return jobs;
}

/** Longshore's answer to a command. */
function refuse(command: { readonly id: string; readonly data: object }, code: string): void {
  const data = {
    run: Reflect.get(command.data, "run") as string,
    command: command.id,
    problems: [{ path: "/data", code, message: "Why." }],
  };
  const event = { specversion: "1.0", id: code, source: "/longshore", type: "dev.longshore.command.refused", data };
  channel.sendToQueue("bespin-lando.answers", Buffer.from(JSON.stringify(event)));
}

await t.test("a start asks for the definition, with parameters made of what the API says", async (t) => {
  const id = job();
  await stage.send("lando", { command: "start", job: id });
  const { type, data, replyTo } = await next();
  t.equal(type, "run.requested");
  t.equal(replyTo, "bespin-lando.answers");
  const { parameters, ...rest } = data as { readonly parameters: Readonly<Record<string, unknown>> };
  t.same(rest, { run: `bespin/${id}/${1_000 + id}`, definition: "lando" });
  t.same(parameters, parametersOf(id, { image: "lando-util:1", commands: COMMANDS }));
});

await t.test("a packed workflow is run, and read, where it is downloaded to", async (t) => {
  await stage.send("lando", { command: "start", job: job({ workflow: "packed" }) });
  const { data } = await next();
  const { parameters } = data as unknown as { readonly parameters: { readonly workflow: string; readonly organize: object } };
  t.equal(parameters.workflow, "/bespin/job-data/workflow/exome.zip#main");
  t.match(parameters.organize, { workflow_to_read: "/bespin/job-data/workflow/exome.zip" });
});

await t.test("a pickled message is dropped unread, and so is each that is no command", async (t) => {
  const pickled = "cposix\nsystem\n(S'touch unpickled'\ntR."; // executes a program when it is unpickled
  for (const message of [
    pickled,
    "",
    "[]",
    { command: "start" },
    { command: "start_job", job: 1 },
    { command: "start", job: "../1" },
  ])
    await stage.send("lando", message);
  await stage.send("lando", { command: "cancel", job: 1 });
  t.match(await next(), { type: "run.cancel", data: { run: "bespin/1/1001" } });
});

for (const { name, state, step, from } of [
  { name: "a job that failed goes on at its step", state: "E", step: "o", from: "failed" },
  { name: "a cancelled job begins anew", state: "C", step: "", from: "start" },
  { name: "a job that failed before its first step begins anew", state: "E", step: "V", from: "start" },
])
  await t.test(`restart: ${name}`, async (t) => {
    const id = job();
    bespin.set(id, { state, step });
    await stage.send("lando", { command: "restart", job: id });
    t.match(await next(), {
      type: "run.restart",
      data: { run: `bespin/${id}/${1_000 + id}`, from, with: { parameters: { job: id } } },
    });
  });

await t.test("a restart whose volumes are gone begins anew, and one of a run that is not known starts it", async (t) => {
  const id = job();
  bespin.set(id, { state: "E", step: "R" });
  await stage.send("lando", { command: "restart", job: id });
  refuse(await next(), "VolumesGone");
  t.match(await next(), { type: "run.restart", data: { from: "start" } });
  await stage.send("lando", { command: "restart", job: id });
  refuse(await next(), "RunUnknown");
  t.match(await next(), { type: "run.requested" });
  t.same(bespin.wordsOf(id), []);
});

await t.test("a refused start is told as the job's error; what came too late is not", async (t) => {
  const [late, refused] = [job(), job()];
  await stage.send("lando", { command: "start", job: late });
  refuse(await next(), "IdempotencyConflict");
  await stage.send("lando", { command: "cancel", job: late });
  refuse(await next(), "AlreadyEnded");
  await stage.send("lando", { command: "start", job: refused });
  refuse(await next(), "RequestInvalid");
  await told(refused, ["state E", "error "]);
  t.match(bespin.told.at(-1)?.body, { job: refused, job_step: "", content: "/data: Why." });
  t.same(bespin.wordsOf(late), []);
});

await t.test("a job of which nothing can be made is told as an error, but not while it runs", async (t) => {
  const [running, wrong] = [job({ workflow: "tar" }), job({ workflow: "tar" })];
  bespin.set(running, { state: "R", step: "S" });
  for (const id of [running, wrong]) await stage.send("lando", { command: "start", job: id });
  await told(wrong, ["state E", "error "]);
  t.match(bespin.told.at(-1)?.body, { content: /unknown type tar/ });
  t.same(bespin.wordsOf(running), []);
});

await t.test("while the API fails, a message waits; it is not lost if the bridge is killed then", async (t) => {
  bespin.fails = 503;
  const id = job();
  await stage.send("lando", { command: "start", job: id });
  await bridge.prints("a message waits");
  await bridge.kill("SIGKILL");
  bespin.fails = undefined;
  await stage.bridge("lando");
  t.match(await next(), { type: "run.requested", data: { run: `bespin/${id}/${1_000 + id}` } });
});

await t.test("when the broker is back, so is the bridge", async (t) => {
  await rabbit.kill();
  await rabbit.start();
  await listens();
  const id = job();
  await stage.send("lando", { command: "start", job: id });
  t.match(await next(), { type: "run.requested", data: { run: `bespin/${id}/${1_000 + id}` } });
});

/**
 * The examples for upstream applications in README.md, the contract's README.md and deploy/README.md, taken out of their text and run as
 * programs of their own.
 *
 * The failure this prevents: a tested copy of an example beside a printed one that nobody tests.
 */
import { readFileSync } from "node:fs";
import { writeEvent } from "@longshore/contract/messages/envelope.ts";
import { Installation, ONLY_TENANT, RunId } from "@longshore/contract/ids.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { connect } from "amqplib";
import { type Program, program } from "./servers/program.ts";

const PATIENCE_MS = 60_000;
const PAGES = ["../../README.md", "../../packages/contract/README.md", "../../deploy/README.md"].map(
  (page) => new URL(page, import.meta.url),
);

/** Returns the block in that language that follows the comment "upstream example: NAME". */
export function example(name: string, language: "python" | "go" = "python"): string {
  const pages = PAGES.map((page) => readFileSync(page, "utf8")).join("\n");
  const blocks = pages.matchAll(/<!-- upstream example: (\w+) -->\n```(\w+)\n([\s\S]*?)\n```/g);
  for (const [, found, written, code = ""] of blocks) if (found === name && written === language) return code;
  throw new Error(`no page has a block in ${language} behind a comment "upstream example: ${name}"`);
}

export const application = (python: string, code: string, url: string): Program =>
  program(python, ["-c", code], { env: { AMQP_URL: url, LANG: "C.UTF-8" } });

/** Makes an application's queue before the application does, so that events of other runs wait in it. */
export async function queueOfEvents(url: string, queue: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: true });
  await channel.bindQueue(queue, "longshore.events", "default.*.run.#");
  await channel.close();
  await connection.close();
}

/**
 * Puts events of 60 runs into an application's queue, each from a second generation on, as after restarts of runs that ended
 * before there was the queue: more events than the application is given at once.
 */
export async function laterGenerations(url: string, queue: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createConfirmChannel();
  const installation = Installation.parse("main");
  const mark = { installation, tenant: ONLY_TENANT, generation: 2, group: undefined, time: "2030-01-31T12:00:00Z" };
  for (let at = 0; at < 60; at++) {
    const run = RunId.parse(`orders/${at}/old`);
    const restarted = { ...mark, type: "run.restarted", run, sequence: 5, data: { run, from: "start" } } as const;
    const resumed = { ...mark, type: "run.resumed", run, sequence: 6, data: { run } } as const;
    for (const event of [restarted, resumed]) channel.sendToQueue(queue, Buffer.from(writeEvent(event)));
  }
  await channel.waitForConfirms();
  await channel.close();
  await connection.close();
}

/** Deletes an application's queue while the application may consume from it. */
export async function deleteQueue(url: string, queue: string): Promise<void> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  await channel.deleteQueue(queue);
  await connection.close();
}

/** Returns how many messages wait in a queue that nobody consumes from: whatever was not settled is among them. */
export async function waitingIn(url: string, queue: string): Promise<number> {
  const connection = await connect(url);
  const channel = await connection.createChannel();
  const { messageCount } = await channel.checkQueue(queue);
  await channel.close();
  await connection.close();
  return messageCount;
}

/**
 * Resolves when an application consumes from the queue. It binds its queue before that, so it hears every event from then on.
 */
export async function consumed(url: string, queue: string): Promise<void> {
  const connection = await connect(url);
  try {
    for (const began = clock.now(); clock.now() - began < PATIENCE_MS; await clock.sleep(50)) {
      const channel = await connection.createChannel();
      channel.on("error", () => undefined); // if the queue does not exist yet, the server closes the channel
      const found = await channel.checkQueue(queue).catch(() => undefined);
      if (found !== undefined) await channel.close();
      if (found !== undefined && found.consumerCount > 0) return;
    }
  } finally {
    await connection.close();
  }
  throw new Error(`nobody consumed from the queue ${queue} within ${PATIENCE_MS / 1000} s`);
}

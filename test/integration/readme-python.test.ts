/**
 * The README's example for upstream applications, taken out of the README and run as it is printed there, with nothing but the
 * broker's URL: one program follows, the other publishes.
 */
// needs rabbitmq
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { connect } from "amqplib";
import t from "tap";
import { pythonWithPika } from "../harness/python.ts";
import { rabbitmq } from "../harness/rabbitmq.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait has its own bound

const PATIENCE_MS = 60_000;
const README = new URL("../../README.md", import.meta.url);
const RUN = "orders/8812/export";

/** The Python blocks that stand behind a comment "upstream example: …", by their names. */
function examples(): ReadonlyMap<string, string> {
  const blocks = readFileSync(README, "utf8").matchAll(/<!-- upstream example: (\w+) -->\n```python\n([\s\S]*?)\n```/g);
  return new Map([...blocks].map(([, name = "", code = ""]) => [name, code]));
}

interface Said {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface Program extends AsyncDisposable {
  readonly ended: Promise<Said>;
}

function run(python: string, code: string, url: string): Program {
  const env = { AMQP_URL: url, LANG: "C.UTF-8" };
  const child = spawn(python, ["-c", code], { env, stdio: ["ignore", "pipe", "pipe"], timeout: PATIENCE_MS });
  const exit = once(child, "close").then(([how]: unknown[]) => (typeof how === "number" ? how : null));
  const ended = Promise.all([exit, text(child.stdout), text(child.stderr)]).then(([how, out, err]) => ({ code: how, out, err }));
  return {
    ended,
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await exit;
    },
  };
}

/** It consumes only after it has bound its queue: what is published from then on is heard. */
async function consumed(url: string, queue: string): Promise<void> {
  const connection = await connect(url);
  try {
    for (const began = clock.now(); clock.now() - began < PATIENCE_MS; await clock.sleep(50)) {
      const channel = await connection.createChannel();
      channel.on("error", () => undefined); // no such queue yet: the server says so by closing the channel
      const found = await channel.checkQueue(queue).catch(() => undefined);
      if (found !== undefined) await channel.close();
      if (found !== undefined && found.consumerCount > 0) return;
    }
  } finally {
    await connection.close();
  }
  throw new Error(`nobody consumed from the queue ${queue} within ${PATIENCE_MS / 1000} s`);
}

t.test("the publishing example is short enough to be read before deciding to", async (t) => {
  const lines = (examples().get("publish") ?? "").split("\n");
  t.ok(lines.length > 1 && lines.length <= 10, `it has ${lines.length} lines`);
});

t.test("an application in Python publishes a run and hears its whole story, as printed in the README", async (t) => {
  const python = await pythonWithPika((sentence) => t.comment(sentence));
  await using rabbit = await rabbitmq({ version: "4.0", say: (sentence) => t.comment(sentence) });
  await using system = await openSystem({ brokerUrl: rabbit.url });
  await system.watcher();
  await system.launcher();
  const code = examples();

  await using follower = run(python, code.get("follow") ?? "", rabbit.url);
  await consumed(rabbit.url, "shop");
  await using publisher = run(python, code.get("publish") ?? "", rabbit.url);
  t.same(await publisher.ended, { code: 0, out: `taken: ${RUN}\n`, err: "" }, "what the publisher prints");

  await system.ended([RUN]);
  const { code: exitCode, out, err } = await follower.ended;
  t.same({ exitCode, err }, { exitCode: 0, err: "" }, "the follower ends by itself after the run's end");
  const story = ["accepted", "launched", "started", "succeeded"].map(
    (word, at) => `${String(at + 1).padStart(10, "0")} dev.longshore.run.${word}`,
  );
  t.same(out.trimEnd().split("\n"), story, "what the follower prints");

  t.same(await system.faults([RUN]), []);
  t.equal((await system.created()).length, 1, "one Job was created");
});

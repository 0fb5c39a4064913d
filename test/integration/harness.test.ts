/** The servers that tests ask for have the named versions and start again on their data; a tap misses nothing. */
// runs at most 15 min
// needs nats
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { openBroker } from "@longshore/broker/brokers.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import pg from "pg";
import t from "tap";
import { found } from "../harness/kubernetes/admin.ts";
import { greeting, nats } from "../harness/nats/server.ts";
import { postgres } from "../harness/servers/postgres.ts";
import { openTap } from "../harness/upstream.ts";

t.setTimeout(0);

t.test("nats: JetStream of a version that knows message lifetimes, killed and started again on the same port", async (t) => {
  await using server = await nats();
  const { version, jetstream } = await greeting(server.port);
  t.match(version, /^2\.1[2-9]\./);
  t.equal(jetstream, true);

  const first = server.pid;
  await server.kill();
  t.equal(server.pid, undefined);
  await server.start();
  t.not(server.pid, first);
  t.equal((await greeting(server.port)).version, version);
});

t.test("postgres: each server has data of its own, all copied from what one initdb made", async (t) => {
  await using one = await postgres({ unsafe: true });
  await using other = await postgres({ unsafe: true });
  const asked = async (url: string, text: string): Promise<unknown> => {
    const client = new pg.Client(url);
    await client.connect();
    try {
      return (await client.query<{ it: unknown }>(text)).rows[0]?.it;
    } finally {
      await client.end();
    }
  };
  const madeBy = "select system_identifier::text as it from pg_control_system()";
  t.equal(await asked(one.url, madeBy), await asked(other.url, madeBy));
  await asked(one.url, "create table ours ()");
  const there = "select to_regclass('ours') is not null as it";
  t.same([await asked(one.url, there), await asked(other.url, there)], [true, false]);
});

t.test("postgres: a tap takes each event once, also one that is committed after later ones", async (t) => {
  await using parts = new AsyncDisposableStack();
  const { url } = parts.use(await postgres({ unsafe: true }));
  parts.use(await openBroker({ url, log: silentLog, clock: systemClock })); // makes the tables
  const taken: string[] = [];
  parts.use(await openTap(url, { all: false }, (_exchange, body) => taken.push(Buffer.from(body).toString())));
  const [early, late] = [new pg.Client(url), new pg.Client(url)];
  for (const it of [early, late]) {
    await it.connect();
    parts.defer(() => it.end());
  }
  const say = (by: pg.Client, text: string): Promise<unknown> =>
    by.query("insert into longshore_broker.history (message_id, key, body) values ($1, 'key', $2)", [text, Buffer.from(text)]);
  await early.query("begin");
  await say(early, "first");
  for (const text of ["second", "third"]) await say(late, text);
  await found("two events", () => Promise.resolve(taken.length === 2));
  await early.query("commit");
  await say(late, "fourth");
  await found("four events", () => Promise.resolve(taken.length >= 4));
  t.same(taken.toSorted(), ["first", "fourth", "second", "third"]);
});

t.test("a service ends with the process that started it, also if that was killed", async (t) => {
  const folder = await mkdtemp(path.join(tmpdir(), "longshore-child-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const config = path.join(folder, "watcher.yaml");
  const away = "{ url: amqp://127.0.0.1:9 }"; // it waits for a broker that never comes
  await writeFile(config, `installation: a\nbroker: ${away}\ngroupsFile: groups.yaml\nhttp: { listen: "127.0.0.1:0" }\n`);
  await writeFile(path.join(folder, "groups.yaml"), "groups: {}\n");
  const child = new URL("../../services/longshore/embedded/child.ts", import.meta.url).href;
  const script = `const { startChild } = await import(${JSON.stringify(child)});
    const it = await startChild("watcher", { config: ${JSON.stringify(config)}, env: process.env, eager: true });
    while (!it.said.some((line) => line.includes("waiting for a server"))) await new Promise((done) => setTimeout(done, 50));
    console.log(it.pid); setInterval(() => undefined, 1000);`;
  const starter = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  const [told] = (await once(starter.stdout, "data")) as [Buffer];
  const pid = Number(told.toString());
  const isThere = (): boolean => {
    try {
      return process.kill(pid, 0);
    } catch {
      return false;
    }
  };
  t.ok(isThere());
  starter.kill("SIGKILL");
  await found("the end of the service", () => Promise.resolve(!isThere()));
});

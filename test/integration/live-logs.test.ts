/**
 * What a program prints, read while it runs: from a pod of the pocket by the real watcher, over the broker, through the console's
 * stream.
 *
 * The failures this prevents: a log that stands still or lacks lines unsaid, a watcher that reads on for nobody, and a log that
 * somebody sees who may not.
 */
// needs rabbitmq
// needs nats
// runs at most 6 min
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { type OnListening, webConsole } from "@longshore/console/main.ts";
import { newLink } from "@longshore/console/sign-in/tokens.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import t, { type Test } from "tap";
import { parse, stringify } from "yaml";
import { longshoreStarted } from "../harness/longshore.ts";
import { nats } from "../harness/nats/server.ts";
import { rabbitmq, type TestRabbitmq } from "../harness/rabbitmq/server.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

interface Brokers {
  /** For a user who may do everything; default: a broker in the ledger's Postgres. */
  readonly url?: string;
  /** As the deployment gives it to these two, once a launcher has declared everything. */
  readonly watcher?: () => Promise<string>;
  readonly console?: () => Promise<string>;
}

async function stage({ url, watcher, console }: Brokers = {}) {
  await using parts = new AsyncDisposableStack();
  const folder = await mkdtemp(path.join(tmpdir(), "longshore-live-logs-"));
  parts.defer(() => rm(folder, { recursive: true, force: true }));
  const system = parts.use(await openSystem(url === undefined ? {} : { brokerUrl: url }));
  parts.use(await system.launcher());
  const file = async (name: string, text: string): Promise<string> => {
    await writeFile(path.join(folder, name), text);
    return path.join(folder, name);
  };
  const env = watcher && { LONGSHORE_BROKER_URL_FILE: await file("watcher-url", await watcher()) };
  const watching = parts.use(await system.watcher(env));

  const access = [
    { who: { team: "viewer" }, may: ["viewer"] },
    { who: { team: "others" }, may: ["viewer"], definitions: ["another"] },
    { who: { team: "seeing" }, may: ["see"] },
  ];
  const settings = {
    installation: "local",
    broker: { url: (await console?.()) ?? url ?? system.postgres.url },
    ledger: { url: system.postgres.url },
    logKeyFile: path.join(system.home, "log-key"),
    access,
    http: { listen: "127.0.0.1:0", health: "127.0.0.1:0" },
  };
  const stop = new AbortController();
  const listening = Promise.withResolvers<Parameters<OnListening>[0]>();
  const ended = webConsole(ConsoleConfig.parse(settings), silentLog, stop.signal, async (at) => listening.resolve(at));
  ended.catch((error: unknown) => listening.reject(error));
  parts.defer(async () => {
    stop.abort();
    await ended;
  });
  const { url: at, pages } = await listening.promise;
  const kept = parts.move();

  async function ask(target: string, { cookie, body }: { readonly cookie?: string; readonly body?: object } = {}) {
    const headers = { ...(cookie !== undefined && { cookie }), ...(body && { "content-type": "application/json" }) };
    const asking = httpRequest(`${at}${target}`, { method: body ? "POST" : "GET", headers });
    asking.end(body && JSON.stringify(body));
    const [answer] = (await once(asking, "response")) as [IncomingMessage];
    return { asking, answer, status: answer.statusCode ?? 0 };
  }

  async function signIn(...teams: readonly string[]): Promise<string> {
    const token = new URL(await newLink(pages.signIns, at, { name: "Ada", teams })).hash.slice(1);
    const { answer } = await ask("/v1/enter", { body: { token } });
    answer.resume();
    return answer.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
  }
  const viewer = await signIn("viewer");

  /** A log's stream, as a page hears it. */
  async function log(query: Readonly<Record<string, string>>, cookie = viewer) {
    const { asking, answer, status } = await ask(`/v1/log?${new URLSearchParams(query).toString()}`, { cookie });
    const told: { readonly event: string; readonly data: Readonly<Record<string, unknown>> }[] = [];
    let isOver = false;
    const hearing = (async () => {
      let text = "";
      for await (const piece of answer.setEncoding("utf8")) {
        text += String(piece);
        for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
          const [, event, data] = /^event: (.+)\ndata: (.+)$/.exec(text.slice(0, end)) ?? [];
          if (event !== undefined && data !== undefined) told.push({ event, data: JSON.parse(data) as Record<string, unknown> });
          text = text.slice(end + 2);
        }
      }
      isOver = true;
    })().catch(() => undefined); // closed by the test
    const of = (event: string) => told.filter((it) => it.event === event).map(({ data }) => data);
    return {
      status,
      told,
      of,
      lines: () => of("lines").map(({ text }) => String(text)).join(""),
      until: (what: string, done: () => boolean) => system.until(`${what} in ${JSON.stringify(told).slice(0, 2_000)}`, done),
      isOver: () => isOver,
      close: async () => {
        asking.destroy();
        await hearing;
      },
    }; // biome-ignore format: names in one look
  }

  /** Programs wait for files that the test makes. */
  const gate = (name: string) => {
    const isShut = `[ ! -e ${path.join(folder, name)} ]`;
    return { isShut, wait: `while ${isShut}; do sleep 0.1; done`, open: () => file(name, "") };
  };
  const run = (id: string, script: string) =>
    system.command("run.requested", { run: id, image: "busybox", command: ["sh", "-c", script] });
  return { system, watching, file, log, signIn, gate, run, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

type Stage = Awaited<ReturnType<typeof stage>>;

async function live(t: Test, it: Stage): Promise<void> {
  const gate = it.gate("slow");
  await it.run("slow", `echo begins; ${gate.wait}; echo ends`);
  await it.system.heard("run.started", "slow");
  const log = await it.log({ run: "slow" });
  await log.until("its line", () => log.lines() === "begins\n");
  t.same(log.told[0], { event: "attempt", data: { step: "main", attempt: 1 } });
  t.same(log.of("tail"), [], "the program runs still");
  await gate.open();
  await log.until("its end", log.isOver);
  t.same(log.told.slice(-2), [
    { event: "tail", data: { state: "complete", lines: 2, tail: "begins\nends\n" } },
    { event: "end", data: {} },
  ]);
  t.ok("begins\nends\n".startsWith(log.lines()), "no line came twice");
  t.same(log.of("nobody"), []);
  t.same(await it.system.faults(["slow"]), []);
}

await t.test("over the broker in Postgres", async (t) => {
  await using it = await stage();

  await t.test("a program that prints slowly is read live, and what was recorded closes its log", (t) => live(t, it));

  await t.test("of a run that has ended, what was recorded is told, and the stream ends", async (t) => {
    const log = await it.log({ run: "slow" });
    await log.until("its end", log.isOver);
    t.same(
      log.told.map(({ event }) => event),
      ["attempt", "tail", "end"],
    );
  });

  await t.test("`runs logs --follow` reads it the same way where the cluster does not answer", async (t) => {
    const { home } = it.system;
    const groups = parse(await readFile(path.join(home, "groups.yaml"), "utf8")) as { groups: Record<string, object> };
    const away = Object.entries(groups.groups).map(([name, it]) => [name, { ...it, cluster: { server: "http://127.0.0.1:9" } }]);
    const groupsFile = await it.file("groups.yaml", stringify({ groups: Object.fromEntries(away) }));
    const settings = parse(await readFile(path.join(home, "launcher.yaml"), "utf8")) as object;
    const config = await it.file("launcher.yaml", stringify({ ...settings, groupsFile }));
    const gate = it.gate("far");
    await it.run("far", `echo begins; ${gate.wait}; echo ends`);
    await it.system.heard("run.started", "far");
    await using command = longshoreStarted(home, "runs", "logs", "far", "--follow", "--config", config);
    await command.prints("begins\n");
    await gate.open();
    t.match(await command.ended, { code: 0, out: /^begins\n/ });
  });

  await t.test("a reader that goes away is read for no longer, though the program prints on", async (t) => {
    const gate = it.gate("talks");
    await it.run("talks", `while ${gate.isShut}; do echo still here; sleep 0.1; done`);
    await it.system.heard("run.started", "talks");
    const followed = async (): Promise<string | undefined> =>
      /^longshore_logs_followed (\d+)/m.exec(await it.watching.metrics())?.[1];
    const log = await it.log({ run: "talks" });
    await log.until("lines", () => log.lines().length > 20);
    t.equal(await followed(), "1");
    await log.close();
    await it.system.until("the watcher's rest", async () => (await followed()) === "0");
    await gate.open();
    await it.system.ended(["talks"]);
  });

  await t.test("a program that prints faster than is sent: the gap is marked, with its size", async (t) => {
    const [fast, last] = [it.gate("fast"), it.gate("last")];
    const much = "head -c 3000000 /dev/zero | tr '\\0' x | fold -w 99";
    await it.run("fast", `echo begins; ${fast.wait}; ${much}; echo; ${last.wait}; echo ends`);
    await it.system.heard("run.started", "fast");
    const log = await it.log({ run: "fast" });
    await log.until("its line", () => log.lines() === "begins\n");
    await fast.open();
    await log.until("a gap", () => log.of("gap").some(({ bytes }) => Number(bytes) > 0));
    const skipped = () => log.of("gap").reduce((sum, { bytes }) => sum + Number(bytes ?? 0), 0);
    const all = "begins\n".length + 3_000_000 + Math.ceil(3_000_000 / 99);
    await log.until("all to be sent or skipped", () => skipped() + log.lines().length >= all);
    t.ok(log.lines().length < all / 2, "most was skipped");
    await last.open();
    await log.until("its end", log.isOver);
    t.match(log.of("tail")[0], { state: "truncated", tail: /ends\n$/ });
  });

  await t.test("of a pipeline, the step that runs now is shown, then the next one, and each by its name", async (t) => {
    const [first, second] = [it.gate("first"), it.gate("second")];
    const step = (name: string, gate: typeof first, needs: readonly string[]) => ({
      ...{ name, needs, image: "busybox" },
      command: ["sh", "-c", `echo ${name} begins; ${gate.wait}`],
    });
    await it.system.command("run.requested", { run: "steps", steps: [step("one", first, []), step("two", second, ["one"])] });
    await it.system.heard("run.started", "steps");
    const log = await it.log({ run: "steps" });
    await log.until("the first step's line", () => log.lines().includes("one begins"));
    await first.open();
    await log.until("the second step's line", () => log.lines().includes("two begins"));
    t.same(log.of("attempt").map((it) => it["step"]), ["one", "two"]); // biome-ignore format: one line
    const ofFirst = await it.log({ run: "steps", step: "one" });
    await ofFirst.until("its end", ofFirst.isOver);
    t.match(ofFirst.told, [
      { event: "attempt", data: { step: "one" } },
      { event: "tail", data: { tail: "one begins\n" } },
      { event: "end" },
    ]);
    await second.open();
    await log.until("the run's end", log.isOver);
  });

  await t.test("who may not read it is told of no such run, or that no rule lets them", async (t) => {
    t.equal((await it.log({ run: "slow" }, await it.signIn("others"))).status, 404, "runs of another definition alone");
    t.equal((await it.log({ run: "unknown" })).status, 404);
    t.equal((await it.log({ run: "slow" }, await it.signIn("seeing"))).status, 403, "sees runs, and not what they print");
    t.equal((await it.log({ run: "slow" }, "")).status, 401);
    t.equal((await it.log({ run: "slow" }, await it.signIn("viewer"))).status, 200);
  });
});

/** Users with the permissions that README of deploy/ names, and no others. */
async function withUsers(server: TestRabbitmq): Promise<Brokers> {
  const own = "longshore\\.follow\\..*";
  const user = async (name: string, write: string, read: string): Promise<string> => {
    await server.ctl("add_user", name, "only-here");
    await server.ctl("set_permissions", name, `^${own}$`, `^(${write}|${own})$`, `^(${read}|${own})$`);
    return Object.assign(new URL(server.url), { username: name, password: "only-here" }).href;
  };
  return {
    url: server.url,
    watcher: () => user("watcher", "longshore\\.(facts|control)", "longshore\\.control"),
    console: () => user("console", "longshore\\.(commands|control)", "longshore\\.(events|control)"),
  };
}

await t.test("over RabbitMQ 4.0, with users for watcher and console that may do nothing else", async (t) => {
  await using server = await rabbitmq({ version: "4.0" });
  await using it = await stage(await withUsers(server));
  await live(t, it);
});

await t.test("over NATS, with users for watcher and console that may do nothing else", async (t) => {
  await using server = await nats();
  await using it = await stage({
    url: server.url,
    watcher: async () => server.as("watcher"),
    console: async () => server.as("console"),
  });
  await live(t, it);
});

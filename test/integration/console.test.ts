/**
 * The web console over HTTP, as a browser asks it: on a real Postgres and RabbitMQ, with a launcher and a watcher that run what is
 * asked for.
 *
 * The failures this prevents: a page of somebody else that runs jobs in a person's name; a link that signs in twice; a form that
 * is two runs; and a run that is seen or stopped by somebody whom no rule lets.
 */
// needs rabbitmq
// runs at most 6 min
import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ROLE_NAMES } from "@longshore/contract/access-rule.ts";
import { ConsoleConfig } from "@longshore/console/config.ts";
import { type OnListening, webConsole } from "@longshore/console/main.ts";
import { GROUP } from "@longshore/cli/embedded/home.ts";
import { hashOf, newLink } from "@longshore/console/sign-in/tokens.ts";
import { rolesSql } from "@longshore/ledger/postgres/schema/roles.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import t from "tap";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { sqlAt } from "../harness/servers/sql.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const definitionsDir = await mkdtemp(path.join(tmpdir(), "longshore-definitions-"));
t.teardown(() => rm(definitionsDir, { recursive: true, force: true }));
await writeFile(
  path.join(definitionsDir, "greet.yaml"),
  `name: greet
title: Say hello
parameters:
  type: object
  additionalProperties: false
  properties:
    times: { type: integer, minimum: 1, default: 1 }
image: busybox
command: [sh, -c, "echo hello"]
`,
);
await writeFile(
  path.join(definitionsDir, "slow.yaml"),
  `name: slow
image: busybox
command: [sleep, "300"]
`,
);
await writeFile(
  path.join(definitionsDir, "nowhere.yaml"),
  `name: nowhere
image: busybox
command: ["true"]
groups: [nowhere]
waitFor: 20s
`,
);

await using rabbit = await rabbitmq({ version: "4.0" });
await using system = await openSystem({ brokerUrl: rabbit.url, launcher: { definitionsDir } });
await using _launcher = await system.launcher();
await using _watcher = await system.watcher();

const stop = new AbortController();
const sql = (text: string, as = system.postgres.url) => sqlAt(as, text);
await sql(rolesSql(["console"]));
await sql("alter role longshore_console password 'only-here'");
const ledgerUrl = Object.assign(new URL(system.postgres.url), { username: "longshore_console", password: "only-here" }).href;
const settings = { installation: "local", broker: { url: rabbit.url }, ledger: { url: ledgerUrl } };
const access = [
  ...ROLE_NAMES.map((role) => ({ who: { team: role }, may: [role] })),
  { who: { team: "greeters" }, may: ["runner"], definitions: ["greet", "gret"] },
];
const config = ConsoleConfig.parse({ ...settings, access, http: { listen: "127.0.0.1:0", health: "127.0.0.1:0" } });

async function startConsole(config: ConsoleConfig, stop = new AbortController()) {
  const listening = Promise.withResolvers<Parameters<OnListening>[0]>();
  const ended = webConsole(config, silentLog, stop.signal, async (at) => listening.resolve(at));
  ended.catch((error: unknown) => listening.reject(error));
  const stopIt = async () => {
    stop.abort();
    return await ended;
  };
  return { ...(await listening.promise), stop: stopIt };
}

const main = await startConsole(config, stop);
const { url, pages } = main;

interface Asking {
  readonly cookie?: string | undefined;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** Not fetch: it writes the header `host` itself. */
async function ask(target: string, { cookie, body, headers = {} }: Asking = {}, at = url): Promise<Answer> {
  const asking = httpRequest(`${at}${target}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      ...(body !== undefined && { "content-type": "application/json" }),
      ...(cookie !== undefined && { cookie }),
      ...headers,
    },
  });
  asking.end(body === undefined ? undefined : JSON.stringify(body));
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  let text = "";
  for await (const piece of answer.setEncoding("utf8")) text += String(piece);
  return { status: answer.statusCode ?? 0, headers: answer.headers, body: text };
}

const tokenOf = (link: string): string => new URL(link).hash.slice(1);
const signIn = async (name: string, ...teams: readonly string[]): Promise<string> => {
  const { headers } = await ask("/v1/enter", { body: { token: tokenOf(await newLink(pages.signIns, url, { name, teams })) } });
  return headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
};
const jsonOf = <T>({ body }: Answer): T => JSON.parse(body) as T;

const cookie = await signIn("Ada", "admin");

await t.test("one that is stopped at the moment when it begins to serve ends", async (t) => {
  const early = new AbortController();
  await webConsole(config, silentLog, early.signal, async () => early.abort());
  t.ok(early.signal.aborted);
});

await t.test("a link signs in once, and its cookie is for this console alone", async (t) => {
  const link = await newLink(pages.signIns, url, { name: "Bo" });
  const body = { token: tokenOf(link) };
  const first = await ask("/v1/enter", { body });
  t.match(first, { status: 200, body: '"name":"Bo"' });
  const [set = ""] = first.headers["set-cookie"] ?? [];
  t.match(set, new RegExp(`^longshore-${new URL(url).port}=`));
  t.match(set, /; Path=\/; HttpOnly; SameSite=Lax$/);
  t.match(await ask("/v1/enter", { body }), { status: 403, body: "This link does not work" }, "a link that was used");
  t.match(await ask("/v1/me", { cookie: set.split(";")[0] }), { status: 200, body: '"name":"Bo"' });
});

await t.test("of ten who open one link at the same moment, one is signed in", async (t) => {
  const body = { token: tokenOf(await newLink(pages.signIns, url, { name: "Cy" })) };
  const answers = await Promise.all(Array.from({ length: 10 }, () => ask("/v1/enter", { body })));
  t.equal(answers.filter(({ status }) => status === 200).length, 1);
  t.equal(answers.filter(({ status }) => status === 403).length, 9);
});

await t.test("a link and a session that are too old sign nobody in, and the ledger holds no token", async (t) => {
  await pages.signIns.offer(hashOf("an old link"), { name: "Di" }, -1);
  t.match(await ask("/v1/enter", { body: { token: "an old link" } }), { status: 403 });
  await pages.signIns.offer(hashOf("a link"), { name: "Di" }, 60_000);
  t.match(await pages.signIns.redeem(hashOf("a link"), hashOf("a session"), -1), { name: "Di" });
  const [name] = cookie.split("=");
  t.match(await ask("/v1/me", { cookie: `${name}=a session` }), { status: 401 });
  const rows = await sql("select row_to_json(s)::text as text from longshore.sign_in s");
  t.not(rows.length, 0);
  for (const { text } of rows as readonly { text: string }[]) t.notMatch(text, cookie.split("=")[1] ?? "");
});

await t.test("who signs out is out", async (t) => {
  const own = await signIn("Ed");
  t.match(await ask("/v1/leave", { cookie: own, body: {} }), { status: 204 });
  t.match(await ask("/v1/me", { cookie: own }), { status: 401 });
});

await t.test("whoever is not signed in is told so at every address with data, and gets the page and its files", async (t) => {
  for (const at of [
    "/v1/me",
    "/v1/definitions",
    "/v1/definition?name=greet",
    "/v1/runs",
    "/v1/run?id=x",
    "/v1/changes",
    "/v1/events",
    "/v1/story?run=x",
    "/v1/request?run=x",
    "/v1/refused",
    "/v1/openapi.json",
    "/v1/groups",
    "/v1/health",
    "/v1/log?run=x",
    "/v1/audit",
    "/v1/numbers",
  ])
    t.match(await ask(at), { status: 401, headers: { "content-type": /^application\/problem\+json/ } }, at);
  for (const at of [
    "/v1/runs",
    "/v1/cancel",
    "/v1/restart",
    "/v1/bulk",
    "/v1/check",
    "/v1/group/pause",
    "/v1/group/drain",
    "/v1/group/resume",
    "/v1/leave",
  ])
    t.match(await ask(at, { body: {} }), { status: 401 }, `POST ${at}`);
  for (const at of ["/", "/start", "/run?id=a/b", "/runs", "/groups", "/health", "/numbers", "/refused", "/audit", "/enter"]) {
    const { status, headers, body } = await ask(at);
    t.match({ status, body }, { status: 200, body: '<div id="page">' }, at);
    t.match(headers, { "cache-control": "no-store", "x-frame-options": /./, "referrer-policy": "no-referrer" });
    const policy = headers["content-security-policy"];
    for (const it of ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"])
      t.match(policy, it);
    t.notMatch(policy, /unsafe|https?:|\*/);
  }
  const files = [...(await ask("/")).body.matchAll(/(?:src|href)="(\/assets\/[^"]+)"/g)].map(([, file]) => file ?? "");
  t.equal(files.length, 3, "a script, a style sheet, an icon");
  for (const file of files) t.match(await ask(file), { status: 200, headers: { "cache-control": /immutable/ } }, file);
  t.match(await ask("/assets/../package.json"), { status: 404 });
});

await t.test("a name that was made to point here is refused, and so is a deed that another page asks for", async (t) => {
  for (const host of ["evil.example", `evil.example:${new URL(url).port}`, "127.0.0.1:1"])
    t.match(await ask("/v1/runs", { cookie, headers: { host } }), { status: 403, body: "Not this name" }, host);
  const body = { run: "foreign", definition: "greet" };
  for (const headers of [
    { "sec-fetch-site": "cross-site" },
    { "sec-fetch-site": "same-site" },
    { origin: "https://evil.example" },
  ])
    t.match(await ask("/v1/runs", { cookie, body, headers }), { status: 403, body: "Not from here" }, JSON.stringify(headers));
  const form = { "content-type": "application/x-www-form-urlencoded" };
  t.match(await ask("/v1/runs", { cookie, body, headers: form }), { status: 400 }, "a form of HTML");
  t.equal(await pages.find("foreign" as never), undefined);
});

await t.test("a form that is sent five times at once is one run, in the name of who asked", async (t) => {
  const form = jsonOf<{ run: string; parameters: object }>(await ask("/v1/definition?name=greet", { cookie }));
  t.match(form.run, /^greet\/[0-9a-z]{8}-[0-9a-z]{6}$/);
  const body = { run: form.run, definition: "greet", parameters: { times: 2 } };
  const answers = await Promise.all(Array.from({ length: 5 }, () => ask("/v1/runs", { cookie, body })));
  for (const { status, body: said } of answers) t.ok([200, 201, 202].includes(status), said);
  await system.ended([form.run]);
  t.match(await ask("/v1/runs", { cookie, body }), { status: 200 }, "and once more, after its end");
  t.match(
    await ask("/v1/runs", { cookie, body: { ...body, parameters: { times: 3 } } }),
    { status: 409, body: "with other values" },
    "changed values are another run",
  );
  t.match(jsonOf(await ask(`/v1/run?id=${encodeURIComponent(form.run)}`, { cookie })), {
    id: form.run,
    definition: "greet",
    parameters: { times: 2 },
    state: "succeeded",
    by: { name: "Ada" },
    stages: [{ name: "Asked" }, { name: "Waiting" }, { name: "Starting" }, { name: "Running" }],
    log: { tail: "hello\n" },
  });
  const { rows } = jsonOf<{ rows: readonly { id: string }[] }>(await ask("/v1/runs", { cookie }));
  t.equal(rows.filter(({ id }) => id.startsWith("greet/")).length, 1);
  t.match(jsonOf(await ask("/v1/definitions", { cookie })), {
    cards: [{ name: "greet", title: "Say hello", marks: ["succeeded"], last: { id: form.run, by: { name: "Ada" } } }, {}, {}],
  });
  t.same(await system.faults([form.run]), []);
});

await t.test("what cannot be run is refused with the reason at its field", async (t) => {
  const body = { run: "greet/refused", definition: "greet", parameters: { times: 0, other: 1 } };
  const refused = await ask("/v1/runs", { cookie, body });
  t.equal(refused.status, 422);
  t.same(
    jsonOf<{ problems: readonly { path: string }[] }>(refused)
      .problems.map((it) => it.path)
      .toSorted(),
    ["/other", "/times"],
  );
  t.match(await ask("/v1/runs", { cookie, body: { run: "x", definition: "nope" } }), { status: 404, body: "No such job" });
  t.match(await ask("/v1/runs", { cookie, body: { run: " ", definition: "greet" } }), { status: 422 });
  t.match(await ask("/v1/runs", { cookie, body: { definition: "greet", more: 1 } }), { status: 422 });
});

await t.test("an id that nobody has is unknown everywhere, whatever is in it", async (t) => {
  for (const at of [
    "/v1/run?id=unknown",
    "/v1/run?id=a/../b//c:d",
    "/v1/changes?run=unknown",
    "/v1/events?run=unknown",
    "/v1/story?run=unknown",
    "/v1/request?run=unknown",
    "/v1/log?run=unknown",
    "/v1/definition?name=nope",
    "/v1/nope",
  ])
    t.match(await ask(at, { cookie }), { status: 404, headers: { "content-type": /^application\/problem\+json/ } }, at);
});

/** A run's stream, from the answer's head on: each piece of news as it comes. */
async function streamed(run: string, last?: string) {
  const headers = { cookie, ...(last !== undefined && { "last-event-id": last }) };
  const asking = httpRequest(`${url}/v1/changes?run=${encodeURIComponent(run)}`, { headers }).end();
  const [answer] = (await once(asking, "response")) as [IncomingMessage];
  const news = (async function* () {
    let text = "";
    for await (const piece of answer.setEncoding("utf8")) {
      text += String(piece);
      for (let end = text.indexOf("\n\n"); end !== -1; end = text.indexOf("\n\n")) {
        const block = text.slice(0, end);
        text = text.slice(end + 2);
        const [, id, data] = /^id: (.+)\nevent: run\ndata: (.+)$/.exec(block) ?? [];
        if (id !== undefined && data !== undefined) yield { id, view: JSON.parse(data) as { state: string; sequence: number } };
      }
    }
  })();
  return { news, type: answer.headers["content-type"], close: () => asking.destroy() };
}

await t.test("a run's page follows it to its end, is stopped once, and comes back without a gap", async (t) => {
  const run = "slow/stopped";
  t.match(await ask("/v1/runs", { cookie, body: { run, definition: "slow" } }), { status: /20[12]/ });
  await system.heard("run.started", run);
  const first = await streamed(run);
  t.equal(first.type, "text/event-stream");
  const seen = await first.news.next();
  t.match(seen.value, { view: { state: "running" } });
  first.close();
  const body = { run, generation: 1 };
  const stops = await Promise.all([ask("/v1/cancel", { cookie, body }), ask("/v1/cancel", { cookie, body })]);
  t.same(
    stops.map(({ status }) => status),
    [202, 202],
  );
  const again = await streamed(run, seen.value?.id);
  let last = seen.value?.view;
  for await (const { view } of again.news) {
    t.ok(view.sequence > (last?.sequence ?? 0) || view.state !== last?.state, "news, and no repeat");
    last = view;
    if (view.state === "stopped") break;
  }
  again.close();
  t.equal(last?.state, "stopped");
  t.equal(system.received.filter(({ type, subject }) => type.endsWith("run.cancelling") && subject === run).length, 1);
});

let rosas = "";

await t.test("whoever may run a job sees, reads and stops their own runs of it, and no other's", async (t) => {
  const rosa = await signIn("Rosa", "runner");
  const { run } = jsonOf<{ run: string }>(await ask("/v1/definition?name=slow", { cookie: rosa }));
  rosas = run;
  t.match(await ask("/v1/runs", { cookie: rosa, body: { run, definition: "slow" } }), { status: /20[12]/ });
  await system.heard("run.started", run);
  const list = async (own: string) =>
    jsonOf<{ rows: readonly { id: string }[] }>(await ask("/v1/runs", { cookie: own })).rows.map(({ id }) => id);
  t.same(await list(rosa), [run]);
  t.ok((await list(cookie)).length > 2);
  const other = await signIn("Sol", "runner");
  t.same(await list(other), []);
  t.match(await ask("/v1/cancel", { cookie: other, body: { run, generation: 1 } }), { status: 404, body: "No such run" });
  const card = jsonOf<{ cards: readonly { name: string; last?: object }[] }>(await ask("/v1/definitions", { cookie: other }));
  for (const it of ["Rosa", run]) t.notMatch(JSON.stringify(card), it, "a card tells how it went, and not whose run it was");
  t.match(await ask("/v1/cancel", { cookie: await signIn("Vic", "viewer"), body: { run, generation: 1 } }), { status: 403 });
  t.match(await ask("/v1/cancel", { cookie: rosa, body: { run, generation: 1 } }), { status: 202 });
  await system.ended([run]);
});

await t.test("runs are searched by what a person has at hand", async (t) => {
  const find = async (query: string) =>
    jsonOf<{ rows: readonly { id: string }[] }>(await ask(`/v1/runs?${query}`, { cookie })).rows.map(({ id }) => id);
  t.same(await find(`find=${rosas.slice(0, 9)}`), [rosas]);
  t.same(await find("find=times%3D2"), (await find("definition=greet")).slice(0, 1));
  t.same(await find("outcome=cancelled&definition=slow"), [rosas, "slow/stopped"]);
  t.same(await find("outcome=lost"), []);
  t.ok((await find("mine=true")).includes("slow/stopped"));
  t.match(await ask("/v1/runs?outcome=nonsense", { cookie }), { status: 422 });
});

await t.test("every deed stands in the audit with its answer, and what was denied once", async (t) => {
  const { rows } = jsonOf<{ rows: readonly { by: { name: string }; deed: string; about: string; state: string }[] }>(
    await ask("/v1/audit", { cookie }),
  );
  const told = rows.map(({ by, deed, about, state }) => `${by.name} ${deed} ${about} ${state}`);
  for (const it of [`Rosa stop ${rosas} done`, `Rosa run ${rosas} done`, `Sol stop ${rosas} denied`, "Ada run slow/stopped done"])
    t.equal(
      told.filter((line) => line === it).length,
      1,
      `${it}: ${told.filter((line) => line.includes(it.split(" ")[0] ?? "")).join("; ")}`,
    );
  t.notOk(
    told.some((it) => it.includes("never")),
    "what the console refused by itself was no deed",
  );
});

interface Told {
  readonly groups: readonly { readonly name: string; readonly left: string }[];
}
const groupsAs = async (own: string): Promise<Told> => jsonOf(await ask("/v1/groups", { cookie: own }));
/** What the page of health says of one part. */
const healthOf = async (part: string) =>
  jsonOf<{ rows: readonly { part: string }[] }>(await ask("/v1/health", { cookie })).rows.filter((it) => it.part === part);

await t.test(
  "an operator empties a group: what runs there goes on, nothing new starts, and the page says when it is empty",
  async (t) => {
    const ida = await signIn("Ida", "operator");
    const [running, waiting] = ["slow/drained", "slow/after"];
    t.match(await ask("/v1/runs", { cookie, body: { run: running, definition: "slow" } }), { status: /20[12]/ });
    await system.heard("run.started", running);
    const body = { group: GROUP, reason: "new nodes" };
    const drained = await ask("/v1/group/drain", { cookie: ida, body });
    t.match(drained, { status: 200, body: '"answered":true' }, "the launcher has answered within the request");
    const paused = { drain: true, reason: "new nodes", actor: { name: "Ida" }, sinceMs: Number };
    t.match(await groupsAs(ida), {
      hasLauncher: true,
      groups: [{ name: GROUP, word: "paused", paused, left: "1 running", slots: { used: 1 } }],
    });
    t.match(await system.ledger.groups(), [{ paused: true }]);

    t.match(await ask("/v1/runs", { cookie, body: { run: waiting, definition: "slow" } }), { status: /20[12]/ });
    t.match((await system.heard("run.waiting", waiting)).data, { reason: "GroupsPaused" });
    t.match(await groupsAs(ida), { groups: [{ waiting: { count: 1, sinceMs: Number } }] });
    t.match(await healthOf("waiting"), [
      { state: "look", says: /1 run waits \(GroupsPaused\).*slow\/after/, todo: /group resume/ },
    ]);
    const { cards } = jsonOf<{ cards: readonly object[] }>(await ask("/v1/definitions", { cookie: ida }));
    t.match(cards, [
      { name: "greet", operators: { digest: /^[0-9a-f]+$/, whyNot: `${GROUP}: paused by Ida: new nodes` } },
      {},
      {},
    ]);
    const asRunner = await ask("/v1/definitions", { cookie: await signIn("Sol", "runner") });
    t.notMatch(asRunner.body, new RegExp(`operators|${GROUP}`), "people who only run jobs meet no group");

    t.match(await ask("/v1/cancel", { cookie, body: { run: running, generation: 1 } }), { status: 202 });
    await system.until("it is empty", async () => (await groupsAs(ida)).groups[0]?.left === "");
    const resumed = await ask("/v1/group/resume", { cookie: ida, body: { group: GROUP } });
    t.match(resumed, { status: 200, body: '"answered":true' });
    await system.heard("run.started", waiting);
    t.match(await groupsAs(ida), { groups: [{ word: "healthy", left: "1 running", remarks: [] }] });
    t.match(await ask("/v1/cancel", { cookie, body: { run: waiting, generation: 1 } }), { status: 202 });
    await system.ended([waiting]);
    t.match(await ask("/v1/group/pause", { cookie: ida, body: { ...body, more: 1 } }), { status: 422 });

    const { rows } = jsonOf<{ rows: readonly object[] }>(await ask("/v1/audit", { cookie }));
    const ofIda = (rows as readonly { by: { name: string }; deed: string; about: string; state: string }[]).filter(
      ({ by }) => by.name === "Ida",
    );
    t.same(ofIda.map(({ deed, about, state }) => `${deed} ${about} ${state}`), [`resume ${GROUP} done`, `drain ${GROUP} done`]); // biome-ignore format: one line
  },
);

await t.test("a run's page tells operators where it ran, and nobody else", async (t) => {
  const run = "slow/after";
  const asked = `/v1/run?id=${encodeURIComponent(run)}`;
  const { operators } = jsonOf<{ operators: object }>(await ask(asked, { cookie: await signIn("Ida", "operator") }));
  const phases = [{ name: "waiting" }, { name: "starting" }, { name: "running" }];
  t.match(operators, {
    group: GROUP,
    considered: [{ group: GROUP, verdict: "chosen" }],
    attempts: [{ step: "main", number: 1, job: /^slow-after-main-1-/, pod: /^slow-after-main-1-/, node: String, phases }],
  });
  const seen = (await ask(asked, { cookie: await signIn("Vic", "viewer") })).body;
  t.match(seen, '"state":"stopped"');
  t.notMatch(seen, new RegExp(`operators|slow-after-main|${GROUP}`));
});

await t.test("the page of health says how each part is", async (t) => {
  for (const part of ["launchers", "watchers", "broker", "quarantine", "events", "runs", "strays", "names"])
    t.match(await healthOf(part), [{ state: "ok" }], part);
  t.match(await healthOf("launchers"), [{ says: /^1 launcher: / }]);
  t.match(await healthOf("broker"), [{ says: new RegExp(`^RabbitMQ 4.0.*, user ${rabbit.user};`) }]);
  await system.until("the first tally", async () =>
    JSON.stringify(await healthOf("accounting")).includes("0 unaccounted, compared"),
  );
  const garbage = { id: "garbage", key: "garbage", body: Buffer.from("nothing of ours") };
  await system.broker.publish("commands", garbage, stop.signal);
  await system.until("it is in quarantine", async () =>
    JSON.stringify(await healthOf("quarantine")).includes("1 message in quarantine"),
  );
  t.match(await healthOf("quarantine"), [{ state: "look", todo: /rabbitmqadmin.*longshore\.quarantine/ }]);
});

await t.test("a console whose broker user is no operator learns so from the launcher's answers", async (t) => {
  await rabbit.ctl("add_user", "stranger", "of-nobody");
  await rabbit.ctl("set_permissions", "-p", "/", "stranger", ".*", ".*", ".*");
  const other = Object.assign(new URL(rabbit.url), { username: "stranger", password: "of-nobody" }).href;
  const own = await startConsole({ ...config, broker: ConsoleConfig.parse({ ...settings, broker: { url: other } }).broker });
  const as = (target: string, asking: Asking = {}) => ask(target, asking, own.url);
  const link = await newLink(own.pages.signIns, own.url, { name: "Ida", teams: ["operator"] });
  const entered = await as("/v1/enter", { body: { token: tokenOf(link) } });
  const strange = entered.headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
  const names = async () =>
    jsonOf<{ rows: readonly { part: string; state: string; todo?: string }[] }>(
      await as("/v1/health", { cookie: strange }),
    ).rows.find(({ part }) => part === "names");
  t.match(await as("/v1/runs", { cookie: strange, body: { run: "greet/nameless", definition: "greet" } }), { status: /20[12]/ });
  await system.ended(["greet/nameless"]);
  t.match(await names(), { state: "look", todo: /`stranger` to the launcher's setting `operators`/ });
  t.match(await as("/v1/group/pause", { cookie: strange, body: { group: GROUP } }), {
    status: 409,
    body: "Only operators may do this",
  });
  t.match(await names(), { state: "broken", says: /takes no deed on a group/ });
  t.match(await system.ledger.groups(), [{ paused: false }]);
  const { rows } = jsonOf<{ rows: readonly object[] }>(await ask("/v1/audit", { cookie }));
  t.match(rows[0], { deed: "pause", about: GROUP, state: "refused" });
  await own.stop();
});

await t.test("its role of the database changes no run and no row of who did what, and reads no secret", async (t) => {
  const tables = (await sql("select tablename as name from pg_tables where schemaname = 'longshore'")) as readonly {
    name: string;
  }[];
  const MAY: Readonly<Record<string, readonly string[]>> = { sign_in: ["insert", "delete"], audit: ["insert"] };
  const denied = async (text: string): Promise<boolean> =>
    await sql(text, ledgerUrl).then(
      () => false,
      (error: unknown) => /permission denied/.test(String(error)),
    );
  t.ok(tables.length > 15);
  for (const { name } of tables) {
    const [column] = (await sql(`select column_name as name from information_schema.columns where table_schema = 'longshore' and table_name = '${name}' and is_generated = 'NEVER' and is_identity = 'NO' limit 1`)) as readonly { name: string }[]; // biome-ignore format: one question
    const writes = {
      insert: `insert into longshore.${name} (${column?.name ?? ""}) select ${column?.name ?? ""} from longshore.${name} where false`,
      update: `update longshore.${name} set ${column?.name ?? ""} = ${column?.name ?? ""} where false`,
      delete: `delete from longshore.${name} where false`,
      truncate: `truncate longshore.${name}`,
    };
    for (const [verb, text] of Object.entries(writes))
      if (MAY[name]?.includes(verb) !== true) t.ok(await denied(text), `${verb} ${name}`);
  }
  t.ok(await denied("select secrets from longshore.run_spec"));
  t.ok(await denied("select * from longshore.suspect"));
});

await t.test("a page that has the newest news is sent none again", async (t) => {
  const id = "slow/stopped";
  const whole = await streamed(id);
  const newest = (await whole.news.next()).value;
  whole.close();
  const again = await streamed(id, newest?.id);
  const quiet = new Promise<string>((done) => setTimeout(done, 1_000, "nothing"));
  t.equal(await Promise.race([again.news.next(), quiet]), "nothing");
  again.close();
});

await t.test("while the broker is away, a page goes on by the ledger, and a deed is told when to come again", async (t) => {
  const run = "nowhere/expires";
  t.match(await ask("/v1/runs", { cookie, body: { run, definition: "nowhere" } }), { status: /20[12]/ });
  const { news, close } = await streamed(run);
  t.match((await news.next()).value, { view: { state: "waiting" } });
  await rabbit.ctl("stop_app");
  await system.until(
    "the console says so",
    async () => (await ask("/v1/cancel", { cookie, body: { run, generation: 1 } })).status === 503,
  );
  t.match(await ask("/v1/cancel", { cookie, body: { run, generation: 1 } }), { headers: { "retry-after": "5" } });
  let state: string | undefined;
  for await (const { view } of news) {
    state = view.state;
    if (state === "failed") break;
  }
  t.equal(state, "failed", "nobody took it in time, which only the ledger says");
  await rabbit.ctl("start_app");
  close();
  await system.ended([run]);
});

await t.test("asked to stop, it ends in order, although streams are open", async (t) => {
  const { news } = await streamed("slow/stopped");
  await news.next();
  t.same(await main.stop(), { kind: "stopped" });
});

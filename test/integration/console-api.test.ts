/**
 * The console's HTTP as programs ask it: who may ask what, the story and the events of runs, refused requests, and ids.
 *
 * The failures this prevents: a route that somebody may ask who should not; a program that misses an event; and an answer by which a
 * person learns of a run that they may not see.
 */
// runs at most 6 min
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { ROLE_NAMES } from "@longshore/contract/access-rule.ts";
import t from "tap";
import { type Asking, jsonOf, openConsole, type SentEvent } from "../harness/console.ts";
import { sqlAt } from "../harness/servers/sql.ts";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const definitionsDir = await mkdtemp(path.join(tmpdir(), "longshore-definitions-"));
t.teardown(() => rm(definitionsDir, { recursive: true, force: true }));
const define = (name: string, text: string) =>
  writeFile(path.join(definitionsDir, `${name}.yaml`), `name: ${name}\nimage: busybox\n${text}`);
await define("greet", 'command: [sh, -c, "echo a-word-of-the-log"]\nenv: { PASSWORD: canary }\n');
await define("broken", 'command: ["false"]\nretries: { max: 0 }\n');
await define("slow", 'command: [sleep, "300"]\n');

await using system = await openSystem({ launcher: { definitionsDir } });
await using _launcher = await system.launcher();
await using _watcher = await system.watcher();
const access = [
  ...ROLE_NAMES.map((role) => ({ who: { team: role }, may: [role] })),
  { who: { team: "greeters" }, may: ["runner"], definitions: ["greet", "gret"] },
  { who: { team: "elsewhere" }, may: ["viewer"], tenants: ["elsewhere"] },
  { who: { team: "readers" }, may: ["see"] },
];
const { url } = system.postgres;
const { ask, streamed, signIn, stop, ended } = await openConsole({ ledger: url, broker: url, access });
const ada = await signIn("Ada", "admin");

const GREETED = "greet/first";
const SLOW = "slow/first";
await t.test("whoever sees all runs may choose the id of a run", async (t) => {
  t.match(await ask("/v1/runs", { cookie: ada, body: { run: GREETED, definition: "greet" } }), { status: /20[12]/ });
  t.match(await ask("/v1/runs", { cookie: ada, body: { run: SLOW, definition: "slow" } }), { status: /20[12]/ });
  await system.ended([GREETED]);
  await system.heard("run.started", SLOW);
});

/** A stream answers with its head alone. */
async function statusOf(target: string, asking: Asking): Promise<number> {
  if (!/^\/v1\/(events|changes|log)/.test(target) || target.includes("wait=")) return (await ask(target, asking)).status;
  const { status, close } = await streamed(target, asking);
  close();
  return status;
}

/** Of no generation that was: what is let through has no effect. */
const another = { run: SLOW, generation: 9 };
const unusable = (definition: string) => ({ run: "never", definition, parameters: { unknown: 1 } });

const nothing = { deed: "cancel", filter: { find: "no-such-run" } };

// biome-ignore format: a table
const WHO_MAY_WHAT: readonly (readonly [target: string, body: object | undefined, ...statuses: readonly number[]])[] = [
  //                                        nobody, no rule, viewer, elsewhere, runner, greeter, operator, admin
  ["/v1/enter", { token: "none" },                403, 403, 403, 403, 403, 403, 403, 403],
  ["/v1/me", undefined,                           401, 200, 200, 200, 200, 200, 200, 200],
  ["/v1/openapi.json", undefined,                 401, 200, 200, 200, 200, 200, 200, 200],
  ["/v1/definitions", undefined,                  401, 200, 200, 200, 200, 200, 200, 200],
  ["/v1/definition?name=greet", undefined,        401, 404, 200, 404, 200, 200, 200, 200],
  ["/v1/definition?name=slow", undefined,         401, 404, 200, 404, 200, 404, 200, 200],
  ["/v1/runs", undefined,                         401, 403, 200, 200, 200, 200, 200, 200],
  ["/v1/run?id=slow/first", undefined,            401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/story?run=slow/first", undefined,         401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/request?run=slow/first", undefined,       401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/changes", undefined,                      401, 403, 200, 200, 200, 200, 200, 200],
  ["/v1/changes?run=slow/first", undefined,       401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/events", undefined,                       401, 403, 200, 200, 200, 200, 200, 200],
  ["/v1/events?wait=0s", undefined,               401, 403, 200, 200, 200, 200, 200, 200],
  ["/v1/events?run=slow/first", undefined,        401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/events?run=slow/first&wait=0s", undefined, 401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/runs", unusable("greet"),                 401, 403, 403, 403, 422, 422, 422, 422],
  ["/v1/runs", unusable("slow"),                  401, 403, 403, 403, 422, 404, 422, 422],
  ["/v1/cancel", another,                         401, 403, 403, 403, 404, 404, 202, 202],
  ["/v1/restart", { ...another, from: "failed" }, 401, 403, 403, 403, 404, 404, 202, 202],
  ["/v1/bulk", nothing,                           401, 403, 403, 403, 403, 403, 200, 200],
  ["/v1/refused", undefined,                      401, 403, 200, 200, 403, 403, 200, 200],
  ["/v1/check", { message: "{}" },                401, 403, 200, 200, 200, 200, 200, 200],
  ["/v1/log?run=slow/first", undefined,           401, 403, 200, 404, 404, 404, 200, 200],
  ["/v1/groups", undefined,                       401, 403, 403, 403, 403, 403, 200, 200],
  ["/v1/health", undefined,                       401, 403, 403, 403, 403, 403, 200, 200],
  ["/v1/group/pause", { group: "nowhere" },       401, 403, 403, 403, 403, 403, 404, 404],
  ["/v1/group/drain", { group: "nowhere" },       401, 403, 403, 403, 403, 403, 404, 404],
  ["/v1/group/resume", { group: "nowhere" },      401, 403, 403, 403, 403, 403, 404, 404],
  ["/v1/audit", undefined,                        401, 403, 403, 403, 403, 403, 403, 200],
  ["/v1/numbers", undefined,                      401, 403, 403, 403, 403, 403, 200, 200],
  ["/v1/runs?code=ExitCode", undefined,           401, 403, 200, 200, 200, 200, 200, 200],
  ["/v1/runs?group=east", undefined,              401, 403, 403, 403, 403, 403, 200, 200],
  ["/v1/leave", {},                               401, 204, 204, 204, 204, 204, 204, 204],
];
const ASKERS = ["nobody", "no rule", "viewer", "elsewhere", "runner", "greeters", "operator", "admin"];

await t.test("who may what: every route, asked by everybody", async (t) => {
  const cookies = [undefined, ...(await Promise.all(ASKERS.slice(1).map((it) => signIn(`the ${it}`, it))))];
  const greeter = cookies[ASKERS.indexOf("greeters")];
  const { cards } = jsonOf<{ cards: readonly { name: string; mayRun: boolean }[] }>(
    await ask("/v1/definitions", { cookie: greeter }),
  );
  t.same(cards.map(({ name, mayRun }) => [name, mayRun]), [["greet", true]]); // biome-ignore format: one line
  for (const [who, wanted] of [
    ["greeters", []],
    ["admin", ["gret"]],
  ] as const)
    t.same(
      jsonOf<{ inVain: object }>(await ask("/v1/definitions", { cookie: cookies[ASKERS.indexOf(who)] })).inVain,
      wanted,
      "names in the rules that nobody prepared",
    );
  t.match(jsonOf(await ask("/v1/me", { cookie: cookies[ASKERS.indexOf("runner")] })), { may: ["see", "log", "run", "stop"] });
  for (const [target, body, ...statuses] of WHO_MAY_WHAT) {
    const found: number[] = [];
    for (const own of cookies) found.push(await statusOf(target, { cookie: own, ...(body && { body }) }));
    const row = (all: readonly number[]) => ASKERS.map((it, at) => `${it} ${all[at]}`);
    t.same(row(found), row(statuses), `${body === undefined ? "GET" : "POST"} ${target}`);
  }
  const { paths } = JSON.parse(await readFile("services/console/openapi.json", "utf8")) as {
    paths: Record<string, Record<string, object>>;
  };
  const described = Object.entries(paths).flatMap(([at, methods]) => Object.keys(methods).map((it) => `${it} ${at}`));
  const asked = WHO_MAY_WHAT.map(([target, body]) => `${body === undefined ? "get" : "post"} ${target.split("?")[0]}`);
  t.same(described.filter((it) => !asked.includes(it)), [], "each route stands in the table"); // biome-ignore format: one line
  t.same(
    jsonOf(await ask("/v1/openapi.json", { cookie: ada })),
    JSON.parse(await readFile("services/console/openapi.json", "utf8")),
  );
  await system.until("the launcher's answers", async () => {
    const { rows } = jsonOf<{ rows: readonly { by: { name: string }; deed: string; about: string; state: string }[] }>(
      await ask("/v1/audit", { cookie: ada }),
    );
    const told = rows.map(({ by, deed, about, state }) => `${by.name} ${deed} ${about} ${state}`);
    return ["the admin restart slow/first refused", "the greeters run slow denied"].every((it) => told.includes(it));
  });
});

interface Event {
  readonly id: string;
  readonly type: string;
  readonly subject: string;
  readonly sequence: string;
  readonly data: { readonly log?: object };
}
interface Told {
  readonly events: readonly Event[];
  readonly after: string;
  readonly resync?: boolean;
}
const told = async (query: string, cookie = ada) => jsonOf<Told>(await ask(`/v1/${query}`, { cookie }));
const typesOf = (events: readonly Event[]) => events.map(({ type }) => type.replace("dev.longshore.run.", ""));

await t.test("a run's story is what was published, in order and without a gap", async (t) => {
  const { events } = await told(`story?run=${GREETED}`);
  t.same(events.map(({ sequence }) => Number(sequence)), events.map((_, at) => at + 1)); // biome-ignore format: one line
  t.equal(typesOf(events).at(-1), "succeeded");
  const published = system.received.filter(({ subject }) => subject === GREETED);
  t.same(events.map(({ id, data }) => ({ id, data })), published.map(({ id, data }) => ({ id, data }))); // biome-ignore format: one line
  t.same((await told(`story?run=${GREETED}&after=2`)).events, events.slice(2));
  t.match(await ask(`/v1/story?run=${GREETED}&after=x`, { cookie: ada }), { status: 422 });
});

await t.test("whoever may see a run and not read its log is told all but the log", async (t) => {
  const reader = await signIn("Ruth", "readers");
  const whole = await told(`story?run=${GREETED}`);
  const { events } = await told(`story?run=${GREETED}`, reader);
  t.same(typesOf(events), typesOf(whole.events));
  t.match(JSON.stringify(whole), "a-word-of-the-log");
  t.notMatch(JSON.stringify(events), "a-word-of-the-log");
  t.notMatch(JSON.stringify(await told(`events?run=${GREETED}&wait=0s`, reader)), "a-word-of-the-log");
});

await t.test("a request is shown without its environment to all but operators", async (t) => {
  const of = async (cookie: string) => (await ask(`/v1/request?run=${GREETED}`, { cookie })).body;
  t.match(await of(ada), "canary");
  const seen = await of(await signIn("Vic", "viewer"));
  t.notMatch(seen, "canary");
  t.match(seen, '"/env"');
});

await t.test("a run's events come as a stream that goes on where it was left, and as a question that waits", async (t) => {
  const { events, type, close } = await streamed(`/v1/events?run=${GREETED}`, { cookie: ada });
  t.equal(type, "text/event-stream");
  const heard: SentEvent[] = [];
  for await (const event of events) {
    heard.push(event);
    if (event.data?.includes("run.succeeded") === true) break;
  }
  close();
  t.same(heard.map(({ id }) => Number(id)), heard.map((_, at) => at + 1)); // biome-ignore format: one line
  const again = await streamed(`/v1/events?run=${GREETED}`, { cookie: ada, headers: { "last-event-id": "2" } });
  t.equal((await again.events.next()).value?.id, "3");
  again.close();

  const all = await told(`events?run=${SLOW}&wait=0s`);
  t.ok(all.events.length > 1);
  t.same(await told(`events?run=${SLOW}&after=${all.after}&wait=0s`), { events: [], after: all.after });
  const waiting = told(`events?run=${SLOW}&after=${all.after}&wait=60s`);
  await ask("/v1/cancel", { cookie: ada, body: { run: SLOW, generation: 1 } });
  t.equal(typesOf((await waiting).events)[0], "cancelling");
  await system.ended([SLOW]);
});

await t.test("all events that the asker reaches come behind a place, each once, and none of others", async (t) => {
  const [start, own] = [await told("events?wait=0s"), await signIn("Gro", "greeters")];
  t.same(start.events, [], "it begins now");
  const begin = await told("events?wait=0s", own);
  const stream = await streamed(`/v1/events?after=${start.after}`, { cookie: ada });
  const { run: hers } = jsonOf<{ run: string }>(await ask("/v1/definition?name=greet", { cookie: own }));
  t.match(await ask("/v1/runs", { cookie: ada, body: { run: "greet/second", definition: "greet" } }), { status: /20[12]/ });
  await system.ended(["greet/second"]);
  t.match(await ask("/v1/runs", { cookie: own, body: { run: hers, definition: "greet" } }), { status: /20[12]/ });
  await system.ended([hers]);

  const readOn = async (from: string, cookie: string, until: string) => {
    const events: Event[] = [];
    for (let after = from; ; ) {
      const next = await told(`events?after=${after}&wait=30s`, cookie);
      events.push(...next.events);
      after = next.after;
      if (next.events.some(({ type, subject }) => type.endsWith("run.succeeded") && subject === until)) return { events, after };
    }
  };
  const { events, after } = await readOn(start.after, ada, hers);
  const wanted = system.received.filter(({ subject }) => subject === hers || subject === "greet/second").map(({ id }) => id);
  t.same(events.map(({ id }) => id).toSorted(), wanted.toSorted());
  const ownEvents = (await readOn(begin.after, own, hers)).events;
  t.same(new Set(ownEvents.map(({ subject }) => subject)), new Set([hers]));

  const heard: string[] = [];
  let place = "";
  for await (const { id = "", data } of stream.events) {
    if (data === undefined) continue;
    heard.push((JSON.parse(data) as Event).id);
    place = id;
    if (heard.length === wanted.length) break;
  }
  stream.close();
  t.same(heard.toSorted(), wanted.toSorted());
  t.same((await told(`events?after=${place}&wait=0s`)).events, [], "an event's id is the place behind it");

  const [epoch, ...rest] = after.split(".");
  for (const ahead of [`${Number(epoch) + 1}.${rest.join(".")}`, `${epoch}.9999999999999999999.0.0`])
    t.match(await told(`events?after=${ahead}&wait=60s`), { events: [], resync: true, after: new RegExp(`^${epoch}\\.`) }, ahead);
  const strange = await streamed(`/v1/events?after=${Number(epoch) + 1}.1.1.1`, { cookie: ada });
  t.match((await strange.events.next()).value, { event: "resync", id: new RegExp(`^${epoch}\\.`) });
  strange.close();
  t.match(await ask("/v1/events?after=nonsense&wait=0s", { cookie: ada }), { status: 422, body: "/after" });
});

await t.test("an id of somebody else is answered alike, whether there is such a run or not", async (t) => {
  const [rosa, sol] = [await signIn("Rosa", "runner"), await signIn("Sol", "runner")];
  const formOf = async (cookie: string) => jsonOf<{ run: string }>(await ask("/v1/definition?name=greet", { cookie })).run;
  const [taken, free] = [await formOf(rosa), await formOf(rosa)];
  const asked = (cookie: string, run: string) => ask("/v1/runs", { cookie, body: { run, definition: "greet" } });
  t.match(await asked(rosa, taken), { status: /20[12]/ });
  await system.ended([taken]);
  const answers = [await asked(sol, taken), await asked(sol, free), await asked(sol, GREETED), await asked(sol, "greet/nobody")];
  for (const { status, body } of answers) t.same({ status, body }, { status: 422, body: answers[0]?.body });
  t.match(answers[0]?.body, '"path":"/run"');
  t.match(await asked(rosa, taken), { status: 200 });
  t.match(await asked(ada, taken), { status: 200 }, "whoever sees all runs may name any");
});

await t.test("refused requests are listed with what is wrong at its path, a page at a time", async (t) => {
  for (let n = 0; n < 60; n++)
    await system.command("run.requested", { run: `bad/${n}`, definition: "greet", parameters: { unknown: n } });
  interface Row {
    readonly run: string;
    readonly problems: readonly { readonly path: string }[];
  }
  const page = async (before?: string) =>
    jsonOf<{ rows: readonly Row[]; before?: string }>(
      await ask(`/v1/refused${before === undefined ? "" : `?before=${before}`}`, { cookie: ada }),
    );
  const all = async (): Promise<readonly Row[]> => {
    const first = await page();
    const rows = [...first.rows];
    for (let { before } = first; before !== undefined; ) {
      const next = await page(before);
      rows.push(...next.rows);
      before = next.before;
    }
    return rows;
  };
  await system.until("the refusals", async () => (await all()).filter(({ run }) => run.startsWith("bad/")).length === 60);
  const rows = (await all()).filter(({ run }) => run.startsWith("bad/"));
  t.equal(new Set(rows.map(({ run }) => run)).size, 60);
  t.equal((await page()).rows.length, 50);
  t.same(rows[0]?.problems.map((it) => it.path), ["/data/parameters/unknown"]); // biome-ignore format: one line
  t.same(jsonOf(await ask("/v1/refused", { cookie: await signIn("Eve", "elsewhere") })), { rows: [] });
});

await t.test("a message is checked by the launcher's rules, and says what would run", async (t) => {
  const check = async (message: object | string, cookie = ada) =>
    jsonOf(
      await ask("/v1/check", { cookie, body: { message: typeof message === "string" ? message : JSON.stringify(message) } }),
    );
  const message = (data: object) => ({ specversion: "1.0", id: "1", source: "/shop", type: "dev.longshore.run.requested", data });
  t.match(await check("{"), { kind: "refused", problems: [{}] });
  t.match(await check(message({ run: "a", imag: "i" })), { kind: "refused" });
  t.match(await check(message({ run: "a", definition: "greet", parameters: { no: 1 } })), {
    kind: "refused",
    problems: [{ path: "/data/parameters/no" }],
  });
  const taken = { kind: "taken", type: "run.requested", run: "a", definition: "greet", steps: [{ name: "main" }] };
  t.same(await check(message({ run: "a", definition: "greet" })), taken);
  const unknown = { kind: "refused", problems: [{ path: "/data/definition", code: "DefinitionUnknown" }] };
  t.match(await check(message({ run: "a", definition: "nope" })), unknown);
  t.match(await check(message({ run: "a", definition: "slow" }), await signIn("Gil", "greeters")), unknown);
  t.match(await check(message({ run: "a", image: "busybox", command: ["true"] })), {
    steps: [{ name: "main", image: "busybox" }],
  });
  const cancel = { specversion: "1.0", id: "1", source: "/shop", type: "dev.longshore.run.cancel", data: { run: "a" } };
  t.match(await check(cancel), { kind: "taken", type: "run.cancel", run: "a", steps: [] });
});

interface Line {
  readonly done?: number;
  readonly of: number;
  readonly finished?: boolean;
}
/** Counts, and does it twice. */
async function twice(body: { readonly deed: string; readonly filter: object }) {
  const { count, ...counted } = jsonOf<{ bulk: string; upTo: string; count: number }>(
    await ask("/v1/bulk", { cookie: ada, body }),
  );
  const act = async () => {
    const { headers, body: text } = await ask("/v1/bulk", { cookie: ada, body: { ...body, counted } });
    const lines = text.trimEnd().split("\n").map((line) => JSON.parse(line) as Line); // biome-ignore format: one value
    return { type: headers["content-type"], lines };
  };
  return { count, act };
}
const generationsOf = (run: string) =>
  new Set(system.received.filter(({ subject }) => subject === run).map((it) => it.generation));

await t.test("many runs are stopped at once, those that were counted and no others, and once", async (t) => {
  const runs = Array.from({ length: 25 }, (_, n) => `many/${n}`);
  for (const run of runs) await system.command("run.requested", { run, definition: "slow" });
  await Promise.all(runs.map((run) => system.heard("run.accepted", run)));
  const { count, act } = await twice({ deed: "cancel", filter: { find: "many/" } });
  t.equal(count, runs.length);
  await system.command("run.requested", { run: "many/later", definition: "slow" });
  await system.heard("run.accepted", "many/later");
  const { type, lines } = await act();
  t.match(type, /^application\/x-ndjson/);
  t.same(lines, [{ done: 0, of: 25 }, { done: 20, of: 25 }, { done: 25, of: 25, finished: true }]); // biome-ignore format: one line
  await act();
  await system.ended(runs);
  const asked = system.received.filter(({ type: it, subject = "" }) => it === "run.cancelling" && subject.startsWith("many/"));
  t.ok(asked.length > 0);
  t.equal(asked.length, new Set(asked.map(({ subject }) => subject)).size);
  t.notOk(system.received.some(({ type: it, subject }) => it === "run.cancelled" && subject === "many/later"));
  const { rows } = jsonOf<{ rows: readonly { deed: string; about: string }[] }>(await ask("/v1/audit", { cookie: ada }));
  for (const run of runs) t.ok(rows.some((row) => row.deed === "stop" && row.about === run), run); // biome-ignore format: one line
  await ask("/v1/cancel", { cookie: ada, body: { run: "many/later", generation: 1 } });
  await system.ended(["many/later"]);
});

await t.test("all failed runs are started again, once, although they fail again", async (t) => {
  await system.command("run.requested", { run: "bulk/broken", definition: "broken" });
  await system.ended(["bulk/broken"]);
  const { count, act } = await twice({ deed: "restart", filter: { definition: "broken" } });
  t.equal(count, 1);
  await act();
  const failed = () => system.received.filter(({ type, subject }) => type === "run.failed" && subject === "bulk/broken").length;
  await system.until("the second failure", () => failed() === 2);
  await act();
  await ask("/v1/runs", { cookie: ada, body: { run: "greet/after", definition: "greet" } });
  await system.ended(["greet/after"]);
  t.same(generationsOf("bulk/broken"), new Set([1, 2]));
  const wrong = { deed: "restart", filter: { outcome: "active" } };
  t.match(await ask("/v1/bulk", { cookie: ada, body: wrong }), { status: 422, body: "/filter/outcome" });
});

await t.test("a deed on more than 10,000 runs is refused", async (t) => {
  await sqlAt(
    url,
    `insert into longshore.run (id, tenant, source, digest, state, outcome, generation, seq, plan, steps, accepted_at, ended_at)
     select 'x/' || n, tenant, source, digest, 'ended', 'failed', 1, 1, plan, steps, now(), now()
     from longshore.run r, generate_series(1, 10001) n where r.id = '${GREETED}'`,
  );
  const body = { deed: "restart", filter: { find: "x/" } };
  t.match(await ask("/v1/bulk", { cookie: ada, body }), { status: 422, body: "More than 10,000 runs match" });
  await sqlAt(url, "delete from longshore.run where id = 'x/1'");
  t.match(jsonOf(await ask("/v1/bulk", { cookie: ada, body })), { count: 10_000 });
});

await t.test("asked to stop, it ends in order, although somebody waits", async (t) => {
  const { events } = await streamed("/v1/events?run=greet/first", { cookie: ada });
  await events.next();
  const waiting = ask("/v1/events?wait=60s", { cookie: ada }).catch(() => undefined);
  stop.abort();
  t.same(await ended, { kind: "stopped" });
  await waiting;
});

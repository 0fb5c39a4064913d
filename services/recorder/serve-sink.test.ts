/** One sink's loop in virtual time: over the models of the ledger, to a sink that a function plays. */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { SinkState } from "@longshore/ledger/deliveries.ts";
import {
  claimed,
  complete,
  failed,
  finish,
  HOUR_MS,
  INSTALLATION,
  jobName,
  wanted,
} from "@longshore/ledger/testing/conformance-parts.ts";
import { deliveriesModel } from "@longshore/ledger/testing/deliveries-model.ts";
import { ledgerModel } from "@longshore/ledger/testing/model.ts";
import { noFailpoint } from "@longshore/runtime/failpoint.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { backOff, wakeUp } from "@longshore/runtime/loop.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import { stepsClock } from "@longshore/runtime/testing/steps-clock.ts";
import t, { type Test } from "tap";
import { openBreaker } from "./breaker.ts";
import { deliver } from "./deliver.ts";
import type { Parts, Sink } from "./parts.ts";
import type { Rule } from "./rules.ts";
import type { Answer } from "./send.ts";
import { listen, serveSink } from "./serve-sink.ts";

const NAME = "shop";
const ALL: Rule = {
  on: ["run.*"],
  match: {},
  method: "POST",
  url: "https://shop.example/${{ event.run }}",
  headers: {},
  body: { type: "${{ event.type }}" },
};

interface Got {
  readonly atMs: number;
  readonly method: string;
  readonly path: string;
  readonly id: string;
  readonly body: Readonly<Record<string, unknown>>;
}

/** How the sink answers the request: a status, or that it does not. */
type Playing = (got: Got, count: number) => Partial<Answer> | "silent";

const ok = { status: 204 };

async function stage(
  t: Test,
  {
    rules = [ALL],
    play = () => ok,
    inFlight = 8,
    pollMs = 1_000,
  }: { rules?: readonly Rule[]; play?: Playing; inFlight?: number; pollMs?: number } = {},
) {
  const clock = stepsClock({ nowMs: Date.UTC(2030, 0, 1) });
  const model = ledgerModel({ clock, installation: INSTALLATION, jobName });
  const deliveries = deliveriesModel(model.tables, clock);
  await deliveries.putSinks([NAME]);
  const got: Got[] = [];
  const out = new Map<string, number>();
  let most = 0;
  const sink: Sink = {
    name: NAME,
    rules,
    signingKeys: undefined,
    timeoutMs: 10_000,
    inFlightMax: inFlight,
    breaker: openBreaker(clock, inFlight),
    wakeUp: wakeUp(clock),
    send: async ({ method, url, headers, body }, signal) => {
      const path = new URL(url).pathname;
      t.equal(out.get(path) ?? 0, 0, "one request of a run at a time");
      out.set(path, 1);
      most = Math.max(
        most,
        [...out.values()].reduce((sum, it) => sum + it, 0),
      );
      const request = { atMs: clock.now(), method, path, id: headers["webhook-id"] ?? "", body: JSON.parse(body) as Got["body"] };
      got.push(request);
      await clock.sleep(100, signal);
      out.set(path, 0);
      const answer = play(request, got.length);
      if (answer === "silent" || signal.aborted) throw new Failure("retry", "ETIMEDOUT", "It gave no answer.");
      return { status: 200, retryAfterMs: undefined, says: "", ...answer };
    },
  };
  const parts: Parts = {
    installation: INSTALLATION,
    owner: "me",
    clock,
    log: silentLog,
    metrics: openMetrics("recorder", "test"),
    ledger: deliveries,
    sinks: [sink],
    timing: { pollMs, leaseMs: undefined, giveUpMs: 72 * HOUR_MS },
    fail: noFailpoint,
    pause: backOff(clock),
  };
  const ledger = model.connect();
  /** A run each, from its acceptance to its end: four events. */
  const runs = async (...ids: string[]): Promise<void> => {
    for (const work of await claimed(
      ledger,
      ids.map((id) => wanted(id)),
    ))
      await finish(ledger, work, complete);
  };
  const serving = (owner: string, of = sink) => {
    const stop = new AbortController();
    const ended = serveSink({ ...parts, owner }, of)(stop.signal);
    return { stop: async () => { stop.abort(); await clock.pass(20_000); await ended; } }; // biome-ignore format: one value
  };
  const state = async (): Promise<SinkState | undefined> => (await deliveries.states())[0];
  const typesOf = (run: string) =>
    got.filter(({ path }) => path === `/${run}`).map(({ body }) => String(body["type"]).replace("run.", ""));
  return { clock, ledger, deliveries, parts, sink, got, runs, serving, state, typesOf, mostAtOnce: () => most };
}

const STORY = ["accepted", "launched", "started", "succeeded"];

t.test("each run's events come in order, many runs at once, and then nothing more", async (t) => {
  const it = await stage(t);
  const served = it.serving("me");
  await it.runs("a", "b", "c");
  await it.clock.pass(5_000);
  for (const run of ["a", "b", "c"]) t.same(it.typesOf(run), STORY);
  t.ok(it.mostAtOnce() > 1, "side by side");
  t.equal(new Set(it.got.map(({ id }) => id)).size, 12, "each request has an id of its own");
  t.match(await it.state(), { waiting: 0, oldestMs: 0, behindMs: 0, owner: "me" });
  await it.runs("d");
  await it.clock.pass(5_000);
  t.same(it.typesOf("d"), STORY);
  t.equal(it.got.length, 16);
  await served.stop();
  t.match(await it.state(), { owner: undefined });
});

t.test("a word from the ledger wakes the sink's loop long before its next look", async (t) => {
  const it = await stage(t, { pollMs: HOUR_MS });
  const served = it.serving("me");
  const stop = new AbortController();
  const listening = listen({ ...it.parts, sinks: [it.sink] })(stop.signal);
  await it.clock.pass(1_000);
  await it.runs("a");
  await it.clock.pass(5_000);
  t.same(it.typesOf("a"), STORY);
  stop.abort();
  await listening;
  await served.stop();
});

t.test("an event that several rules are about is told by each, in their order", async (t) => {
  const rule = (step: string, on: string, match: Rule["match"] = {}): Rule => ({
    ...ALL,
    on: [on],
    match,
    method: "PUT",
    body: { step },
  });
  const rules = [
    rule("V", "run.accepted"),
    rule("S", "run.launched", { "data.step": "main" }),
    rule("", "run.launched", { "data.step": "other" }),
    rule("project", "run.succeeded"),
    rule("F", "run.succeeded"),
  ];
  const it = await stage(t, { rules, play: (_, count) => ({ status: count === 4 ? 503 : 200 }) });
  const served = it.serving("me");
  await it.runs("a");
  await it.clock.pass(20_000);
  t.same(it.got.map(({ body }) => body["step"]), ["V", "S", "project", "F", "F"], "the rule that failed is repeated, and none before it"); // biome-ignore format: one call
  const [, , , first, second] = it.got;
  t.equal(first?.id, second?.id);
  await served.stop();
});

const passing = [
  { name: "a 500", answer: { status: 500 } },
  { name: "a 503", answer: { status: 503 } },
  { name: "a 429", answer: { status: 429 } },
  { name: "a 408", answer: { status: 408 } },
  { name: "a 425", answer: { status: 425 } },
  { name: "no answer", answer: "silent" },
] as const; // biome-ignore format: a table
for (const { name, answer } of passing)
  t.test(`${name} is tried again, and nothing of its run overtakes it`, async (t) => {
    const it = await stage(t, { play: (_, count) => (count <= 3 ? answer : ok) });
    const served = it.serving("me");
    await it.runs("a");
    await it.clock.pass(60_000);
    t.same(it.typesOf("a"), ["accepted", "accepted", "accepted", ...STORY]);
    t.equal(new Set(it.got.slice(0, 4).map(({ id }) => id)).size, 1, "with the same webhook-id");
    t.match(await it.state(), { waiting: 0, parkedLines: 0, parkedRequests: 0 });
    await served.stop();
  });

t.test("Retry-After is obeyed, by all runs of the sink", async (t) => {
  const it = await stage(t, { inFlight: 1, play: (_, count) => (count === 1 ? { status: 429, retryAfterMs: 120_000 } : ok) });
  const served = it.serving("me");
  await it.runs("a", "b");
  await it.clock.pass(119_000);
  t.equal(it.got.length, 1);
  await it.clock.pass(60_000);
  for (const run of ["a", "b"]) t.same(it.typesOf(run).slice(-4), STORY);
  await served.stop();
});

t.test("an API that answers 500 for ten minutes gets few requests meanwhile, and then everything in order", async (t) => {
  const began = Date.UTC(2030, 0, 1);
  const it = await stage(t, { play: ({ atMs }) => ({ status: atMs < began + 600_000 ? 500 : 200 }) });
  const served = it.serving("me");
  const ids = Array.from({ length: 50 }, (_, index) => `run-${index}`);
  await it.runs(...ids);
  await it.clock.pass(600_000);
  t.ok(it.got.length <= 30, `${it.got.length} requests of 50 runs in ten minutes`);
  t.ok((await it.state())?.failure, "it says why");
  await it.clock.pass(600_000);
  for (const run of ids) t.same(it.typesOf(run).slice(-4), STORY, run);
  t.equal(new Set(it.got.map(({ id }) => id)).size, 200, "each once, but for repeats with the same id");
  t.match(await it.state(), { waiting: 0 });
  await served.stop();
});

t.test("one run whose request always fails holds up no other, and is parked after 72 hours", async (t) => {
  const it = await stage(t, { pollMs: 60_000, play: ({ path }) => ({ status: path === "/bad" ? 500 : 200 }) });
  const served = it.serving("me");
  await it.runs("bad", "good");
  await it.clock.pass(100_000);
  t.same(it.typesOf("good"), STORY);
  await it.clock.pass(71 * HOUR_MS);
  t.match(await it.state(), { parkedLines: 0, waiting: 1 });
  await it.clock.pass(2 * HOUR_MS);
  t.match(await it.state(), { parkedLines: 1, waiting: 0 });
  t.match(await it.deliveries.parked({ most: 10 }), [{ kind: "line", run: "bad", sequence: 1, why: { code: "500" } }]);
  await it.runs("later");
  await it.clock.pass(100_000);
  t.same(it.typesOf("later"), STORY);
  await served.stop();
});

t.test("a request that is refused is parked, its run goes on, and a person may send it again", async (t) => {
  let refuses = true;
  const it = await stage(t, {
    play: ({ body }) => ({ status: refuses && body["type"] === "run.launched" ? 404 : 200, says: "no such run" }),
  });
  const served = it.serving("me");
  await it.runs("a");
  await it.clock.pass(5_000);
  t.same(it.typesOf("a"), STORY);
  t.match(await it.deliveries.parked({ most: 10 }), [
    { kind: "request", run: "a", sequence: 2, rule: 0, why: { code: "404", sentence: "It answered 404: no such run" } },
  ]);
  await it.deliveries.retry(NAME);
  await it.clock.pass(5_000);
  t.match(await it.state(), { parkedRequests: 1 }, "refused again");
  refuses = false;
  await it.deliveries.retry(NAME);
  await it.clock.pass(5_000);
  t.match(await it.state(), { parkedRequests: 0 });
  t.same(it.typesOf("a"), [...STORY, "launched", "launched"]);
  t.equal(new Set(it.got.filter(({ body }) => body["type"] === "run.launched").map(({ id }) => id)).size, 1);
  await served.stop();
});

t.test("a redirect is not followed, and parked like a refusal", async (t) => {
  const it = await stage(t, { rules: [{ ...ALL, on: ["run.succeeded"] }], play: () => ({ status: 302 }) });
  const served = it.serving("me");
  await it.runs("a");
  await it.clock.pass(5_000);
  t.match(await it.deliveries.parked({ most: 10 }), [{ why: { code: "302" } }]);
  t.equal(it.got.length, 1);
  await served.stop();
});

t.test("a place that the rules do not have any more holds up nothing", async (t) => {
  const it = await stage(t, { rules: [ALL] });
  await it.runs("a");
  await it.deliveries.hold(NAME, "before", 500);
  await it.deliveries.advance(NAME, "before", 100);
  const [line] = await it.deliveries.due(NAME, { most: 1, busy: [] });
  if (line === undefined) throw new Error("no line");
  const why = { code: "404", sentence: "It was refused." };
  await it.deliveries.settle(NAME, "before", line, { kind: "told", sequence: 0, rule: 3, parked: { sequence: 1, rule: 2, why } });
  await it.deliveries.retry(NAME);
  await it.clock.pass(1_000);
  const served = it.serving("me");
  await it.clock.pass(5_000);
  t.same(it.typesOf("a"), STORY.slice(1));
  t.match(await it.state(), { waiting: 0, parkedRequests: 0 });
  await served.stop();
});

t.test("a value that is not there parks its request with the reason, without a request", async (t) => {
  const it = await stage(t, {
    rules: [
      { ...ALL, on: ["run.succeeded"], body: { at: "${{ event.data.nosuch }}" } },
      { ...ALL, on: ["run.succeeded"] },
    ],
  });
  const served = it.serving("me");
  await it.runs("a");
  await it.clock.pass(5_000);
  t.match(await it.deliveries.parked({ most: 10 }), [
    { sequence: 4, rule: 0, why: { code: "TemplateFailed", sentence: /event\.data\.nosuch/ } },
  ]);
  t.equal(it.got.length, 1, "the other rule's");
  await served.stop();
});

t.test("a sink that says 410 is told nothing more until a person says so", async (t) => {
  let gone = true;
  const it = await stage(t, { inFlight: 1, play: () => ({ status: gone ? 410 : 200 }) });
  const served = it.serving("me");
  await it.runs("a", "b");
  await it.clock.pass(HOUR_MS);
  t.equal(it.got.length, 1);
  t.match(await it.state(), { stopped: { code: "410" } });
  gone = false;
  await it.deliveries.retry(NAME);
  await it.clock.pass(10_000);
  for (const run of ["a", "b"]) t.same(it.typesOf(run).slice(-4), STORY);
  await served.stop();
});

t.test("of two recorders one serves the sink; the other takes over when it stops, and no event comes twice", async (t) => {
  const it = await stage(t);
  const one = it.serving("one");
  await it.clock.pass(1_500);
  const two = it.serving("two");
  await it.runs("a");
  await it.clock.pass(5_000);
  t.same(it.typesOf("a"), STORY);
  await one.stop();
  await it.runs("b");
  await it.clock.pass(5_000);
  t.same(it.typesOf("b"), STORY);
  t.match(await it.state(), { owner: "two" });
  await two.stop();
});

t.test("a request that is under way when the program is to stop is still recorded", async (t) => {
  const it = await stage(t);
  const served = it.serving("me");
  for (const work of await claimed(it.ledger, [wanted("a")])) await finish(it.ledger, work, failed);
  await it.clock.pass(50);
  t.equal(it.got.length, 1);
  await served.stop();
  t.equal(it.got.length, 1, "and no other began");
  t.match(await it.state(), { owner: undefined });
  const again = it.serving("me");
  await it.clock.pass(10_000);
  t.same(it.typesOf("a"), ["accepted", "launched", "started", "failed"], "none twice");
  await again.stop();
});

t.test("while no request may begin, a parked request stays parked, and a line keeps what is known of its failures", async (t) => {
  const it = await stage(t, { rules: [{ ...ALL, on: ["run.started"] }] });
  await it.runs("again", "line");
  await it.deliveries.hold(NAME, "me", HOUR_MS);
  await it.deliveries.advance(NAME, "me", 100);
  const due = async (run: string) => {
    const found = (await it.deliveries.due(NAME, { most: 9, busy: [] })).find((line) => line.run === run);
    if (found === undefined) throw new Error(`nothing of ${run} is due`);
    return found;
  };
  const why = { code: "500", sentence: "It failed." };
  const parked = { sequence: 3, rule: 0, why };
  await it.deliveries.settle(NAME, "me", await due("again"), { kind: "told", sequence: 4, rule: 0, parked });
  await it.deliveries.retry(NAME);
  await it.deliveries.settle(NAME, "me", await due("line"), { kind: "failed", why, againInMs: 0 });
  const { signal } = new AbortController();
  for (const run of ["again", "line"]) {
    const delivery = await due(run);
    t.equal(await deliver(it.parts, it.sink, { delivery, may: () => false, signal }), true);
    t.equal(await deliver(it.parts, it.sink, { delivery: await due(run), may: () => false, signal }), true);
  }
  t.match(await it.state(), { parkedRequests: 1, waiting: 1 });
  t.match(await due("line"), { sequence: 2, rule: 0 }, "the events that no rule is about are behind it");
  t.equal(it.got.length, 0);
});

t.test("a stop between a person's retry and its request does not lose the request", async (t) => {
  let refuses = true;
  const it = await stage(t, {
    inFlight: 1,
    rules: [{ ...ALL, on: ["run.accepted"] }],
    play: () => ({ status: refuses ? 400 : 200 }),
  });
  const served = it.serving("me");
  await it.runs("a", "b");
  await it.clock.pass(5_000);
  t.match(await it.state(), { parkedRequests: 2 });
  await it.deliveries.retry(NAME);
  refuses = false;
  await it.clock.pass(950);
  await served.stop();
  const left = (await it.state())?.parkedRequests;
  const again = it.serving("me");
  await it.clock.pass(5_000);
  t.match(await it.state(), { parkedRequests: 0 }, `${left} were left`);
  t.equal(it.got.length, 4);
  await again.stop();
});

/** One sink's loop: each run's events in order, what is tried again, and who serves the sink. */
import { claimed, failed, finish, HOUR_MS, wanted } from "@longshore/ledger/testing/conformance-parts.ts";
import t from "tap";
import type { Rule } from "./rules.ts";
import { listen } from "./serve-sink.ts";
import { ALL, NAME, ok, stage, STORY } from "./testing/serving.ts";

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

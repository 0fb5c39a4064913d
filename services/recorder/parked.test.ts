/** Requests and lines that are parked: what parks them, what goes on meanwhile, and a person who sends them again. */
import { HOUR_MS } from "@longshore/ledger/testing/conformance-parts.ts";
import t from "tap";
import { deliver } from "./deliver.ts";
import { ALL, NAME, stage, STORY } from "./testing/serving.ts";

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

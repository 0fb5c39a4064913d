/**
 * The rules of what sinks are told, on Postgres and in the model alike.
 *
 * The bug this prevents: a recorder that was tested in virtual time on a ledger that behaves better than the real one.
 */
import type { Test } from "tap";
import type { Deliveries, Delivery } from "../deliveries.ts";
import type { Ledger } from "../port.ts";
import { claimed, complete, finish, first, HOUR_MS, runId, typesOf, wanted } from "./conformance-parts.ts";

export interface DeliveriesOpened extends AsyncDisposable {
  readonly ledger: Ledger;
  readonly deliveries: Deliveries;
  pass(ms: number): Promise<void>;
}

export interface DeliveriesConforming {
  readonly name: string;
  readonly open: () => Promise<DeliveriesOpened>;
}

const SINK = "shop";
const ME = "me";
const WHY = { code: "500", sentence: "It answered 500." };

const ask = (deliveries: Deliveries, busy: readonly string[] = []): Promise<readonly Delivery[]> =>
  deliveries.due(SINK, { most: 10, busy });

/** Reads the feed to its end. */
async function read(deliveries: Deliveries): Promise<void> {
  while (await deliveries.advance(SINK, ME, 3));
}

const lineOf = async (deliveries: Deliveries): Promise<Delivery> => {
  await read(deliveries);
  return first(await ask(deliveries));
};

const told = (sequence: number, rule = 0) => ({ kind: "told", sequence, rule }) as const;

export async function deliveriesConformance(t: Test, { name, open }: DeliveriesConforming): Promise<void> {
  async function begun(): Promise<DeliveriesOpened> {
    const opened = await open();
    await opened.deliveries.putSinks([SINK]);
    await opened.deliveries.hold(SINK, ME, HOUR_MS);
    return opened;
  }

  await t.test(`${name}: a sink is told what is recorded after it was added, each run in order`, async (t) => {
    await using opened = await open();
    const { ledger, deliveries } = opened;
    const [old] = await claimed(ledger, [wanted("old"), wanted("older")]);
    await opened.pass(1_000);
    await deliveries.putSinks([SINK]);
    await deliveries.putSinks([SINK]);
    await deliveries.hold(SINK, ME, HOUR_MS);
    await opened.pass(1_000);
    if (old !== undefined) await finish(ledger, old, complete);
    for (const work of await claimed(ledger, [wanted("new")])) await finish(ledger, work, complete);
    await read(deliveries);
    const due = await ask(deliveries);
    const of = (id: string) => typesOf(due.find(({ run }) => run === id)?.events ?? []);
    t.same(of("old"), ["launched", "started", "succeeded"]);
    t.same(of("new"), ["accepted", "launched", "started", "succeeded"]);
    t.equal(due.length, 2, "and nothing of a run that nothing happened to");
    t.match(due.find(({ run }) => run === "new")?.events[0], {
      tenant: "shop",
      sequence: 1,
      generation: 1,
      epoch: 1,
      data: { run: "new" },
    });
  });

  await t.test(`${name}: a line that was told to its end is due again with the next event, and goes on there`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    const work = first(await claimed(ledger, [wanted("a")]));
    const line = await lineOf(deliveries);
    t.match(line, { run: "a", sequence: 0, rule: 0, tries: 0, failingMs: 0, isAgain: false });
    t.equal(await deliveries.settle(SINK, ME, line, told(0, 2)), true, "two rules of the first event");
    t.match(await lineOf(deliveries), { sequence: 0, rule: 2 });
    t.equal(await deliveries.settle(SINK, ME, line, told(1)), true);
    t.same(await ask(deliveries), []);
    t.equal(await deliveries.settle(SINK, ME, line, told(0, 1)), false, "it does not go back");
    await finish(ledger, work, complete);
    t.match(await lineOf(deliveries), { sequence: 1, rule: 0, events: [{ sequence: 2 }, { sequence: 3 }, { sequence: 4 }] });
    t.same(await ask(deliveries, [line.key]), [], "a busy run is left out");
  });

  await t.test(`${name}: an event that the feed reads while a line is in hand is not forgotten`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    const work = first(await claimed(ledger, [wanted("a")]));
    const line = await lineOf(deliveries);
    await finish(ledger, work, complete);
    await read(deliveries);
    await deliveries.settle(SINK, ME, line, told(1));
    t.match(await ask(deliveries), [{ sequence: 1, events: [{}, {}, {}] }]);
  });

  await t.test(`${name}: what failed is due again later, and how long it fails is known until it succeeds`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    await claimed(ledger, [wanted("a")]);
    const line = await lineOf(deliveries);
    await deliveries.settle(SINK, ME, line, { kind: "failed", why: WHY, againInMs: 60_000 });
    t.same(await ask(deliveries), []);
    t.match(await deliveries.states(), [{ name: SINK, waiting: 1, failure: WHY }]);
    await opened.pass(61_000);
    const again = first(await ask(deliveries));
    t.match(again, { tries: 1, sequence: 0 });
    t.ok(again.failingMs >= 61_000);
    await deliveries.settle(SINK, ME, again, told(1));
    t.match(await deliveries.states(), [{ waiting: 0, failure: undefined }]);
  });

  await t.test(`${name}: a request that was refused is kept, and its line goes on`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    const work = first(await claimed(ledger, [wanted("a")]));
    await finish(ledger, work, complete);
    const line = await lineOf(deliveries);
    await deliveries.settle(SINK, ME, line, { ...told(0, 2), parked: { sequence: 1, rule: 1, why: WHY } });
    await deliveries.settle(SINK, ME, line, told(4));
    t.same(await ask(deliveries), []);
    t.match(await deliveries.parked({ most: 10 }), [{ sink: SINK, run: "a", kind: "request", sequence: 1, rule: 1, why: WHY }]);
    t.equal(await deliveries.retry("another"), 0);
    t.equal(await deliveries.retry(SINK, runId("b")), 0);
    t.equal(await deliveries.retry(SINK, runId("a")), 1);
    const again = first(await ask(deliveries));
    t.match(again, { isAgain: true, sequence: 0, rule: 1, events: [{ sequence: 1 }] });
    t.equal(again.events.length, 1);
    await deliveries.settle(SINK, ME, again, { kind: "failed", why: WHY, againInMs: 1_000 });
    t.same(await ask(deliveries), []);
    await opened.pass(1_000);
    await deliveries.settle(SINK, ME, first(await ask(deliveries)), { kind: "parked", why: { ...WHY, code: "404" } });
    t.same(await ask(deliveries), []);
    t.match(await deliveries.parked({ sink: SINK, most: 10 }), [{ why: { code: "404" } }]);
    await deliveries.retry(SINK);
    await deliveries.settle(SINK, ME, first(await ask(deliveries)), told(1));
    t.same(await deliveries.parked({ most: 10 }), []);
    t.match(await deliveries.states(), [{ parkedRequests: 0, waiting: 0 }]);
  });

  await t.test(`${name}: a parked line waits for a person, who sends it or gives it up`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    const [one, two] = await claimed(ledger, [wanted("a"), wanted("b")]);
    await read(deliveries);
    for (const line of await ask(deliveries)) await deliveries.settle(SINK, ME, line, { kind: "parked", why: WHY });
    for (const work of [one, two]) if (work !== undefined) await finish(ledger, work, complete);
    await read(deliveries);
    t.same(await ask(deliveries), [], "the next events wait, too");
    t.match(await deliveries.states(), [{ parkedLines: 2, waiting: 0 }]);
    t.match(await deliveries.parked({ sink: SINK, most: 10 }), [{ kind: "line", sequence: 1 }, { kind: "line" }]);
    t.equal(await deliveries.drop(SINK, runId("a")), 1);
    t.equal(await deliveries.retry(SINK), 1);
    t.match(await ask(deliveries), [{ run: "b", sequence: 0, tries: 0, failingMs: 0 }]);
    t.match(await deliveries.states(), [{ parkedLines: 0 }]);
  });

  await t.test(`${name}: of several recorders one serves a sink, until it lets go or its time is over`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    await claimed(ledger, [wanted("a")]);
    const line = await lineOf(deliveries);
    t.equal(await deliveries.hold(SINK, "another", 1_000), "of another");
    t.equal(await deliveries.advance(SINK, "another", 10), false);
    await deliveries.letGo(SINK, "another");
    t.match(await deliveries.states(), [{ owner: ME }]);
    await deliveries.letGo(SINK, ME);
    t.equal(await deliveries.hold(SINK, "another", 1_000), "held");
    t.equal(await deliveries.settle(SINK, ME, line, told(1)), false, "a write that comes late changes nothing");
    t.match(await ask(deliveries), [{ sequence: 0 }]);
    await opened.pass(1_001);
    t.equal(await deliveries.hold(SINK, ME, 1_000), "held");
    t.equal(await deliveries.hold("nosuch", ME, 1_000), "of another");
  });

  await t.test(`${name}: a stopped sink is told nothing until a person says so`, async (t) => {
    await using opened = await begun();
    const { deliveries } = opened;
    await deliveries.stop(SINK, "another", WHY);
    t.equal(await deliveries.hold(SINK, ME, 1_000), "held");
    await deliveries.stop(SINK, ME, WHY);
    t.equal(await deliveries.hold(SINK, ME, 1_000), "stopped");
    t.match(await deliveries.states(), [{ stopped: WHY }]);
    t.equal(await deliveries.retry(SINK, runId("a")), 0);
    t.equal(await deliveries.retry(SINK), 1);
    t.equal(await deliveries.hold(SINK, ME, 1_000), "held");
  });

  await t.test(`${name}: a sink is forgotten if no recorder serves it, and is a new one if it comes back`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    const works = await claimed(ledger, [wanted("a"), wanted("b")]);
    await deliveries.settle(SINK, ME, await lineOf(deliveries), { ...told(1), parked: { sequence: 1, rule: 0, why: WHY } });
    t.equal(await deliveries.forget(SINK), false);
    await deliveries.letGo(SINK, ME);
    t.equal(await deliveries.forget(SINK), true);
    t.same([await deliveries.states(), await deliveries.parked({ most: 10 })], [[], []]);
    t.equal(await deliveries.forget(SINK), false);
    await opened.pass(1_000);
    await deliveries.putSinks([SINK]);
    await deliveries.hold(SINK, ME, HOUR_MS);
    await finish(ledger, first(works), complete);
    t.match(await lineOf(deliveries), { sequence: 1, events: [{ sequence: 2 }, {}, {}] });
  });

  await t.test(`${name}: a listener hears when events are recorded, and of nothing else`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    const stop = new AbortController();
    const hints = deliveries.changes(stop.signal);
    await ledger.admit([wanted("first")]);
    t.same(await hints.next(), { done: false, value: "outbox" }, "there may have been some before it listened");
    await read(deliveries);
    const next = hints.next();
    await claimed(ledger, [wanted("second")]);
    t.same(await next, { done: false, value: "outbox" });
    stop.abort();
    while ((await hints.next()).done !== true);
  });

  await t.test(`${name}: how long events wait is told`, async (t) => {
    await using opened = await begun();
    const { ledger, deliveries } = opened;
    await claimed(ledger, [wanted("a")]);
    await opened.pass(60_000);
    t.ok(first(await deliveries.states()).behindMs >= 60_000, "nobody has read it");
    const line = await lineOf(deliveries);
    const [state] = await deliveries.states();
    t.match(state, { behindMs: 0, waiting: 1 });
    t.ok((state?.oldestMs ?? 0) >= 60_000, "it was read, and not told");
    await deliveries.settle(SINK, ME, line, told(1));
    t.match(await deliveries.states(), [{ behindMs: 0, oldestMs: 0, waiting: 0 }]);
  });
}

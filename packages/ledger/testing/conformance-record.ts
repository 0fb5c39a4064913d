/** Conformance: inputs to attempts are recorded in their order, told once, and read back as they were written. */
import type { Test } from "tap";
import type { Work } from "../port.ts";
import {
  cancelled, claimAll, claimed, complete, type Conforming, created, EAST, entry, failed, HOUR_MS, placer, released, runId, started,
  storyOf, uid, wanted, first
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

export async function recording(t: Test, { open }: Conforming): Promise<void> {
  await t.test("200 writers at one run at once leave its sequence dense and tell everything once", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const ledger = first(launchers);
    const steps = Array.from({ length: 100 }, (_, n) => `step-${n}`);
    const works = await claimed(ledger, [wanted("a", { steps })]);
    const inputs = works.flatMap((work) => [entry(work, created(work)), entry(work, started(work))]);
    t.equal(inputs.length, 200);
    await Promise.all(inputs.map((it, n) => (launchers[n % 2] ?? ledger).record([it])));
    const story = await storyOf(ledger, "a");
    t.equal(story.length, 201, "accepted, and of each step launched and started");
    t.equal(story.filter((type) => type === "launched").length, 100);
    t.equal(story.filter((type) => type === "started").length, 100);
  });

  await t.test("of two ends that arrive at once, one is told", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const [one, other] = launchers;
    const works = await claimed(
      one,
      Array.from({ length: 20 }, (_, n) => wanted(`run-${n}`)),
    );
    await one.record(works.map((work) => entry(work, created(work))));
    const half = works.map((work, n) => entry(work, n % 2 === 0 ? complete(work) : failed(work)));
    const turned = works.map((work, n) => entry(work, n % 2 === 0 ? failed(work) : complete(work)));
    await Promise.all([
      one.record(half),
      other.record(turned),
      ...works.map((work) => other.record([entry(work, complete(work))])),
    ]);
    for (const { run } of works) {
      const ends = (await storyOf(one, run.id)).filter((type) => type === "succeeded" || type === "failed");
      t.equal(ends.length, 1, run.id);
    }
  });

  await t.test("several inputs of one run in a batch are applied in their order; what is unknown is said to be", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a"), cancelled("stone")]));
    const recorded = await ledger.record([
      entry(work, created(work)),
      { ...entry(work, created(work)), run: runId("unknown") },
      entry(work, started(work)),
      entry(work, started(work)),
      { ...entry(work, started(work)), n: 7 },
      entry(work, { kind: "claimDue", by: "bug", untilMs: 0 }),
      { ...entry(work, started(work)), run: runId("stone") },
    ]);
    t.same(recorded.map(({ kind }) => kind), ["moved", "unknown", "moved", "stayed", "unknown", "illegal", "unknown"]); // biome-ignore format: one call
    t.same(await storyOf(ledger, "a"), ["accepted", "launched", "started"]);
    t.match(recorded[2], { attempt: { state: "live", started: "yes" }, runState: "active" });
  });

  await t.test("an attempt comes back as it was written, whatever a program wrote", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a", { retriesMax: 1 })]));
    t.equal(JSON.stringify(work.request), JSON.stringify(wanted("a").request), "keys in the order in which they were given");
    const [live] = await ledger.record([entry(work, created(work))]);
    const log = { state: "complete", lines: 1, tail: "quote ' \" \\ null \0 half \ud800 smile 🙂 \u2028" } as const;
    const evidence = { ...failed(work).evidence, log };
    const [ended] = await ledger.record([entry(work, { ...failed(work), evidence })]);
    const found = await ledger.find(runId("a"));
    t.same(live?.kind, "moved");
    t.equal(found?.record.attempts.length, 2, "a retry waits");
    const { outcome, ...stored } = first(found?.record.attempts ?? []);
    t.match(ended, { kind: "moved", attempt: stored });
    t.match(outcome?.evidence?.log?.tail, /smile 🙂/);
  });

  await t.test("a retry is not placed before the attempt before it is done, and at once then", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a", { retriesMax: 1 })]));
    await ledger.record([entry(work, created(work)), entry(work, failed(work))]);
    await opened.pass(60_000);
    t.match(await ledger.place({ most: 10, placer }), { placed: 0, told: 1 }, "it is told why");
    await ledger.record([entry(work, released)]);
    t.match(await ledger.place({ most: 10, placer }), { placed: 1, told: 0 });
    t.match(await claimAll(ledger), [{ attempt: { n: 2 } }]);
  });

  await t.test("a retry is placed once the attempt before it is parked, and goes back if that one is in doubt", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await claimed(ledger, [wanted("a", { retriesMax: 1 })]);
    await opened.pass(31_000);
    const again = first(await claimAll(ledger)); // the first create stays unanswered
    await ledger.record([entry(again, created(again)), entry(again, failed(again))]);
    await opened.pass(60_000);
    const place = () => ledger.place({ most: 10, placer });
    const look = async () => first(await ledger.take({ state: "ended", group: EAST, most: 10, leaseMs: 60_000 }));
    const kept = ({ nowMs: begunAtMs }: Work) => entry(again, { kind: "kept", uid: created(again).uid, begunAtMs });

    const earlier = await look();
    t.match(await place(), { placed: 0 });
    await ledger.record([kept(earlier)]);
    t.match(await place(), { placed: 1 });
    await ledger.record([entry(again, { kind: "inDoubt" })]);
    const doubted = await ledger.find(runId("a"));
    t.match(doubted?.record.attempts[1], { state: "waiting", notes: { waiting: "EarlierAttempt" } });
    await ledger.record([kept(earlier)]);
    t.match(await place(), { placed: 0 }, "that look began before the doubt");
    await opened.pass(10);
    await ledger.record([kept(await look())]);
    t.match(await place(), { placed: 1 });
    const [next] = await claimAll(ledger);
    t.match(next, { attempt: { n: 2 } });
    const found = await ledger.find(runId("a"));
    const [parked] = found?.record.attempts ?? [];
    t.match(parked, { state: "ended", unanswered: [1] });
    t.ok((parked?.fenceUntilMs ?? 0) > (next?.nowMs ?? Infinity), "its fence has not passed");
  });

  await t.test("a retry whose predecessor never goes away ends when it has waited long enough", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a", { retriesMax: 1 })]));
    await ledger.record([entry(work, created(work)), entry(work, failed(work))]);
    await opened.pass(2 * HOUR_MS);
    await ledger.place({ most: 10, placer });
    t.equal((await storyOf(ledger, "a")).at(-1), "failed");
  });

  await t.test("a Job too many is remembered until it is gone, by its own timer", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a")]));
    const other = { ...created(work), uid: uid("another") };
    await ledger.record([entry(work, created(work)), entry(work, other), entry(work, other)]);
    const asked = { group: EAST, most: 10, leaseMs: 60_000 };
    const strays = await ledger.takeStrays(asked);
    t.match(strays, [{ run: "a", kind: "stray", group: "east", name: "a-main-1", uid: "another" }]);
    t.equal(strays.length, 1);
    t.same(await ledger.takeStrays(asked), [], "taken");
    await opened.pass(60_000);
    const again = await ledger.takeStrays(asked);
    t.match(again, [{ uid: "another" }], "nobody said that it is gone");
    for (const stray of again) await ledger.settleStray(stray);
    await opened.pass(60_000);
    t.same(await ledger.takeStrays(asked), []);
    t.equal((await ledger.counts()).strays, 0);

    const found = { run: runId("gone"), kind: "stray", group: EAST, name: "gone-main-1", uid: uid("tally") } as const;
    await ledger.addStray(found);
    await ledger.addStray(found);
    t.match(await ledger.takeStrays(asked), [found]);
  });
}

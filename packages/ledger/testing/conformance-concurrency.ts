/** Conformance: of the runs with one concurrency key, no more go on than the limit allows, and they are let in by turn. */
import type { Test } from "tap";
import type { Ledger, Work } from "../port.ts";
import {
  BANK, cancelled, claimAll, codesOf, complete, type Conforming, created, entry, failed, finish, first, groupsOf, HOUR_MS, ids, placer, restarted, runId, SHOP, storyOf, wanted,
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

const one = { concurrency: {} };

export async function limiting(t: Test, { open }: Conforming): Promise<void> {
  await t.test("runs with one key follow each other, by priority and then by age, with two placers", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const ledger = first(launchers);
    await ledger.putGroups(groupsOf(10));
    await ledger.admit([wanted("a", one), wanted("b", one), wanted("c", { ...one, priority: 1 }), wanted("free")]);
    t.same(await next(launchers), ["c", "free"]);
    t.same(await next(launchers), ["a"]);
    await ledger.admit([wanted("urgent", { ...one, priority: 9 }), wanted("late", one)]);
    for (const id of ["urgent", "b", "late"]) t.same(await next(launchers), [id]);
    t.same(await next(launchers), []);
    t.same(await storyOf(ledger, "b"), ["accepted", "waiting", "launched", "started", "succeeded"]);
    const [, waiting] = await ledger.story(runId("b"), 0, 2);
    t.match(waiting?.data, { reason: "ConcurrencyLimit", considered: [], concurrency: { key: "key", limit: 1 } });
  });

  await t.test(
    "as many as the limit allows go on together; another key and another tenant have lines of their own",
    async (t) => {
      await using opened = await open();
      const launchers = await Promise.all([opened.connect(), opened.connect(), opened.connect()]);
      const ledger = first(launchers);
      await ledger.putGroups(groupsOf(100));
      const two = { concurrency: { limit: 2 } };
      await ledger.admit(Array.from({ length: 6 }, (_, n) => wanted(`run-${n}`, two)));
      await ledger.admit([wanted("other-key", { concurrency: { key: "other" } }), wanted("of-bank", { ...two, tenant: BANK })]);
      t.same(await next(launchers), ["of-bank", "other-key", "run-0", "run-1"]);
      t.same(await next(launchers), ["run-2", "run-3"]);
      t.same(await next(launchers), ["run-4", "run-5"]);
    },
  );

  await t.test("a run with a smaller limit is not passed by one behind it, and the line is never cut", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1_000));
    await ledger.admit([
      wanted("1-inside", { concurrency: { limit: 5 } }),
      wanted("2-alone", one),
      wanted("3-behind", { concurrency: { limit: 5 } }),
    ]);
    t.same(await next([ledger]), ["1-inside"]);
    t.same(await next([ledger]), ["2-alone", "3-behind"], "behind its turn, each run's own limit counts");
    await ledger.admit(Array.from({ length: 300 }, (_, n) => wanted(`many-${n}`, { concurrency: { key: "many", limit: 250 } })));
    t.equal((await next([ledger])).length, 250);
    t.equal((await next([ledger])).length, 50);
  });

  await t.test("a run that no group can take is let in all the same, and the next waits behind it", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1));
    await ledger.admit([wanted("0-in-the-slot"), wanted("a", one), wanted("b", { ...one })]);
    t.same(await next([ledger], async () => undefined), ["0-in-the-slot"]);
    t.same((await ledger.story(runId("a"), 0, 9)).at(-1)?.data, { ...waits("a"), reason: "GroupsFull" }, "it waits for room");
    t.match((await ledger.story(runId("b"), 0, 9)).at(-1)?.data, { reason: "ConcurrencyLimit" });
    await ledger.admit([cancelled("a")]);
    await placeAll([ledger]);
    t.match((await ledger.story(runId("b"), 0, 9)).at(-1)?.data, { reason: "GroupsFull" });
  });

  await t.test("the runs that go on under a key are named, the oldest first, and those of no other key or tenant", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    const two = { concurrency: { limit: 2 } };
    await ledger.admit([wanted("a", two), wanted("b", { ...two, priority: 1 }), wanted("waits", two)]);
    await ledger.admit([wanted("other-key", { concurrency: { key: "other" } }), wanted("of-bank", { ...two, tenant: BANK })]);
    const holders = (most = 9) => ledger.holders({ tenant: SHOP, key: "key" }, most);
    t.same(await holders(), [], "before anybody is let in");
    await placeAll([ledger]);
    t.same(await holders(), ["a", "b"]);
    t.same(await holders(1), ["a"]);
    await next([ledger]);
    await placeAll([ledger]);
    t.same(await holders(), ["waits"], "who has ended holds nothing");
  });

  await t.test("a pipeline keeps its place between its steps, and a retry does not lose it", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    await ledger.admit([wanted("a-pipeline", { ...one, steps: ["x", "y"], retriesMax: 1 }), wanted("next", one)]);
    await placeAll([ledger]);
    const both = await claimAll(ledger);
    t.same(both.map(({ attempt }) => attempt.step).toSorted(), ["x", "y"], "both of its first steps begin");
    const [x, y] = [both.find(({ attempt }) => attempt.step === "x"), both.find(({ attempt }) => attempt.step === "y")];
    if (x === undefined || y === undefined) return void t.fail("a step is missing");
    await finish(ledger, x, failed);
    await finish(ledger, y, complete);
    await opened.pass(HOUR_MS / 2);
    t.same(await next([ledger]), ["a-pipeline"], "the retry");
    t.same(await next([ledger]), ["next"]);
  });

  await t.test(
    "a run that has to be let in at once is refused while others of its key go on or wait, and later taken",
    async (t) => {
      await using opened = await open();
      const launchers = await Promise.all([opened.connect(), opened.connect()]);
      const ledger = first(launchers);
      await ledger.putGroups(groupsOf(10));
      const atOnce = { concurrency: { then: "refuse" } } as const;
      const tries = await Promise.all(
        launchers.flatMap((it, which) => [1, 2, 3, 4].map((n) => it.admit([wanted(`try-${which}-${n}`, atOnce)]))),
      );
      t.same(codesOf(tries.flat()).toSorted(), [...Array.from({ length: 7 }, () => "ConcurrencyLimit"), "recorded"]);
      const [taken] = await next(launchers);
      t.same(codesOf(await ledger.admit([wanted(taken ?? "", atOnce)])), ["duplicate"]);
      t.same(codesOf(await ledger.admit([wanted("a", atOnce), wanted("b", atOnce), wanted("c", one)])), [
        "recorded",
        "ConcurrencyLimit",
        "recorded",
      ]);
      t.equal(await ledger.find(runId("b")), undefined, "its id is not used up");
      t.same(codesOf(await ledger.admit([wanted("a", atOnce), wanted("b", atOnce)])), ["duplicate", "ConcurrencyLimit"]);
    },
  );

  await t.test("a repeated request of a run that is over does not take the place of the next one in its batch", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    const atOnce = { concurrency: { then: "refuse" } } as const;
    await ledger.admit([wanted("a", atOnce)]);
    t.same(await next([ledger]), ["a"]);
    t.same(codesOf(await ledger.admit([wanted("a", atOnce), wanted("b", atOnce)])), ["duplicate", "recorded"]);
  });

  await t.test("a restart waits in line, even of a run that would have been refused", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    await ledger.admit([wanted("old", { concurrency: { then: "refuse" } })]);
    await placeAll([ledger]);
    for (const work of await claimAll(ledger)) await finish(ledger, work, failed);
    await ledger.admit([wanted("new", one)]);
    await placeAll([ledger]);
    const running = await claimAll(ledger);
    t.same(ids(running), ["new"]);
    t.same(codesOf(await ledger.admit([restarted("old")])), ["recorded"]);
    await placeAll([ledger]);
    t.same(ids(await claimAll(ledger)), []);
    for (const work of running) await finish(ledger, work, complete);
    t.same(await next([ledger]), ["old"]);
  });

  await t.test("a wait in line ends with waitFor, and says so", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    await ledger.admit([wanted("a", one), wanted("b", one)]);
    await placeAll([ledger]);
    await opened.pass(2 * HOUR_MS);
    await placeAll([ledger]);
    t.match((await ledger.story(runId("b"), 0, 9)).at(-1), {
      type: "run.failed",
      data: { diagnosis: { code: "WaitExpired", blame: "request" } },
    });
  });
}

const waits = (run: string): object => ({
  run,
  step: "main",
  attempt: 1,
  considered: [{ group: "east", verdict: "skipped", why: "It is full: 1 of 1 Jobs." }],
});

/** Places as the loops do: all launchers at once, each until there is no more. */
async function placeAll(launchers: readonly Ledger[]): Promise<void> {
  for (let turn = 0; turn < 5; turn++)
    await Promise.all(launchers.map(async (ledger) => { while ((await ledger.place({ most: 300, placer })).more); })); // biome-ignore format: one call
}

/** Places, claims, and ends what was claimed. Returns the runs' ids. */
async function next(launchers: readonly Ledger[], end = ending): Promise<readonly string[]> {
  await placeAll(launchers);
  const works = await claimAll(first(launchers));
  await end(first(launchers), works);
  return ids(works);
}

async function ending(ledger: Ledger, works: readonly Work[]): Promise<void> {
  await ledger.record(works.map((work) => entry(work, created(work))));
  await ledger.record(works.map((work) => entry(work, complete(work))));
}

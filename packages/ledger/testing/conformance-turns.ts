/** Conformance: a slot goes to the first by priority, then by acceptance, of all that could take it. */
import type { GroupName } from "@longshore/contract/ids.ts";
import type { Test } from "tap";
import type { Ledger } from "../port.ts";
import {
  claimAll, complete, type Conforming, created, EAST, entry, finish, first, groupsOf, ids, placer, runId, wanted, WEST,
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

export async function turns(t: Test, { open }: Conforming): Promise<void> {
  await t.test("a step with slices takes the slots that are free, and gives them back when it ends", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(5));
    const slices = { parallelism: 4, failedMax: 0 };
    await ledger.admit([wanted("one", { priority: 9 }), wanted("many", { priority: 5, slices }), wanted("more", { slices })]);
    t.match(await ledger.place({ most: 10, placer }), { placed: 2 });
    t.match(await ledger.groups(), [{ slotsUsed: 5 }]);
    const works = await claimAll(ledger);
    t.same(
      works.map(({ run, attempt }) => [run.id, attempt.slots]),
      [
        ["one", undefined],
        ["many", 4],
      ],
    );
    await finish(ledger, first(works), complete);
    t.match(await ledger.place({ most: 10, placer }), { placed: 1 });
    t.match(await ledger.groups(), [{ slotsUsed: 5 }], "as many as were left");
    t.match((await ledger.find(runId("more")))?.record.attempts, [{ state: "ready", slots: 1 }]);
    await finish(ledger, works[1] ?? first(works), complete);
    t.match(await ledger.groups(), [{ slotsUsed: 1 }]);
  });

  await t.test("in a deep line a slot goes to the most urgent, and of those to the first accepted, by two placers", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const ledger = first(launchers);
    await ledger.putGroups(groupsOf(4));
    const runs = Array.from({ length: 300 }, (_, n) => ({ id: `run-${String(n).padStart(3, "0")}`, priority: n % 5 }));
    await ledger.admit(runs.map(({ id, priority }) => wanted(id, { priority })));
    await placeAll(launchers);
    const inTurn = runs.toSorted((a, b) => b.priority - a.priority).map(({ id }) => id);
    for (let round = 0; round < 20; round++) {
      await opened.pass(round * 1_000); // so that timers would give another order
      t.same(await launchedNext(ledger), inTurn.splice(0, 4)); // biome-ignore format: one call
      await placeAll(launchers);
    }
  });

  await t.test("a slot that is freed is for who waits for it, though a more urgent one was woken in vain", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1, 1));
    const [east, west] = [[EAST], [WEST]];
    await ledger.admit([
      wanted("in-east", { priority: 9, groups: east }),
      wanted("in-west", { priority: 9, groups: west }),
      wanted("for-west", { priority: 8, groups: west }),
      wanted("for-east", { priority: 5, groups: east }),
    ]);
    await placeAll([ledger]);
    t.same(await launchedNext(ledger), ["in-east"]);
    await ledger.admit([wanted("late", { groups: east })]);
    await placeAll([ledger]);
    t.same(ids(await claimAll(ledger)), ["for-east"], "`late` is due, and less urgent");
  });

  await t.test("a group that takes more than before is for who waited, not for who has just come", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1));
    await ledger.admit(["a", "b", "c"].map((id) => wanted(id)));
    await placeAll([ledger]);
    await ledger.putGroups(groupsOf(2));
    await ledger.admit([wanted("late")]);
    await ledger.place({ most: 1, placer });
    t.same(ids(await claimAll(ledger)), ["a", "b"]);
  });

  await t.test("who was not judged yet comes before who is less urgent, however many stand before it", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1, 1));
    await ledger.admit([
      wanted("in-east", { priority: 9 }),
      wanted("in-west", { priority: 9 }),
      wanted("low", { groups: [WEST] }),
    ]);
    await placeAll([ledger]);
    const many = Array.from({ length: 30 }, (_, n) => wanted(`for-east-${n}`, { priority: 5, groups: [EAST] }));
    await ledger.admit([...many, wanted("for-west", { priority: 1, groups: [WEST] })]);
    t.same(await launchedNext(ledger, WEST), ["in-west"]);
    await placeAll([ledger], 4);
    t.same(ids(await claimAll(ledger, 10, WEST)), ["for-west"]);
  });

  await t.test("no more are placed than were asked for, and the next question goes on", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    await ledger.admit(Array.from({ length: 5 }, (_, n) => wanted(`run-${n}`)));
    for (const placed of [2, 2, 1]) t.match(await ledger.place({ most: 2, placer }), { placed });
  });
}

/** Places as the loops do: all launchers at once, each until there is no more. */
async function placeAll(launchers: readonly Ledger[], most = 16): Promise<void> {
  const all = launchers.map(async (ledger) => {
    while ((await ledger.place({ most, placer })).more);
  });
  await Promise.all(all);
}

/** Claims the ready attempts of the group and ends them, which frees their slots. Returns their runs' ids, sorted. */
async function launchedNext(ledger: Ledger, group: GroupName = EAST): Promise<readonly string[]> {
  const works = await claimAll(ledger, 1_000, group);
  await ledger.record(works.map((work) => entry(work, created(work))));
  await ledger.record(works.map((work) => entry(work, complete(work))));
  return works.map(({ run }) => run.id).toSorted();
}

/** Conformance: each attempt is placed, claimed and taken by one launcher at a time, and no due attempt is forgotten. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import type { GroupName } from "@longshore/contract/ids.ts";
import { moveAttempt } from "@longshore/domain/attempt/lifecycle.ts";
import { UNSERVED_MS } from "@longshore/domain/group/group.ts";
import { FENCE_MS } from "@longshore/domain/run/record.ts";
import type { Test } from "tap";
import {
  cancelled, claimAll, claimed, complete, type Conforming, created, EAST, entry, finish, groupsOf, HOUR_MS, ids, placer, LIMITS,
  released, runId, storyOf, uid, wanted, WEST, first
} from "./conformance-parts.ts"; // biome-ignore format: a list of names
import type { Ledger, Work } from "../port.ts";

export async function taking(t: Test, { open }: Conforming): Promise<void> {
  await t.test("two placers at once fill a group to its limit and never beyond, the urgent first", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const ledger = first(launchers);
    await ledger.putGroups(groupsOf(7, 5));
    await ledger.admit(Array.from({ length: 40 }, (_, n) => wanted(`run-${n}`, { priority: n })));
    const asked = Array.from({ length: 10 }, (_, n) => (launchers[n % 2] ?? ledger).place({ most: 8, placer }));
    const placed = (await Promise.all(asked)).reduce((sum, it) => sum + it.placed, 0);
    t.equal(placed, 12);
    t.same((await ledger.groups()).map(({ slotsUsed }) => slotsUsed), [7, 5]); // biome-ignore format: one call
    const works = [...(await claimAll(ledger)), ...(await claimAll(ledger, 1_000, WEST))];
    t.equal(works.length, 12);
    t.equal((await ledger.groups())[0]?.slotsUsed, 7, "claiming frees nothing");
  });

  await t.test("a single placer takes the most urgent, whoever came first", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(2));
    await ledger.admit([wanted("low"), wanted("high", { priority: 9 }), wanted("mid", { priority: 5 })]);
    t.match(await ledger.place({ most: 10, placer }), { placed: 2, told: 1 });
    t.same(ids(await claimAll(ledger)), ["high", "mid"]);
    t.same(await storyOf(ledger, "low"), ["accepted", "waiting"]);
  });

  await t.test("a slot that is freed wakes the most urgent of those that had no room", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1));
    await ledger.admit([wanted("a", { priority: 9 }), wanted("b", { priority: 1 }), wanted("c", { priority: 5 })]);
    t.match(await ledger.place({ most: 3, placer }), { placed: 1, told: 2, more: true }, "there may be a fourth");
    t.match(await ledger.place({ most: 3, placer }), { placed: 0, told: 0, more: false }, "the others wait");
    const work = first(await claimAll(ledger));
    await finish(ledger, work, complete);
    t.match(await ledger.place({ most: 10, placer }), { placed: 1, told: 0 });
    t.same(ids(await claimAll(ledger)), ["c"]);
  });

  await t.test("a slot that is freed wakes the next one where the most urgent is given up in the same batch", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1));
    await ledger.admit([wanted("a", { priority: 9 }), wanted("b", { priority: 1 }), wanted("c", { priority: 5 })]);
    await ledger.place({ most: 3, placer });
    const work = first(await claimAll(ledger));
    await ledger.record([entry(work, created(work))]);
    const givenUp = { run: runId("c"), step: work.attempt.step, n: 1, input: { kind: "waitExpired" } } as const;
    t.match(await ledger.record([givenUp, entry(work, complete(work))]), [{ kind: "moved" }, { kind: "moved" }]);
    t.match(await ledger.find(runId("c")), { record: { run: { state: "ended" }, attempts: [{ state: "done" }] } });
    t.match(await ledger.place({ most: 10, placer }), { placed: 1 });
    t.same(ids(await claimAll(ledger)), ["b"]);
  });

  await t.test("a group that is opened again is looked at again; a paused one is seen to be paused", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(5));
    await ledger.setGroup(EAST, { paused: true });
    await ledger.putGroups(groupsOf(6));
    t.match(await ledger.groups(), [
      { name: "east", paused: true, settings: { limits: { jobs: 6 } }, everHealthy: false, health: "unknown" },
    ]);
    await ledger.admit([wanted("a")]);
    t.match(await ledger.place({ most: 10, placer }), { placed: 0, told: 1 });
    await ledger.setGroup(EAST, { paused: false, health: "healthy", watchedAtMs: 5_000, namespaceUid: "ns" });
    t.match(await ledger.place({ most: 10, placer }), { placed: 1, told: 0 });
    await ledger.setGroup(EAST, { health: "unhealthy" });
    t.match(await ledger.groups(), [{ everHealthy: true, health: "unhealthy", watchedAtMs: 5_000, namespaceUid: "ns" }]);
  });

  await t.test("of two watchers the one that sees more counts, whoever spoke last", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(5));
    const watched = async (watchedAtMs: number) => {
      await ledger.setGroup(EAST, { watchedAtMs });
      return (await ledger.groups())[0]?.watchedAtMs;
    };
    t.equal(await watched(5_000), 5_000);
    t.equal(await watched(3_000), 5_000, "a watcher whose token expired does not overrule one that sees");
    t.equal(await watched(6_000), 6_000);
    await ledger.setGroup(EAST, { paused: true });
    t.match(await ledger.groups(), [{ paused: true, watchedAtMs: 6_000 }], "another change says nothing of it");
    const toCome = Math.floor(await ledger.now()) + 3_600_000;
    t.equal(await watched(toCome), toCome);
    t.equal(await watched(7_000), 7_000, "recorded before the clock was set back: it would count as watched for an hour");
  });

  await t.test(
    "a group that is paused launches nothing that was only in line: it waits again, and may go elsewhere",
    async (t) => {
      await using opened = await open();
      const ledger = await opened.connect();
      await ledger.putGroups(groupsOf(5, 5));
      await ledger.admit([wanted("a")]);
      t.match(await ledger.place({ most: 10, placer }), { placed: 1 });
      t.match(await ledger.groups(), [{ name: "east", slotsUsed: 1, inLine: 1 }, { slotsUsed: 0 }]);
      await ledger.setGroup(EAST, { paused: true });
      t.same(await ledger.claim({ group: EAST, most: 10, by: "me", forMs: 1_000 }), [], "not claimed");
      t.match(await ledger.place({ most: 10, placer }), { placed: 0, told: 1 });
      t.match(await ledger.find(runId("a")), { record: { attempts: [{ state: "waiting", group: undefined }] } });
      t.match(await ledger.place({ most: 10, placer }), { placed: 1 });
      t.match(await ledger.groups(), [{ name: "east", slotsUsed: 0 }, { slotsUsed: 1 }]);
    },
  );

  await t.test("what its file and its cluster say of a group is kept beside what people said", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const said = GroupSettings.parse({ hold: false, policy: { images: ["a/*"] }, limits: { jobs: 5, createsPerSecond: 2 } });
    const less = GroupSettings.parse({});
    const put = (settings: GroupSettings) => ledger.putGroups([{ name: EAST, namespace: "batch", settings }]);
    await put(said);
    await ledger.setGroup(EAST, { paused: true });
    const noRoom = { untilMs: 5_000, diagnosis: diagnose("QuotaExceeded", "The quota is full.") };
    await ledger.setGroup(EAST, { noRoom });
    const [before] = await ledger.groups();
    t.match(before, { paused: true, noRoom, servedAtMs: Number });
    t.same(before?.settings, said, "every setting comes back as it was put");
    await put(less);
    const [again] = await ledger.groups();
    t.match(again, { paused: true, noRoom });
    t.same(again?.settings, less, "what the file no longer says is gone");
  });

  await t.test(
    "a group that no launcher serves any more takes nothing, and what was in line for it goes elsewhere",
    async (t) => {
      await using opened = await open();
      const ledger = await opened.connect();
      await ledger.putGroups(groupsOf(5, 5));
      await ledger.admit([wanted("a")]);
      await ledger.place({ most: 10, placer });
      await ledger.setGroup(EAST, { served: false });
      t.match(await ledger.groups(), [
        { name: EAST, servedAtMs: undefined, inLine: 1 },
        { name: WEST, servedAtMs: Number },
      ]);
      const west = { ...placer, serves: new Set([WEST]) };
      await ledger.admit([wanted("b")]);
      await ledger.place({ most: 10, placer: west });
      await ledger.place({ most: 10, placer: west });
      t.same(ids(await claimAll(ledger, 10, WEST)).toSorted(), ["a", "b"]);
      await ledger.setGroup(EAST, { served: true });
      t.match(await ledger.groups(), [{ name: EAST, servedAtMs: Number }]);
    },
  );

  await t.test("an attempt that is placed, ended or not due is left alone, and one that waited too long ends", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(1));
    await ledger.admit([wanted("a", { priority: 9 }), wanted("b"), cancelled("b"), wanted("c")]);
    t.match(await ledger.place({ most: 10, placer }), { placed: 1, told: 1 });
    t.match(await ledger.place({ most: 10, placer }), { placed: 0, told: 0 });
    t.match(await ledger.find(runId("a")), { record: { attempts: [{ state: "ready" }] } });
    t.same(await storyOf(ledger, "c"), ["accepted", "waiting"]);
    await claimAll(ledger);
    await opened.pass(HOUR_MS);
    await ledger.place({ most: 10, placer });
    t.match(await ledger.find(runId("a")), { record: { attempts: [{ state: "claimed" }] } });
    t.same(await storyOf(ledger, "b"), ["accepted", "cancelling", "cancelled"]);
    t.same(await storyOf(ledger, "c"), ["accepted", "waiting", "failed"]);
  });

  await t.test(
    "what the placer knows of the groups decides: which it serves, which asked it for a pause, when to look again",
    async (t) => {
      await using opened = await open();
      const ledger = await opened.connect();
      await ledger.putGroups(groupsOf(5, 5));
      const quiet = new Map([[EAST, "It has too much to do."]]);
      await ledger.admit([wanted("a")]);
      await ledger.place({ most: 10, placer: { ...placer, quiet } });
      t.same(ids(await claimAll(ledger, 10, WEST)), ["a"], "the other group takes it");
      await opened.pass(UNSERVED_MS);
      await ledger.admit([wanted("b")]);
      const east = { serves: new Set([EAST]), quiet, placeAgainMs: 60_000 };
      t.match(await ledger.place({ most: 10, placer: east }), { placed: 0 });
      t.match((await ledger.story(runId("b"), 1, 1))[0]?.data, {
        reason: "Throttled",
        considered: [
          { group: EAST, why: "It has too much to do." },
          { group: WEST, why: /No launcher/ },
        ],
      });
      t.match(await ledger.place({ most: 10, placer }), { placed: 0, told: 0 }, "its time has not come");
      await opened.pass(60_000);
      t.match(await ledger.place({ most: 10, placer: { ...east, quiet: new Map() } }), { placed: 1 });
      t.match(await ledger.groups(), [{ slotsUsed: 1 }, {}]);
    },
  );

  await t.test("no attempt is claimed by two, and a claim is what the lifecycle says", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const ledger = first(launchers);
    await ledger.putGroups(groupsOf(1_000));
    await ledger.admit(Array.from({ length: 60 }, (_, n) => wanted(`run-${n}`)));
    await ledger.place({ most: 100, placer });
    const before = await ledger.find(runId("run-7"));
    const claims = Array.from({ length: 20 }, (_, n) => (launchers[n % 2] ?? ledger).claim({ group: EAST, most: 7, by: `launcher ${n}`, forMs: 30_000 })); // biome-ignore format: one call
    const works = (await Promise.all(claims)).map((it) => ({ count: it.length, it }));
    t.ok(works.every(({ count }) => count <= 7), "never more than asked for"); // biome-ignore format: one call
    const rest = await claimAll(ledger);
    const all = [...works.flatMap(({ it }) => it), ...rest];
    t.equal(all.length, 60);
    t.equal(new Set(ids(all)).size, 60);
    const work = first(all.filter(({ run }) => run.id === "run-7"));
    sameAsPure(t, work, first(before?.record.attempts ?? []));
    const [stored] = (await ledger.find(runId("run-7")))?.record.attempts ?? [];
    t.same(stored, work.attempt);
  });

  await t.test("what is placed is claimed in the same stroke, as far as there is room, and as the lifecycle says", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10, 10));
    await ledger.admit(["a", "b", "c"].map((id, n) => wanted(id, { priority: 9 - n })));
    const claim = { by: "one", forMs: 30_000, room: new Map([[EAST, 2]]) };
    const { placed, works } = await ledger.place({ most: 10, placer, claim });
    t.equal(placed, 3);
    t.same(ids(works), ["a", "b"]);
    t.match(works, [
      { attempt: { state: "claimed", claimNo: 1, unanswered: [1], claimBy: "one" }, request: { image: String } },
      {},
    ]);
    const work = first(works);
    t.same(first((await ledger.find(work.run.id))?.record.attempts ?? []), work.attempt, "as it is stored");
    t.equal(work.attempt.claimUntilMs, work.nowMs + 30_000);
    t.match(await ledger.groups(), [{ slotsUsed: 3, inLine: 1 }, { slotsUsed: 0 }]);
    t.same(ids(await claimAll(ledger)), ["c"], "for the third there was no room");
    await finish(ledger, work, complete);
    t.same(await storyOf(ledger, "a"), ["accepted", "launched", "started", "succeeded"]);
    await opened.pass(30_000);
    t.match(await claimAll(ledger), [{ run: { id: "b" }, attempt: { claimNo: 2, unanswered: [1, 2] } }, {}], "its claim ran out");
  });

  await t.test("a claim that ran out is claimed again under the next number, and not by two", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await claimed(ledger, [wanted("a")]);
    t.same(await claimAll(ledger), [], "its time is not over");
    await opened.pass(30_000);
    const before = await ledger.find(runId("a"));
    const [both, none] = await Promise.all([claimAll(ledger), claimAll(await opened.connect())]);
    const second = [...both, ...none];
    t.equal(second.length, 1);
    t.match(second, [{ attempt: { claimNo: 2, unanswered: [1, 2], state: "claimed" } }]);
    sameAsPure(t, first(second), first(before?.record.attempts ?? []));
  });

  await t.test("once a claim's fence has passed, it is not claimed again but given to whoever looks", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await claimed(ledger, [wanted("a")]);
    const asked = { state: "claimed", group: EAST, most: 10, leaseMs: 60_000 } as const;
    await opened.pass(30_000);
    t.same(await ledger.take(asked), [], "its create may still land");
    await opened.pass(FENCE_MS);
    t.same(await claimAll(ledger), []);
    t.match(await ledger.take(asked), [{ attempt: { claimNo: 1, unanswered: [1] } }]);
    t.same(await ledger.take(asked), []);
  });

  await t.test("what is due is taken by one, whose timer moves on, and comes again if nothing is said", async (t) => {
    await using opened = await open();
    const launchers = await Promise.all([opened.connect(), opened.connect()]);
    const ledger = first(launchers);
    const works = await claimed(
      ledger,
      Array.from({ length: 30 }, (_, n) => wanted(`run-${n}`)),
    );
    await ledger.record(works.map((work) => entry(work, created(work))));
    const asked = { state: "live", group: EAST, most: 4, leaseMs: 60_000 } as const;
    t.same(await ledger.take(asked), [], "no look is due yet");
    await opened.pass(HOUR_MS);
    const taken = await Promise.all(Array.from({ length: 10 }, (_, n) => (launchers[n % 2] ?? ledger).take(asked)));
    t.ok(taken.every(({ length }) => length <= 4));
    const rest = await ledger.take({ ...asked, most: 100 });
    const all = [...taken.flat(), ...rest];
    t.equal(new Set(ids(all)).size, 30);
    t.equal(all.length, 30);
    t.ok(all.every(({ attempt, nowMs }) => attempt.dueMs !== undefined && Math.abs(attempt.dueMs - nowMs - 60_000) < 10_000));
    await opened.pass(60_000);
    t.equal((await ledger.take({ ...asked, most: 100 })).length, 30);
    t.same(await ledger.take({ ...asked, group: WEST }), []);
    await endAll(ledger, all);
    t.equal((await ledger.take({ ...asked, state: "ended", most: 100 })).length, 30);
    await ledger.record(all.map((work) => entry(work, released)));
    await opened.pass(HOUR_MS);
    t.same(await ledger.take({ ...asked, state: "ended" }), [], "done needs nobody");
    t.same((await ledger.counts()).attempts, {});
  });

  await t.test("the kinds of work that are due in these groups are told until somebody has taken it", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const due = async (...groups: readonly GroupName[]) => (await ledger.due(groups)).toSorted();
    await ledger.putGroups(groupsOf(5, 5));
    t.same(await due(EAST, WEST), []);
    await ledger.admit([wanted("a")]);
    t.same(await due(EAST), [], "what waits is nobody's group's");
    await ledger.place({ most: 10, placer });
    t.same(await due(EAST, WEST), ["ready"]);
    t.same(await due(WEST), []);
    t.same(await due(), []);
    const work = first(await claimAll(ledger));
    t.same(await due(EAST), []);
    await opened.pass(30_000);
    t.same(await due(EAST), ["claimed", "ready"], "its claim ran out: made again, or looked at");
    await ledger.record([entry(work, created(work))]);
    t.same(await due(EAST), []);
    await opened.pass(HOUR_MS);
    t.same(await due(EAST), ["live"]);
    await ledger.take({ state: "live", group: EAST, most: 10, leaseMs: 60_000 });
    t.same(await due(EAST), []);
    await ledger.admit([cancelled("a")]);
    t.same(await due(EAST), ["closing"]);
    await endAll(ledger, [work]);
    t.same(await due(EAST), ["ended"]);
    const { run, attempt } = work;
    await ledger.addStray({ run: run.id, kind: "stray", group: EAST, name: attempt.name, uid: uid("another") });
    t.same(await due(WEST, EAST), ["ended", "strays"]);
    t.same(await due(WEST), []);
    await ledger.record([entry(work, released)]);
    await ledger.takeStrays({ group: EAST, most: 10, leaseMs: 60_000 });
    t.same(await due(EAST), []);
  });
}

const endAll = (ledger: Ledger, works: readonly Work[]) => ledger.record(works.map((work) => entry(work, complete(work))));

/** Checks that the ledger's claim of many attempts leaves each as the lifecycle's own move does. */
function sameAsPure(t: Test, { attempt }: Work, before: Work["attempt"]): void {
  const input = { kind: "claimDue", by: attempt.claimBy ?? "", untilMs: attempt.claimUntilMs ?? 0 } as const;
  t.same(attempt, moveAttempt(before, input, { nowMs: 0, limits: LIMITS }).attempt);
}

/** Conformance: events are found in order until they are confirmed, and people and the tally are told the truth. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupName, ONLY_TENANT, type RunId } from "@longshore/contract/ids.ts";
import { WORK_KINDS } from "@longshore/domain/run/change.ts";
import type { Test } from "tap";
import type { GroupChange, Ledger, OutboxEvent, WorkKind } from "../port.ts";
import {
  cancelled,
  claimed,
  complete,
  type Conforming,
  created,
  EAST,
  entry,
  failed,
  finish,
  first,
  groupsOf,
  HOUR_MS,
  MAIN,
  placer,
  released,
  restarted,
  runId,
  storyOf,
  typesOf,
  wanted,
  WEST,
} from "./conformance-parts.ts";

const LEASE_MS = 10_000;

async function unsent(ledger: Ledger, busy: readonly RunId[] = [], most = 1_000): Promise<readonly OutboxEvent[]> {
  return await ledger.unsent({ partitions: await ledger.leasePartitions("relay", LEASE_MS), busy, most });
}

export async function outbox(t: Test, { open }: Conforming): Promise<void> {
  await t.test("of each run only the lowest unsent event is given, until that one is confirmed", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const works = await claimed(ledger, [wanted("a"), wanted("b")]);
    for (const work of works) await finish(ledger, work, complete);
    const told: OutboxEvent[] = [];
    for (let next = await unsent(ledger); next.length > 0; next = await unsent(ledger)) {
      t.equal(new Set(next.map(({ run }) => run)).size, next.length, "one of each run");
      t.same(await unsent(ledger), next, "the same until confirmed");
      told.push(...next);
      await ledger.sent(next);
      await ledger.sent(next);
    }
    for (const id of ["a", "b"]) {
      const ofRun = told.filter(({ run }) => run === id);
      t.same(typesOf(ofRun), ["accepted", "launched", "started", "succeeded"]);
      t.same(ofRun.map(({ sequence }) => sequence), [1, 2, 3, 4]); // biome-ignore format: one call
      t.match(ofRun[1], { tenant: "shop", generation: 1, epoch: 1, group: "east", data: { run: id, step: "main", attempt: 1 } });
    }
    t.equal((await ledger.counts()).outbox, 0);
  });

  await t.test(
    "each event has the trace and the correlation id that its run was requested with, also after a restart",
    async (t) => {
      await using opened = await open();
      const ledger = await opened.connect();
      const work = first(await claimed(ledger, [wanted("a", { traceparent: "of a", correlationId: "7" })]));
      await finish(ledger, work, failed);
      await ledger.admit([restarted("a"), wanted("b")]);
      const traces: string[] = [];
      for (let next = await unsent(ledger); next.length > 0; next = await unsent(ledger)) {
        traces.push(
          ...next.map(({ run, sequence, traceparent, correlationId: id }) => `${run}/${sequence} ${traceparent} ${id}`),
        );
        await ledger.sent(next);
      }
      const ofA = [1, 2, 3, 4, 5].map((sequence) => `a/${sequence} of a 7`);
      t.same(traces.toSorted(), [...ofA, "b/1 undefined undefined"]);
    },
  );

  await t.test("what was sent goes with the question for what is next, and only that", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    for (const work of await claimed(ledger, [wanted("a"), wanted("b")])) await finish(ledger, work, complete);
    const partitions = await ledger.leasePartitions("relay", LEASE_MS);
    const numbers = (events: readonly OutboxEvent[]) => events.map(({ run, sequence }) => `${run}/${sequence}`).toSorted();
    const told = await ledger.unsent({ partitions, busy: [], most: 10 });
    t.same(numbers(told), ["a/1", "b/1"]);
    const sent = told.filter(({ run }) => run === "a");
    t.same(numbers(await ledger.unsent({ partitions, busy: [], most: 10, sent })), ["a/2", "b/1"]);
    t.same(numbers(await ledger.unsent({ partitions, busy: [runId("b")], most: 10, sent })), ["a/2"], "said twice is said once");
    t.equal((await ledger.counts()).outbox, 7);
  });

  await t.test("runs that are busy are left out, and no more are given than asked for, the oldest first", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    for (const id of ["c", "a", "b"]) {
      await ledger.admit([wanted(id)]);
      await opened.pass(1_000);
    }
    t.same((await unsent(ledger, [], 2)).map(({ run }) => run), ["c", "a"]); // biome-ignore format: one call
    t.same((await unsent(ledger, [runId("c"), runId("none")], 2)).map(({ run }) => run), ["a", "b"]); // biome-ignore format: one call
  });

  await t.test("two relays never hold a partition together, and a dead one's go to the other", async (t) => {
    await using opened = await open();
    const [one, other] = await Promise.all([opened.connect(), opened.connect()]);
    const [mine, theirs] = await Promise.all([one.leasePartitions("one", LEASE_MS), other.leasePartitions("other", LEASE_MS)]);
    t.equal(mine.length + theirs.length, 16);
    t.equal(new Set([...mine, ...theirs]).size, 16);
    t.same(await one.leasePartitions("one", LEASE_MS), mine, "its own are prolonged");
    await opened.pass(LEASE_MS);
    t.equal((await other.leasePartitions("other", LEASE_MS)).length, 16);
    t.same(await one.leasePartitions("one", LEASE_MS), []);
  });

  await t.test("events outside of the partitions that are held are not given", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.admit(Array.from({ length: 64 }, (_, n) => wanted(`run-${n}`)));
    const all = await Promise.all(
      Array.from({ length: 16 }, (_, part) => ledger.unsent({ partitions: [part], busy: [], most: 1_000 })),
    );
    t.equal(new Set(all.flat().map(({ run }) => run)).size, 64);
    t.equal(all.flat().length, 64);
    t.same(await ledger.unsent({ partitions: [], busy: [], most: 10 }), []);
  });

  await t.test("a lease is one owner's until it ends", async (t) => {
    await using opened = await open();
    const [one, other] = await Promise.all([opened.connect(), opened.connect()]);
    const got = await Promise.all([one.lease("tally/east", "one", 5_000), other.lease("tally/east", "other", 5_000)]);
    t.not(got[0], got[1], "one got it");
    const winner = got[0] === true ? "one" : "other";
    t.equal(await one.lease("tally/east", winner, 5_000), true);
    t.equal(await one.lease("tally/west", "third", 5_000), true);
    await opened.pass(5_000);
    t.equal(await one.lease("tally/east", "third", 5_000), true);
  });

  await t.test("a change of a group's health is told once, and again when its cause changes", async (t) => {
    await using opened = await open();
    const [ledger, other] = await Promise.all([opened.connect(), opened.connect()]);
    await ledger.putGroups(groupsOf(5, 5));
    t.same(await ledger.unsentNotices(9), [], "nobody reached it yet");
    const unreachable = diagnose("EndpointUnreachable", "Nothing listens there.");
    const news = async (change: GroupChange) => {
      await Promise.all([ledger.setGroup(EAST, change), other.setGroup(EAST, change)]);
      const notices = await ledger.unsentNotices(9);
      await other.sentNotices(notices.map(({ id }) => id));
      return notices;
    };
    const healthy = await news({ health: "healthy", diagnosis: undefined });
    t.match(healthy, [{ type: "group.healthy", tenant: "default", group: EAST, data: { group: EAST }, replyTo: undefined }]);
    t.equal(healthy.length, 1, "two launchers said so");
    t.same(await news({ health: "healthy", diagnosis: undefined }), [], "it is no change");
    t.same(await news({ served: true, watchedAtMs: 5_000 }), [], "it says nothing of its health");
    const ill = await news({ health: "unhealthy", diagnosis: unreachable });
    t.same(ill.map(({ type, data }) => ({ type, data })), [{ type: "group.unhealthy", data: { group: EAST, diagnosis: unreachable } }]); // biome-ignore format: one call
    const reworded = { ...unreachable, sentence: "Nobody listens there." };
    t.same(await news({ health: "unhealthy", diagnosis: reworded }), [], "it is the same trouble in other words");
    const moved = await news({ health: "unhealthy", diagnosis: diagnose("GroupMoved", "It is another one.") });
    t.match(moved, [{ data: { diagnosis: { code: "GroupMoved" } } }]);
    t.match(await ledger.acceptGroup(EAST), { kind: "accepted" });
    t.same(await ledger.unsentNotices(9), [], "what is not known is not told");
    const again = await news({ health: "healthy", diagnosis: undefined });
    t.match(again, [{ type: "group.healthy" }]);
    const all = [...healthy, ...ill, ...moved, ...again].map(({ id }) => id);
    t.equal(new Set(all).size, 4, "each change has an id of its own");
    await ledger.setGroup(WEST, { health: "healthy", diagnosis: undefined });
    t.match(await ledger.unsentNotices(9), [{ group: WEST }]);
  });

  await t.test(
    "a pause is told once, with who asked for it; a command that comes again after it was undone changes nothing",
    async (t) => {
      await using opened = await open();
      const [ledger, other] = await Promise.all([opened.connect(), opened.connect()]);
      await ledger.putGroups(groupsOf(5, 5));
      const pause = { actor: { name: "Ida" }, reason: "new nodes", drain: true };
      const command = { tenant: ONLY_TENANT, source: "/console", command: "c1" };
      const paused = { paused: true, pause };
      const both = await Promise.all([ledger, other].map((it) => it.commandGroup(EAST, paused, command)));
      t.equal(both.filter((it) => it).length, 1, "two launchers had the command");
      t.match(await ledger.groups(), [
        { name: EAST, paused: true, pause: { ...pause, sinceMs: Number } },
        { paused: false, pause: undefined },
      ]);
      await ledger.setGroup(EAST, { paused: false });
      t.equal(await ledger.commandGroup(EAST, paused, command), false);
      t.match(await ledger.groups(), [{ paused: false, pause: undefined }, {}]);
      await ledger.setGroup(EAST, { paused: false });
      t.equal(await ledger.commandGroup(EAST, { paused: true }, { ...command, command: "c2" }), true);
      const told = (await ledger.unsentNotices(9)).map(({ type, tenant, group, data }) => ({ type, tenant, group, data }));
      const about = { tenant: ONLY_TENANT, group: EAST };
      t.same(told, [
        { ...about, type: "group.paused", data: { group: EAST, ...pause } },
        { ...about, type: "group.resumed", data: { group: EAST } },
        { ...about, type: "group.paused", data: { group: EAST } },
      ]);
    },
  );

  await t.test("a tally stands at its group with its time, until the next", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(5, 5));
    t.equal((await ledger.groups())[0]?.tally, undefined);
    await ledger.setGroup(EAST, { tally: { unknown: 2 } });
    await ledger.setGroup(EAST, { paused: true });
    t.match(await ledger.groups(), [{ tally: { unknown: 2, atMs: Number } }, { tally: undefined }]);
  });

  await t.test("a listener hears of work that another connection wrote", async (t) => {
    await using opened = await open();
    const [listening, writing] = await Promise.all([opened.connect(), opened.connect()]);
    const stop = new AbortController();
    const kinds = listening.changes(stop.signal);
    const atFirst = new Set<WorkKind>();
    for (const _ of WORK_KINDS) atFirst.add((await kinds.next()).value);
    t.equal(atFirst.size, WORK_KINDS.length, "everything at first, since anything may have been before");
    await writing.admit([wanted("a")]);
    const heard = new Set([(await kinds.next()).value, (await kinds.next()).value]);
    t.same(heard, new Set(["outbox", "waiting"]));
    const next = kinds.next();
    stop.abort();
    t.same(await next, { done: true, value: undefined });
  });
}

export async function people(t: Test, { open }: Conforming): Promise<void> {
  await t.test("runs are found, listed newest first in pages, and told in order", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const works = await claimed(ledger, [wanted("a"), wanted("b")]);
    const a = first(works.filter(({ run }) => run.id === "a"));
    await finish(ledger, a, complete);
    await ledger.admit([wanted("c"), cancelled("stone")]);
    const page = await ledger.list({ most: 2 });
    t.match(page, [
      { id: "c", state: "active", group: undefined },
      { id: "b", tenant: "shop", group: "east" },
    ]);
    t.match(await ledger.list({ most: 2, before: page[1]?.cursor ?? "" }), [{ id: "a", state: "ended", outcome: "succeeded" }]);
    t.same((await ledger.list({ most: 9, state: "active" })).map(({ id }) => id), ["c", "b"]); // biome-ignore format: one call
    t.same((await ledger.list({ most: 9, outcome: "succeeded" })).map(({ id }) => id), ["a"]); // biome-ignore format: one call
    t.same((await ledger.list({ most: 9, group: EAST })).map(({ id }) => id), ["b", "a"]); // biome-ignore format: one call
    t.same((await ledger.list({ most: 9, state: "tombstone" })).map(({ id }) => id), ["stone"]); // biome-ignore format: one call
    t.same(typesOf(await ledger.story(runId("a"), 1, 2)), ["launched", "started"]);
    t.same(await ledger.story(runId("none"), 0, 2), []);
    t.equal(await ledger.find(runId("none")), undefined);
    t.match(await ledger.find(runId("a")), {
      request: { image: "registry.example/app:1" },
      record: { run: { source: "test", digest: "digest" } },
    });
  });

  await t.test("a list tells each run's newest event, when its program ended, and can be asked for such events", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const [ended, stalled] = await claimed(ledger, [wanted("ended"), wanted("stalled")]);
    if (ended === undefined || stalled === undefined) throw new Error("both are claimed");
    const finishedAt = "2030-01-01T00:00:07Z";
    const failedThen = { ...failed(ended), evidence: { ...failed(ended).evidence, finishedAt } };
    await finish(ledger, ended, () => failedThen);
    const stall = diagnose("ImageNotFound", "There is no such image.");
    const { uid, group } = created(stalled);
    await ledger.record([
      entry(stalled, created(stalled)),
      entry(stalled, { kind: "stalled", diagnosis: stall, uid, rv: "2", group }),
    ]);
    await ledger.admit([wanted("waiting", { groups: [GroupName.parse("nowhere")] }), cancelled("stone")]);
    await ledger.place({ most: 1, placer });
    const rowsOf = async (filter: object) =>
      (await ledger.list({ most: 9, ...filter })).map(({ id, finishedAtMs, newest }) => ({ id, finishedAtMs, newest }));
    const waitingRow = {
      id: "waiting",
      finishedAtMs: undefined,
      newest: { type: "run.waiting", reason: "NoGroup", code: "NoGroup" },
    };
    t.same(
      (await rowsOf({})).toSorted((a, b) => a.id.localeCompare(b.id)),
      [
        { id: "ended", finishedAtMs: Date.parse(finishedAt), newest: { type: "run.failed", code: "ExitCode", exitCode: 1 } },
        { id: "stalled", finishedAtMs: undefined, newest: { type: "run.stalled", code: "ImageNotFound" } },
        waitingRow,
      ],
    );
    t.same(await rowsOf({ newest: ["run.waiting", "run.launched"] }), [waitingRow]);
    const times = async () => (await ledger.list({ most: 9 })).find(({ id }) => id === "ended");
    const before = await times();
    t.equal(before?.begunAtMs, before?.acceptedAtMs, "until a restart, a run began when it was accepted");
    await ledger.admit([restarted("ended")]);
    const restart = (await ledger.story(runId("ended"), 0, 99)).findLast(({ type }) => type === "run.restarted");
    t.equal((await times())?.begunAtMs, restart?.atMs, "the time before a restart is not the run's own");
    for (const [begins, ends, want] of [
      ["sta", "", ["stalled"]],
      ["e", "ed", ["ended"]],
      ["ende", "ended", []],
      ["%", "", []],
    ] as const)
      t.same(
        (await rowsOf({ like: { begins, ends } })).map(({ id }) => id),
        want,
        `${begins}…${ends}`,
      );
    t.match(await rowsOf({ state: "tombstone" }), [{ id: "stone", newest: undefined }]);
  });

  await t.test("a pipeline of which one step goes on is listed by the step that waits or is stalled", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const [a, b] = await claimed(ledger, [wanted("pipeline", { steps: ["a", "b"] })]);
    if (a === undefined || b === undefined) throw new Error("both steps are claimed");
    const newest = async () => (await ledger.list({ most: 1 })).map((it) => it.newest);
    const stall = diagnose("ImageNotFound", "There is no such image.");
    await ledger.record([entry(a, created(a)), entry(b, created(b))]);
    await ledger.record([entry(a, { kind: "stalled", diagnosis: stall, uid: created(a).uid, rv: "2", group: created(a).group })]);
    await finish(ledger, b, complete);
    t.same(await newest(), [{ type: "run.stalled", code: "ImageNotFound" }]);
    t.match(await ledger.list({ most: 9, newest: ["run.stalled"] }), [{ id: "pipeline" }]);
    await ledger.record([entry(a, { kind: "resumed", uid: created(a).uid, rv: "3", group: created(a).group })]);
    t.same(await newest(), [{ type: "run.resumed" }]);
  });

  await t.test("the tally is given what may stand in a cluster", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const works = await claimed(
      ledger,
      ["a", "b", "c", "d"].map((id) => wanted(id)),
    );
    const of = (id: string) => works.filter(({ run }) => run.id === id);
    for (const work of of("b")) await ledger.record([entry(work, created(work))]);
    for (const work of of("c")) await ledger.record([entry(work, created(work)), entry(work, complete(work))]);
    for (const work of of("d")) await finish(ledger, work, complete);
    await ledger.admit([wanted("e")]);
    const standing = await ledger.standing(EAST, ({ run, attempt }) => `${run} ${attempt.step} ${attempt.state}`);
    t.same(standing.toSorted(), [`a ${MAIN} claimed`, `b ${MAIN} live`, `c ${MAIN} ended`]);
  });

  await t.test("what nobody did in time is counted, and how long the oldest event waits", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    t.match(await ledger.counts(), {
      runs: { active: 0, cancelling: 0, tombstone: 0 },
      ends: 0,
      attempts: {},
      outbox: 0,
      overdue: 0,
      strays: 0,
    });
    t.equal((await ledger.counts()).outboxOldestMs, undefined);
    await ledger.admit([wanted("a")]);
    await opened.pass(61_000);
    const { outboxOldestMs, ...counts } = await ledger.counts();
    t.match(counts, { runs: { active: 1 }, attempts: { waiting: 1 }, outbox: 1, overdue: 1 });
    t.ok((outboxOldestMs ?? 0) >= 61_000);
    await ledger.putGroups(groupsOf(1));
    await ledger.place({ most: 1, placer });
    t.equal((await ledger.counts()).overdue, 0);
  });

  await t.test("each end of a run is counted once, whoever counts, and a restarted run ends again", async (t) => {
    await using opened = await open();
    const [ledger, other] = await Promise.all([opened.connect(), opened.connect()]);
    const works = await claimed(ledger, [wanted("a"), wanted("b"), wanted("c")]);
    for (const work of works) await finish(ledger, work, work.run.id === "a" ? complete : failed);
    await ledger.admit([wanted("d"), cancelled("d"), restarted("b"), cancelled("stone"), wanted("stone")]);
    t.equal((await ledger.counts()).ends, 0, "nobody counted yet");
    const counted = new Map<string, number>();
    for (let more = true; more; ) {
      const both = await Promise.all([ledger.countEnds(2), other.countEnds(2)]);
      for (const { group = "-", outcome, code, blame, n } of both.flatMap(({ ends }) => ends)) {
        const how = [group, outcome, code, blame].join(" ").trim();
        counted.set(how, (counted.get(how) ?? 0) + n);
      }
      more = both.some((it) => it.more);
    }
    const want = { "east succeeded": 1, "east failed ExitCode request": 2, "- cancelled": 2 };
    t.same(Object.fromEntries(counted), want);
    t.match(await ledger.counts(), { ends: 5, runs: { active: 1 } }, "the one that was restarted goes on");
    t.match(await ledger.admit([cancelled("b")]), [{ kind: "recorded" }]);
    t.match(await other.countEnds(100), { ends: [{ outcome: "cancelled", n: 1 }], more: false });
    t.same(await ledger.countEnds(100), { ends: [], more: false });
    t.equal((await ledger.counts()).ends, 6);
  });

  await t.test("a launcher is there while it leases any partition, and no other lease shows one", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.lease("tally", "one", LEASE_MS);
    t.equal((await ledger.counts()).hasLauncher, false);
    await ledger.leasePartitions("one", LEASE_MS);
    t.equal((await ledger.counts()).hasLauncher, true);
    await opened.pass(LEASE_MS + 1_000);
    t.equal((await ledger.counts()).hasLauncher, false);
  });

  await t.test("tombstones, sent refusals and suspects go in time, and runs never", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a"), cancelled("b"), cancelled("c")]));
    await finish(ledger, work, complete);
    await ledger.record([entry(work, released)]);
    await ledger.admit([wanted("a", { digest: "other", command: "again" })]);
    await ledger.sentNotices((await ledger.unsentNotices(9)).map(({ id }) => id));
    t.equal(await ledger.suspect("bytes"), 1);
    t.equal(await ledger.suspect("bytes"), 2);
    t.equal(await ledger.suspect("others"), 1);
    t.equal(await ledger.prune(100), 0);
    await opened.pass(24 * HOUR_MS);
    t.equal(await ledger.prune(1), 2, "a tombstone and a suspect");
    t.equal(await ledger.prune(100), 2, "the others");
    await opened.pass(7 * 24 * HOUR_MS);
    t.equal(await ledger.prune(100), 1, "the refusal");
    t.equal(await ledger.suspect("bytes"), 1);
    t.same(await storyOf(ledger, "a"), ["accepted", "launched", "started", "succeeded"]);
  });

  await t.test("the first launcher's key is kept as a mark, and a launcher with another key is refused", async (t) => {
    await using opened = await open();
    const reader = await opened.connect();
    t.equal((await reader.describe()).keyMark, undefined, "who has no key leaves no mark");
    await opened.connect("ours");
    await opened.connect("ours");
    await t.rejects(opened.connect("theirs"), { code: "LedgerOfAnotherKey", disposition: "halt" });
    t.equal((await reader.describe()).keyMark, "ours");
  });

  await t.test("it says what it is, and its clock goes forward", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    t.equal(ledger.epoch, 1);
    t.equal(ledger.installation, "conformance");
    t.ok((await ledger.describe()).product);
    const before = await ledger.now();
    await opened.pass(1_000);
    t.ok(Number.isInteger(before) && (await ledger.now()) >= before);
  });
}

/** Anchors: booked with a placement, claimed with the attempt, swept when their run is over. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { Anchor } from "@longshore/domain/run/record.ts";
import type { Test } from "tap";
import type { Intake, Ledger, Work } from "../port.ts";
import {
  begun, claimAll, complete, type Conforming, created, EAST, entry, failed, first, groupsOf, HOUR_MS, placer, released, runId, storing, uid, wanted,
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

const GIB = 2 ** 30;

/** A run with volumes of one GiB. */
function withVolumes(id: string, steps?: readonly string[]): Intake {
  const anchor = { bytes: GIB, keepSucceededMs: 0, keepFailedMs: HOUR_MS };
  return storing(wanted(id, steps && { steps }), { claims: [], classes: [""], anchor });
}

const anchorsOf = async (ledger: Ledger, id: string): Promise<readonly Anchor[]> =>
  (await ledger.find(runId(id)))?.record.anchors ?? [];

const deferred = ({ attempt: { claimNo }, nowMs: retryAtMs }: Work) =>
  ({ kind: "deferred", claimNo, diagnosis: diagnose("QuotaExceeded", "The quota is full."), retryAtMs }) as const;

const takeAnchors = (ledger: Ledger) => ledger.takeAnchors({ group: EAST, most: 10, leaseMs: 2_000 });

export async function anchors(t: Test, { open }: Conforming): Promise<void> {
  const begin = async (...intakes: readonly Intake[]) => {
    const it = await begun(t, { open }, intakes);
    await it.ledger.place({ most: 10, placer });
    return it;
  };

  await t.test("an anchor is booked with the first placement, and every step of the run is claimed under it", async (t) => {
    const { ledger } = await begin(withVolumes("a", ["left", "right"]), wanted("b"));
    t.match(await anchorsOf(ledger, "a"), [{ number: 1, state: "making", group: EAST, namespace: "jobs", bytes: GIB }]);
    t.match((await ledger.groups())[0]?.storage, { usedBytes: GIB, keptBytes: 0 });
    const works = await claimAll(ledger);
    t.same(works.map(({ anchor }) => anchor?.number), [1, 1, undefined]); // biome-ignore format: one line
    t.equal((await ledger.find(runId("b")))?.record.anchors, undefined);
    t.equal((await ledger.counts()).anchors, 1);
    t.same(await ledger.anchors(EAST), [{ run: "a", number: 1, state: "making", namespace: "jobs" }]);
  });

  await t.test("a placement that is claimed at once has its anchor", async (t) => {
    const opened = await open();
    t.teardown(() => opened[Symbol.asyncDispose]());
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(10));
    await ledger.admit([withVolumes("a")]);
    const claim = { by: "one", forMs: 30_000, room: new Map([[EAST, 5]]) };
    t.match((await ledger.place({ most: 10, placer, claim })).works, [{ anchor: { number: 1, state: "making" } }]);
  });

  await t.test("what a create learned of the anchor is recorded with its answer", async (t) => {
    const { ledger } = await begin(withVolumes("a"));
    const work = first(await claimAll(ledger));
    const anchor = { kind: "stands", uid: uid("anchor-uid") } as const;
    await ledger.record([{ ...entry(work, created(work)), anchor }]);
    t.match(await anchorsOf(ledger, "a"), [{ state: "standing", uid: "anchor-uid" }]);
  });

  await t.test(
    "the anchor of a run that ended is due at once or when it was kept, and clear once every attempt is done",
    async (t) => {
      const { opened, ledger } = await begin(withVolumes("a"), withVolumes("b"));
      const [a, b] = await claimAll(ledger);
      if (a === undefined || b === undefined) throw new TypeError("two runs are to be claimed");
      t.same(await takeAnchors(ledger), [], "nothing is due while the runs go on");
      await ledger.record([entry(a, created(a)), entry(b, created(b)), entry(a, complete(a)), entry(b, failed(b))]);
      t.match(await anchorsOf(ledger, "b"), [{ state: "kept" }]);
      t.match((await ledger.groups())[0]?.storage, { usedBytes: 2 * GIB, keptBytes: GIB, keptUntilMs: Number });
      t.same((await ledger.due([EAST])).includes("strays"), true);
      t.match(await takeAnchors(ledger), [{ run: "a", anchor: { number: 1, state: "sweeping" }, isClear: false }]);
      t.same(await takeAnchors(ledger), [], "the sweep that took it has a lease");
      await ledger.record([entry(a, released), entry(b, released)]);
      const [swept] = await takeAnchors(ledger);
      t.match(swept, { run: "a", isClear: true });
      await ledger.recordAnchors([{ run: runId("a"), number: 1, input: { kind: "gone", begunAtMs: swept?.nowMs ?? 0 } }]);
      t.match(await anchorsOf(ledger, "a"), [{ state: "gone", dueMs: undefined }]);
      t.match((await ledger.groups())[0]?.storage, { usedBytes: GIB });
      await opened.pass(HOUR_MS);
      const [kept] = await takeAnchors(ledger);
      t.match(kept, { run: "b", anchor: { state: "kept" } });
      await ledger.recordAnchors([{ run: runId("b"), number: 1, input: { kind: "due" } }]);
      t.match(await takeAnchors(ledger), [{ run: "b", anchor: { state: "sweeping" }, isClear: true }]);
    },
  );

  await t.test("an anchor that is gone is forgotten when the run books another one", async (t) => {
    const { ledger } = await begin(withVolumes("a"));
    for (const number of [1, 2, 3]) {
      const work = first(await claimAll(ledger));
      await ledger.record([{ ...entry(work, deferred(work)), anchor: { kind: "noRoom" } }]);
      const [swept] = await takeAnchors(ledger);
      t.match(swept, { anchor: { number, state: "sweeping" }, isClear: true });
      await ledger.recordAnchors([{ run: runId("a"), number, input: { kind: "gone", begunAtMs: swept?.nowMs ?? 0 } }]);
      t.match(await anchorsOf(ledger, "a"), [{ number, state: "gone" }]);
      await ledger.place({ most: 10, placer });
      t.strictSame(
        (await anchorsOf(ledger, "a")).map((it) => [it.number, it.state]),
        [[number + 1, "making"]],
      );
    }
  });

  await t.test("a stray is no anchor, and an anchor is no stray", async (t) => {
    const { ledger } = await begin(withVolumes("a"));
    const work = first(await claimAll(ledger));
    await ledger.addStray({ run: runId("a"), kind: "stray", group: EAST, name: "stray", uid: uid("stray") });
    await ledger.record([entry(work, created(work)), entry(work, complete(work))]);
    t.match(await ledger.takeStrays({ group: EAST, most: 9, leaseMs: 2_000 }), [{ name: "stray" }]);
    t.match(await takeAnchors(ledger), [{ run: "a" }]);
    t.match(await ledger.counts(), { strays: 1, anchors: 1 });
  });

  await t.test("what a group that moved had of volumes is given up with it, and a run that needs them is lost", async (t) => {
    const { ledger } = await begin(withVolumes("a", ["first"]), withVolumes("b"));
    await ledger.setGroup(EAST, { namespaceUid: "old", health: "healthy" });
    const works = await claimAll(ledger);
    const b = first(works.filter(({ run }) => run.id === "b"));
    await ledger.record([...works.map((work) => entry(work, created(work))), entry(b, failed(b)), entry(b, released)]);
    await ledger.setGroup(EAST, { health: "unhealthy", diagnosis: diagnose("GroupMoved", "Another namespace has its name.") });
    t.match(await ledger.acceptGroup(EAST), { kind: "accepted", lost: 1 });
    for (const id of ["a", "b"]) t.match(await anchorsOf(ledger, id), [{ state: "sweeping" }]);
    t.match(await ledger.find(runId("a")), { record: { run: { outcome: "lost" } } });
  });

  await t.test("a group whose namespace changed in the file is not empty while a run keeps volumes there", async (t) => {
    const { ledger } = await begin(withVolumes("a"));
    await ledger.setGroup(EAST, { namespaceUid: "old", health: "healthy", diagnosis: undefined });
    const work = first(await claimAll(ledger));
    await ledger.record([entry(work, created(work)), entry(work, failed(work)), entry(work, released)]);
    await ledger.putGroups(groupsOf(10).map((it) => ({ ...it, namespace: "other" })));
    t.equal((await ledger.groups())[0]?.namespaceUid, "old");
  });
}

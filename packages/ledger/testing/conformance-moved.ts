/**
 * Conformance: a group whose namespace is another one now. The old UID is kept until a person accepts the move, or all attempts
 * that were placed in the old namespace are done.
 */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { FENCE_MS } from "@longshore/domain/run/record.ts";
import type { Test } from "tap";
import {
  cancelled, claimAll, claimed, complete, type Conforming, created, EAST, entry, first, groupsOf, placer, released, runId,
  storyOf, uid, wanted, WEST
} from "./conformance-parts.ts"; // biome-ignore format: a list of names
import type { Ledger } from "../port.ts";

const MOVED = { health: "unhealthy", diagnosis: diagnose("GroupMoved", "Another namespace has its name.") } as const;
const UNREACHED = { namespaceUid: undefined, health: "unknown", diagnosis: undefined, everHealthy: true };

const reached = (ledger: Ledger): Promise<void> => ledger.setGroup(EAST, { namespaceUid: "old", health: "healthy" });
const east = async (ledger: Ledger) => first(await ledger.groups());
const attempts = async (ledger: Ledger, id: string) => (await ledger.find(runId(id)))?.record.attempts ?? [];

export async function moving(t: Test, { open }: Conforming): Promise<void> {
  await t.test("the first UID that was said of a group stays, whatever a probe that began earlier says", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await ledger.putGroups(groupsOf(5));
    await reached(ledger);
    await ledger.setGroup(EAST, { ...MOVED, namespaceUid: "new" });
    t.match(await east(ledger), { namespaceUid: "old", health: "unhealthy" });
  });

  await t.test("a group that did not move is not accepted, and nothing of it is given up", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await claimed(ledger, [wanted("a")]);
    await reached(ledger);
    t.same(await ledger.acceptGroup(EAST), { kind: "notMoved" });
    t.same(await ledger.acceptGroup(WEST), { kind: "notMoved" }, "there is no such group");
    t.match(await east(ledger), { namespaceUid: "old", health: "healthy" });
    t.match(await attempts(ledger, "a"), [{ state: "claimed" }]);
  });

  await t.test("what stands in a group that moved is given up when that is accepted, and nothing else is", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const works = await claimed(
      ledger,
      ["live", "closing", "ended", "open"].map((id) => wanted(id)),
    );
    const of = (id: string) => first(works.filter(({ run }) => run.id === id));
    await ledger.record(["live", "closing", "ended"].map((id) => entry(of(id), created(of(id)))));
    await ledger.record([entry(of("ended"), complete(of("ended")))]);
    await ledger.admit([cancelled("closing")]);
    await inTheWest(ledger, "west");
    await reached(ledger);
    await ledger.setGroup(EAST, MOVED);
    t.same(await ledger.acceptGroup(EAST), { kind: "accepted", lost: 3 });
    t.match(await east(ledger), UNREACHED);
    for (const id of ["live", "open"]) t.equal((await storyOf(ledger, id)).at(-1), "lost");
    t.match(await attempts(ledger, "live"), [{ state: "ended", outcome: { result: "lost", diagnosis: { code: "Abandoned" } } }]);
    t.match(await ledger.find(runId("closing")), { record: { run: { state: "ended", outcome: "lost" } } });
    t.match(await ledger.find(runId("ended")), { record: { run: { outcome: "succeeded" } } }, "what was known stays so");
    t.match(await attempts(ledger, "west"), [{ state: "claimed", group: WEST }]);
    t.same(await ledger.acceptGroup(EAST), { kind: "notMoved" }, "once is enough");

    const asked = { state: "ended", group: EAST, most: 10, leaseMs: 1_000 } as const;
    const ended = await ledger.take(asked);
    t.equal(ended.length, 4, "all are to be released at once");
    await ledger.record(ended.map((work) => entry(work, { ...released, found: "missing" })));
    t.match(await ledger.standing(EAST, (it) => it), [{ run: "open", attempt: { state: "ended", unanswered: [1] } }]);
    t.equal((await ledger.standing(EAST, (it) => it)).length, 1, "only what a create may still land on keeps its name");
    await opened.pass(FENCE_MS + 60_000);
    const late = await ledger.take(asked);
    await ledger.record(late.map((work) => entry(work, { ...released, found: "missing", begunAtMs: work.nowMs })));
    t.same(await ledger.standing(EAST, (it) => it), []);
  });

  await t.test("a Job of the old namespace whose other create is unanswered leaves its name to an occupant", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    await claimed(ledger, [wanted("a")]);
    await opened.pass(30_000);
    const again = first(await claimAll(ledger));
    await ledger.record([entry(again, created(again))]);
    t.match(await attempts(ledger, "a"), [{ state: "live", unanswered: [1] }]);
    await reached(ledger);
    await ledger.setGroup(EAST, MOVED);
    await ledger.acceptGroup(EAST);
    t.match(await ledger.take({ state: "ended", group: EAST, most: 10, leaseMs: 1_000 }), [
      { attempt: { unanswered: [1], notes: { gone: true } } },
    ]);
  });

  await t.test("an occupant of the old namespace keeps no name in the new one: it is looked at now", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const work = first(await claimed(ledger, [wanted("a")]));
    await ledger.admit([cancelled("a")]);
    const occupant = uid("occupant");
    await ledger.record([entry(work, { kind: "occupied", uid: occupant })]);
    const asked = { state: "ended", group: EAST, most: 10, leaseMs: 60_000 } as const;
    const [look] = await ledger.take(asked);
    await ledger.record([entry(work, { kind: "kept", uid: occupant, begunAtMs: look?.nowMs ?? 0 })]);
    t.same(await ledger.take(asked), [], "it rests until its fence");
    await reached(ledger);
    await ledger.setGroup(EAST, MOVED);
    await opened.pass(10);
    await ledger.acceptGroup(EAST);
    t.match(await ledger.take(asked), [{ attempt: { occupantUid: occupant, unanswered: [1], notes: { doubtedAtMs: Number } } }]);
  });

  await t.test("a file that names another namespace has the UID forgotten only where nothing stands", async (t) => {
    await using opened = await open();
    const ledger = await opened.connect();
    const named = (namespace: string) => groupsOf(5).map((it) => ({ ...it, namespace }));
    await ledger.putGroups(named("jobs"));
    await reached(ledger);
    await ledger.putGroups(named("jobs"));
    t.match(await east(ledger), { namespaceUid: "old", health: "healthy" }, "the same file");
    await ledger.putGroups(named("batch"));
    t.match(await east(ledger), { ...UNREACHED, namespace: "batch" });

    await reached(ledger);
    await ledger.admit([wanted("a")]);
    await ledger.place({ most: 1, placer });
    await ledger.putGroups(named("third"));
    t.match(await east(ledger), { namespaceUid: "old", namespace: "third" }, "one is in line for the old namespace");
    const work = first(await claimAll(ledger));
    await ledger.record([entry(work, created(work)), entry(work, complete(work))]);
    await ledger.putGroups(named("fourth"));
    t.match(await east(ledger), { namespaceUid: "old" }, "its Job is to be released there");
    await ledger.record([entry(work, released)]);
    await ledger.putGroups(named("fifth"));
    t.match(await east(ledger), UNREACHED);
  });
}

/** Makes an attempt that is claimed in the group WEST. */
async function inTheWest(ledger: Ledger, id: string): Promise<void> {
  await ledger.putGroups(groupsOf(1_000, 5));
  await ledger.admit([wanted(id)]);
  await ledger.place({ most: 10, placer: { ...placer, quiet: new Map([[EAST, "It asked for a pause."]]) } });
  await claimAll(ledger, 10, WEST);
}

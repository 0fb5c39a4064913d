import t, { type Test } from "tap";
import { createOrAdopt } from "../jobs/create.ts";
import { probeOne } from "./probe.ts";
import { viewOf } from "./views.ts";
import { releaseOne } from "../loops/release.ts";
import { claimed, GROUP, live, NAMESPACE, never, type Stage, stage } from "../testing/stage.ts";

const FENCE_MS = 11 * 60_000;
const recorded = (it: Stage) => it.model.tables.groups.get(GROUP);

/** Deletes the namespace and makes it again; then the launcher probes and notices. */
async function moved(it: Stage): Promise<Stage> {
  for (const { metadata } of it.pocket.jobs(NAMESPACE))
    it.pocket.meddle({ kind: "strip finalizers", namespace: NAMESPACE, name: metadata.name });
  it.pocket.meddle({ kind: "delete namespace", name: NAMESPACE });
  await it.clock.sleep(60_000);
  it.pocket.meddle({ kind: "create namespace", name: NAMESPACE });
  await probeOne(it.parts, it.cluster, never);
  return it;
}

async function accepted(t: Test, it: Stage, lost: number): Promise<void> {
  t.same(await it.parts.ledger.acceptGroup(GROUP), { kind: "accepted", lost });
  await probeOne(it.parts, it.cluster, never);
}

async function releasing(it: Stage, forMs: number): Promise<void> {
  for (const endMs = it.clock.now() + forMs; it.clock.now() < endMs && it.attempt().state === "ended"; ) {
    const work = await it.take("ended");
    if (work !== undefined) await releaseOne(it.parts, it.cluster, work, never);
    await it.clock.sleep(1_000);
  }
}

t.test(
  "a namespace that a person accepted is trusted as it is found, also by a launcher that remembers the old one",
  async (t) => {
    const it = await stage(t);
    const known = recorded(it)?.namespaceUid;
    await moved(it);
    t.match(recorded(it), { diagnosis: { code: "GroupMoved", hint: /longshore group accept/ }, namespaceUid: known });
    await accepted(t, it, 0);
    const { namespaceUid } = it.parts.views.get(GROUP) ?? {};
    t.match(recorded(it), { health: "healthy", namespaceUid });
    t.not(namespaceUid, known);
    t.equal(viewOf(it.parts, GROUP).state, "healthy");
  },
);

t.test("a probe that read the ledger before the accept, and writes after it, does not undo the accept", async (t) => {
  const it = await moved(await stage(t));
  const { parts } = it;
  const known = recorded(it)?.namespaceUid;
  const groups = async () => {
    const read = await parts.ledger.groups();
    t.match(await parts.ledger.acceptGroup(GROUP), { kind: "accepted" });
    return read.map((it) => ({ ...it, health: "healthy" as const, diagnosis: undefined })); // so that this probe has news to write
  };
  await probeOne({ ...parts, ledger: { ...parts.ledger, groups } }, it.cluster, never);
  t.match(recorded(it), { namespaceUid: undefined, diagnosis: { code: "GroupMoved" } });
  await probeOne(parts, it.cluster, never);
  t.match(recorded(it), { health: "healthy", namespaceUid: String });
  t.not(recorded(it)?.namespaceUid, known);
});

t.test("an attempt of the old namespace is lost at the accept, and done when the new namespace was asked", async (t) => {
  const it = await moved(await live(t));
  await releasing(it, 60_000);
  t.match(it.attempt(), { state: "live" }, "nothing is said of it before");
  await accepted(t, it, 1);
  t.equal(it.events().at(-1), "run.lost");
  await releasing(it, 60_000);
  t.equal(it.attempt().state, "done");
  t.same(it.pocket.jobs(NAMESPACE), []);
});

async function unanswered(t: Test): Promise<Stage> {
  const it = await moved(await claimed(t));
  await accepted(t, it, 1);
  return it;
}

t.test("a create that is still on its way finds its name taken in the new namespace, until none can come", async (t) => {
  const it = await unanswered(t);
  await releasing(it, 5_000);
  t.match(it.job(), { spec: { suspend: true, parallelism: 0 } }, "our occupant");
  await t.rejects(it.create(), "the late create");
  await it.clock.sleep(FENCE_MS);
  await releasing(it, 60_000);
  t.equal(it.attempt().state, "done");
  await it.clock.sleep(5_000);
  t.same(it.pocket.jobs(NAMESPACE), []);
});

t.test("a Job that landed before our occupant is not taken for ours: its proof is of the old namespace", async (t) => {
  const it = await claimed(t);
  const view = viewOf(it.parts, GROUP);
  await moved(it);
  await accepted(t, it, 1);
  // The group's view from before the namespace was made again.
  const views = new Map([[GROUP, view]]);
  t.match(await createOrAdopt({ ...it.parts, views }, it.cluster, it.work, never), { kind: "created" });
  await releasing(it, FENCE_MS + 60_000);
  t.match(it.attempt(), { state: "done", uid: undefined, outcome: { result: "lost" } });
  t.equal(it.events().at(-1), "run.lost");
});

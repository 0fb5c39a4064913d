import { ANNOTATIONS, HOLD, LABELS, MANAGED_BY } from "@longshore/domain/run/marks.ts";
import { isParked } from "@longshore/domain/run/record.ts";
import { RunId, Uid } from "@longshore/contract/ids.ts";
import type { Counts } from "@longshore/ledger/port.ts";
import { type Metrics, openMetrics } from "@longshore/runtime/metrics.ts";
import t, { type Test } from "tap";
import { expireOne } from "./expire.ts";
import { tally as tallying, tallyOnce } from "./tally.ts";
import { claimed, GROUP, live, NAMESPACE, never, RUN, type Stage, stage } from "../testing/stage.ts";

const none = { adopted: 0, strays: 0, gone: 0, holdsRepaired: 0, unknown: 0 };
const tally = (it: Stage) => tallyOnce(it.parts, it.cluster, never);
const name = (it: Stage) => ({ namespace: NAMESPACE, name: it.attempt().name });

t.test("a healthy Job is counted and left alone", async (t) => {
  const it = await live(t);
  t.same(await tally(it), { ...none, jobs: 1 });
  t.equal(it.attempt().state, "live");
});

t.test("a Job whose launcher died before writing its UID down is adopted", async (t) => {
  const it = await claimed(t);
  const uid = await it.create();
  t.same(await tally(it), { ...none, jobs: 1, adopted: 1 });
  t.match(it.attempt(), { state: "live", uid });
});

t.test("an attempt whose Job is provably gone is told as lost", async (t) => {
  const it = await live(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(60_000);
  t.same(await tally(it), { ...none, jobs: 0, gone: 1 });
  t.equal(it.events().at(-1), "run.lost");
});

t.test("a Job that only left the listing, since somebody removed its label, is not gone", async (t) => {
  const it = await live(t);
  it.pocket.meddle({ kind: "remove label", label: "longshore.dev/installation", ...name(it) });
  t.same(await tally(it), { ...none, jobs: 0 });
  t.equal(it.attempt().state, "live");
});

t.test("a Job that was deleted while pods of it still run is not gone", async (t) => {
  const it = await live(t);
  await it.clock.sleep(5_000);
  it.pocket.meddle({ kind: "delete Job", propagation: "Orphan", ...name(it) });
  await it.clock.sleep(5_000);
  it.pocket.meddle({ kind: "strip finalizers", finalizer: HOLD, ...name(it) });
  await it.clock.sleep(5_000);
  t.equal(it.job(), undefined);
  t.same(await tally(it), { ...none, jobs: 0 });
});

t.test("a hold that somebody stripped off a running Job is put back", async (t) => {
  const it = await live(t);
  it.pocket.meddle({ kind: "strip finalizers", finalizer: HOLD, ...name(it) });
  t.same(await tally(it), { ...none, jobs: 1, holdsRepaired: 1 });
  t.match(it.said, [{ message: /took our hold off/, fields: { job: it.job()?.metadata.name } }]);
  t.same(it.job()?.metadata.finalizers, [HOLD]);
});

t.test("a hold that may not be put back is told, not counted as mended, and tried at the next tally", async (t) => {
  const it = await live(t);
  it.pocket.meddle({ kind: "strip finalizers", finalizer: HOLD, ...name(it) });
  it.pocket.cause({ on: "patch", times: 1, trouble: { kind: "status", status: 403 } });
  t.same(await tally(it), { ...none, jobs: 1 });
  t.match(it.said, [{ message: /refuses a write/, fields: { what: /putting our hold back/, status: 403 } }]);
  t.same(await tally(it), { ...none, jobs: 1, holdsRepaired: 1 });
});

/** An attempt that is parked under its Job's hold, since a create of it is unanswered. */
async function parked(t: Test): Promise<Stage> {
  const it = await claimed(t, { pods: { startsAfterMs: 0, runsMs: 10, exitCode: 1 } });
  const uid = await it.create();
  await it.clock.sleep(10_000);
  await it.record({ kind: "failed", evidence: { started: "yes" }, uid, rv: "99", group: GROUP });
  await it.record({ kind: "kept", uid, begunAtMs: it.clock.now() });
  await it.clock.sleep(1_000);
  t.ok(isParked(it.attempt()));
  return it;
}

t.test("a parked attempt whose Job stands under our hold stays parked", async (t) => {
  const it = await parked(t);
  t.same(await tally(it), { ...none, jobs: 1 });
  t.ok(isParked(it.attempt()));
});

t.test("a parked attempt whose Job is gone, or lost its hold, is in doubt: it is looked at now", async (t) => {
  const it = await parked(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  await tally(it);
  t.notOk(isParked(it.attempt()));
  t.equal(it.attempt().dueMs, it.clock.now());

  const other = await parked(t);
  other.pocket.meddle({ kind: "strip finalizers", ...name(other) });
  other.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(other) });
  await other.clock.sleep(5_000);
  t.equal(other.job(), undefined);
  await tally(other);
  t.notOk(isParked(other.attempt()));
});

t.test("a second Job with our proof is a surplus one: the table says so, and keeps its name until the fence", async (t) => {
  const it = await claimed(t);
  await it.publish("run.cancel", { run: RUN });
  await it.record({ kind: "occupied", uid: Uid.parse("uid-of-an-occupant") });
  const uid = await it.create();
  t.same(await tally(it), { ...none, jobs: 1, strays: 1 });
  const [stray] = [...it.model.tables.strays.values()];
  t.match(stray, { stray: { kind: "stray", uid } });
  t.ok((stray?.stray.holdUntilMs ?? 0) > it.clock.now(), "a create may still land");
});

t.test("a hold that is left on a Job whose outcome was recorded and released long ago is let go", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs: 10 } });
  const uid = Uid.parse(it.attempt().uid);
  await it.record({ kind: "complete", evidence: { started: "yes" }, uid, rv: "99", group: GROUP });
  await it.record({ kind: "released", found: "released", begunAtMs: it.clock.now() });
  t.equal(it.attempt().state, "done");
  t.same(await tally(it), { ...none, jobs: 1, strays: 1 });
  t.match([...it.model.tables.strays.values()], [{ stray: { kind: "release", uid } }]);
});

t.test("Jobs without our proof, and of runs that nobody knows, are shown and never touched", async (t) => {
  const it = await claimed(t);
  await it.create({ proof: "somebody else's" });
  const run = RunId.parse("of/another/ledger");
  const proof = it.parts.keys.prove({ run, step: it.attempt().step, attempt: 1 }, { group: GROUP, namespaceUid: it.parts.views.get(GROUP)?.namespaceUid ?? "" }); // biome-ignore format: one value
  await it.create({ name: "of-another", run: { id: run, labels: undefined, annotations: undefined }, proof });
  t.same(await tally(it), { ...none, jobs: 2, unknown: 2 });
  t.ok(it.pocket.jobs(NAMESPACE).every(({ metadata }) => metadata.deletionTimestamp === undefined));
  t.equal(it.model.tables.strays.size, 0);
});

t.test(
  "an anchor that no run of the ledger has is shown and never touched, and one of another installation is not ours",
  async (t) => {
    const it = await stage(t);
    const labels = { [LABELS.installation]: it.parts.installation, [LABELS.managedBy]: MANAGED_BY, [LABELS.anchor]: "1" };
    const annotations = { [ANNOTATIONS.group]: GROUP };
    const path = `/api/v1/namespaces/${NAMESPACE}/configmaps`;
    const others = { ...labels, [LABELS.installation]: "other" };
    for (const [name, of] of [["unknown", labels], ["of-others", others]] as const)
    await it.pocket.transport().send({ method: "POST", path, body: { metadata: { name, labels: of, annotations } } }, never); // biome-ignore format: one line
    t.same(await tally(it), { ...none, jobs: 0, unknown: 1 });
    t.equal(it.pocket.objects("configmaps", NAMESPACE).length, 2);
    it.pocket.cause({ on: "list", resource: "configmaps", trouble: { kind: "status", status: 403 } });
    t.same(await tally(it), { ...none, jobs: 0 }, "a Role from before there were volumes stops nothing");
    t.match(it.said, [{ message: "a cluster refuses a read, which is tried again", fields: { status: 403 } }]);
  },
);

t.test("from half a listing nothing follows", async (t) => {
  const it = await live(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(60_000);
  it.pocket.cause({ on: "list", trouble: { kind: "status", status: 500 } });
  await t.rejects(tally(it), /would not list/);
  t.equal(it.attempt().state, "live");
});

t.test("an empty cluster and an empty ledger agree", async (t) => {
  t.same(await tally(await stage(t)), { ...none, jobs: 0 });
});

// ── The gauges of the tally ──────────────────────────────────────────────────────────────────────────────────────────

const TURN_MS = 120_001;
const published = { outbox: 0, outboxOldestMs: undefined };

/**
 * The tally loop of one launcher among several; no other loop runs. `holds`: whether this launcher has the lease on the group's
 * tally.
 */
function launcherOf(t: Test, it: Stage, holds: () => boolean, counted: Partial<Counts> = {}): Metrics {
  const stop = new AbortController();
  const metrics = openMetrics("launcher", "test");
  const counts = async () => ({ ...(await it.parts.ledger.counts()), ...published, ...counted });
  const parts = { ...it.parts, metrics, ledger: { ...it.parts.ledger, counts, lease: async () => holds() } };
  const ended = tallying(parts, it.cluster, new Map())(stop.signal);
  t.teardown(async () => {
    stop.abort();
    await ended;
  });
  return metrics;
}

async function valueOf(metrics: Metrics, name: string): Promise<number | undefined> {
  const [, value] = new RegExp(`^${name}(?:\\{.*\\})? (.+)$`, "m").exec(await metrics.text()) ?? [];
  return value === undefined ? undefined : Number(value);
}
const unaccountedOf = (metrics: Metrics) => valueOf(metrics, "longshore_unaccounted");

t.test("a launcher whose lease another one took does not go on counting faults that are mended", async (t) => {
  const it = await claimed(t);
  await it.create({ proof: "somebody else's" });
  let holder: "a" | "b" = "a";
  const a = launcherOf(t, it, () => holder === "a", { overdue: 0 });
  const b = launcherOf(t, it, () => holder === "b", { overdue: 0 });
  await it.clock.sleep(1_000);
  t.same([await unaccountedOf(a), await unaccountedOf(b)], [1, 0], "who counts tells what it found");
  holder = "b";
  await it.clock.sleep(TURN_MS);
  t.same([await unaccountedOf(a), await unaccountedOf(b)], [0, 1], "it is told once");
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(TURN_MS);
  t.same([await unaccountedOf(a), await unaccountedOf(b)], [0, 0], "mended");
});

t.test("while the only cluster cannot be listed, attempts that are overdue are counted all the same", async (t) => {
  const it = await live(t);
  it.pocket.cause({ on: "list", trouble: { kind: "status", status: 500 } });
  const metrics = launcherOf(t, it, () => true);
  await it.clock.sleep(1_000);
  t.equal(await unaccountedOf(metrics), 0);
  await it.clock.sleep(3_600_000);
  t.equal(await unaccountedOf(metrics), 1, "its timer is long past, and nobody came for it");
});

t.test("each group has its own time of the last tally that ended well: a group whose tally always fails has none", async (t) => {
  const it = await live(t);
  const success = "longshore_tally_last_success_timestamp_seconds";
  const well = launcherOf(t, it, () => true);
  await it.clock.sleep(1_000);
  t.match(await well.text(), `${success}{group="${GROUP}"} `);
  it.pocket.cause({ on: "list", trouble: { kind: "status", status: 500 } });
  const failing = launcherOf(t, it, () => true);
  const before = await valueOf(well, success);
  await it.clock.sleep(3 * TURN_MS);
  t.equal(await valueOf(failing, success), undefined);
  t.equal(await valueOf(well, success), before, "and it grows old where one ended well before");
});

// ── Before a timer acts on a Job, the launcher looks ─────────────────────────────────────────────────────────────────

async function expiring(it: Stage): Promise<void> {
  const work = await it.take("live");
  if (work !== undefined) await expireOne(it.parts, it.cluster, work, never);
}

const START_WITHIN_MS = 16 * 60_000;

t.test("a healthy Job whose start nobody told, since the watcher was down, is not harmed", async (t) => {
  const it = await live(t);
  await it.clock.sleep(START_WITHIN_MS);
  await expiring(it);
  t.match(it.attempt(), { state: "live", started: "yes" });
  t.equal(it.events().at(-1), "run.started");
});

t.test("a Job whose pod still does not start is closed, with its pod's diagnosis", async (t) => {
  const it = await live(t, { pods: { waits: { reason: "ImagePullBackOff", message: "Back-off pulling image" } } });
  await it.clock.sleep(START_WITHIN_MS);
  await expiring(it);
  t.match(it.attempt(), { state: "closing", cause: "startExpired" });
});

t.test("a Job that ended unseen is told as it ended", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs: 10, exitCode: 3 } });
  await it.clock.sleep(START_WITHIN_MS);
  await expiring(it);
  t.match(it.attempt(), { outcome: { result: "failed", evidence: { exitCode: 3 } } });
});

t.test("while the cluster is silent no timer acts", async (t) => {
  const it = await live(t);
  it.pocket.cause({ on: "get", trouble: { kind: "lost before writing" } });
  await it.clock.sleep(START_WITHIN_MS);
  await expiring(it);
  t.equal(it.attempt().state, "live");
});

t.test("another Job of this attempt under the name is a surplus one, and says nothing about the recorded one", async (t) => {
  const it = await live(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(60_000);
  const uid = await it.create();
  await it.clock.sleep(START_WITHIN_MS);
  await expiring(it);
  t.match(it.attempt(), { outcome: { result: "lost" } });
  t.match([...it.model.tables.strays.values()], [{ stray: { kind: "stray", uid } }]);
});

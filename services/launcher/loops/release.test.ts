import { Uid } from "@longshore/contract/ids.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import { isParked } from "@longshore/domain/run/record.ts";
import type { Trouble } from "@longshore/pocket/testing/faults.ts";
import type { PodScript } from "@longshore/pocket/testing/scripted.ts";
import t, { type Test } from "tap";
import { admit } from "../intake/admit.ts";
import { releaseOne } from "./release.ts";
import { heard } from "../groups/views.ts";
import { FENCE_MS, name, occupied, releasing, succeeded } from "../testing/ended.ts";
import { claimed, commandOf, deliveryOf, GROUP, live, NAMESPACE, never, RUN, type Stage } from "../testing/stage.ts";

/** An attempt whose Job failed while an earlier create of it is unanswered. */
async function unsure(t: Test, pods: PodScript = { startsAfterMs: 0, runsMs: 10, exitCode: 1 }, hold = true): Promise<Stage> {
  const it = await claimed(t, { pods });
  const uid = await it.create({ hold });
  await it.clock.sleep(10_000);
  await it.record({ kind: "failed", evidence: { started: "yes" }, uid, rv: "99", group: GROUP });
  t.match(it.attempt(), { state: "ended", unanswered: [1] });
  return it;
}

const takeAway = (it: Stage): void => {
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
};

/** An attempt that an operator gave up while its pod runs. */
async function abandoned(t: Test, pods: PodScript = {}): Promise<Stage> {
  const it = await live(t, { pods });
  await it.clock.sleep(10_000);
  await admit(it.parts)({ ...deliveryOf(commandOf("run.abandon", { run: RUN })), user: "ops" });
  t.match(it.attempt(), { state: "ended", outcome: { result: "lost" } });
  return it;
}

t.test("takes our hold off, leaves other people's, and says how long the evidence stays", async (t) => {
  const it = await succeeded(t);
  const uid = it.attempt().uid ?? "";
  await it.cluster.writes.holdAgain(it.attempt().name, uid, "example.org/theirs", never);
  await releasing(it);
  t.equal(it.attempt().state, "done");
  t.same(it.job()?.metadata.finalizers, ["example.org/theirs"]);
  t.match(it.job(), { spec: { ttlSecondsAfterFinished: 3_600 } });
});

t.test("a Job that is gone by then is no trouble", async (t) => {
  const it = await succeeded(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(10_000);
  await releasing(it);
  t.equal(it.attempt().state, "done");
});

t.test("two launchers release at once: the second finds it done", async (t) => {
  const it = await succeeded(t);
  const work = await it.take("ended");
  t.ok(work);
  if (work !== undefined) await Promise.all([1, 2].map(() => releaseOne(it.parts, it.cluster, work, never)));
  t.equal(it.attempt().state, "done");
  t.notOk(it.job()?.metadata.finalizers?.includes(HOLD));
});

t.test("a refused release is tried again, and a person is told", async (t) => {
  const it = await succeeded(t);
  it.pocket.cause({ on: "patch", times: 2, trouble: { kind: "status", status: 403 } });
  await releasing(it, 5 * 60_000);
  t.equal(it.attempt().state, "done");
  t.match(it.said[0], { message: /refuses a write/, fields: { what: /hold/, status: 403 } });
});

t.test("a release whose answer was lost is repeated without harm", async (t) => {
  const it = await succeeded(t);
  it.pocket.cause({ on: "patch", times: 1, trouble: { kind: "lost after writing" } });
  await releasing(it, 5 * 60_000);
  t.equal(it.attempt().state, "done");
});

t.test("an attempt whose create is on the wire is parked once a look saw its Job under our hold, and keeps it", async (t) => {
  const it = await unsure(t);
  t.notOk(isParked(it.attempt()));
  await releasing(it, 2_000);
  t.ok(isParked(it.attempt()));
  t.equal(it.attempt().dueMs, it.attempt().fenceUntilMs);
  t.same(it.job()?.metadata.finalizers, [HOLD]);
  await it.clock.sleep(FENCE_MS);
  await releasing(it);
  t.equal(it.attempt().state, "done");
  t.notOk(it.job()?.metadata.finalizers?.includes(HOLD));
});

t.test("a hold that was stripped after the end is put back before the attempt is parked", async (t) => {
  const it = await unsure(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.cause({ on: "patch", times: 1, trouble: { kind: "status", status: 403 } });
  await releasing(it, 2_000);
  t.notOk(isParked(it.attempt()), "not without its hold");
  await releasing(it);
  t.same(it.job()?.metadata.finalizers, [HOLD]);
  t.ok(isParked(it.attempt()));
});

t.test("if the Job is gone while a create may land, an occupant takes its name, and then the attempt is parked", async (t) => {
  const it = await unsure(t);
  await releasing(it, 2_000);
  takeAway(it);
  await it.record({ kind: "deleting", vanished: true, uid: Uid.parse(it.attempt().uid), rv: "100", group: GROUP });
  t.notOk(isParked(it.attempt()));
  await releasing(it, 5_000);
  t.match(it.job(), { spec: { suspend: true }, metadata: { uid: it.attempt().occupantUid, finalizers: [HOLD] } });
  t.ok(isParked(it.attempt()));
});

t.test("an attempt is not parked while a pod of its Job has not finished", async (t) => {
  const it = await unsure(t, {});
  await releasing(it);
  t.equal(it.pocket.pods(NAMESPACE).length, 1, "it runs");
  t.notOk(isParked(it.attempt()));
});

t.test("an attempt is not parked if a webhook keeps our hold off its Job", async (t) => {
  const it = await unsure(t, undefined, false);
  it.pocket.cause({ on: "patch", trouble: { kind: "status", status: 403 } });
  await releasing(it);
  t.notOk(isParked(it.attempt()));
});

t.test("while a launcher sees another cluster, it parks nothing", async (t) => {
  const it = await unsure(t);
  heard(it.parts, it.cluster, { kind: "answered", uid: "another", deleting: false });
  await releasing(it);
  t.notOk(isParked(it.attempt()));
});

t.test("the Job of a run that was given up is deleted, and let go when its pods have finished", async (t) => {
  const it = await abandoned(t, { startsAfterMs: 0, onStop: { kind: "ends", afterMs: 20_000 } });
  t.equal(it.pocket.pods(NAMESPACE).length, 1, "it runs");
  await releasing(it);
  t.equal(it.attempt().state, "done");
  t.notOk(
    it.pocket.pods(NAMESPACE).some(({ status }) => status.phase === "Running"),
    "a restart may begin now",
  );
  await it.clock.sleep(60_000);
  t.equal(it.job(), undefined);
  t.same(it.pocket.pods(NAMESPACE), []);
});

const troubles: readonly { readonly name: string; readonly trouble: Trouble; readonly told?: number }[] = [
  { name: "refused for want of a right", trouble: { kind: "status", status: 403 }, told: 403 },
  { name: "put off by a cluster that has too much to do", trouble: { kind: "status", status: 429 }, told: 429 },
  { name: "answered with an error", trouble: { kind: "status", status: 500 }, told: 500 },
  { name: "never sent", trouble: { kind: "unsent" } },
  { name: "swallowed on its way", trouble: { kind: "lost before writing" } },
  { name: "done, and its answer lost", trouble: { kind: "lost after writing" } },
];

for (const { name, trouble, told } of troubles) {
  t.test(`the deletion of a Job that was given up is tried again if it was ${name}`, async (t) => {
    const it = await abandoned(t);
    it.pocket.cause({ on: "delete", times: 1, trouble });
    await releasing(it, 5 * 60_000);
    t.equal(it.attempt().state, "done");
    await it.clock.sleep(60_000);
    t.equal(it.job(), undefined);
    t.same(it.pocket.pods(NAMESPACE), []);
    const said = it.said.filter(({ message }) => message.includes("refuses a write")).map(({ fields }) => fields["status"]);
    t.same(said, told === undefined ? [] : [told]);
  });
}

t.test("while deleting it is forbidden, a Job that was given up keeps its hold, and a person is told", async (t) => {
  const it = await abandoned(t);
  it.pocket.cause({ on: "delete", trouble: { kind: "status", status: 403 } });
  await releasing(it, FENCE_MS);
  t.equal(it.attempt().state, "ended");
  t.equal(it.events().at(-1), "run.lost", "the run waits for none of this");
  t.same(it.job()?.metadata.finalizers, [HOLD]);
  t.match(it.said[0], { message: /refuses a write/, fields: { group: GROUP, what: /deleting the Job/, status: 403 } });
  it.pocket.heal();
  await releasing(it);
  t.equal(it.attempt().state, "done");
  await it.clock.sleep(60_000);
  t.equal(it.job(), undefined);
});

t.test("releases nothing if another cluster answers now", async (t) => {
  const it = await succeeded(t);
  heard(it.parts, it.cluster, { kind: "answered", uid: "another", deleting: false });
  await releasing(it);
  t.equal(it.attempt().state, "ended");
});

t.test("the occupant keeps the name until no create can land any more, and then goes", async (t) => {
  const it = await occupied(t);
  await releasing(it, 5 * 60_000);
  t.equal(it.attempt().state, "ended");
  t.match(it.job(), { spec: { suspend: true }, metadata: { finalizers: [HOLD] } });
  await it.clock.sleep(FENCE_MS);
  await releasing(it);
  t.equal(it.attempt().state, "done");
  await it.clock.sleep(5_000);
  t.equal(it.job(), undefined);
});

t.test("if the occupant was taken away while a create may land, another one takes the name", async (t) => {
  const it = await occupied(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(FENCE_MS);
  await releasing(it);
  t.equal(it.attempt().state, "done");
});

import { RunId, StepName, Uid } from "@longshore/contract/ids.ts";
import { HOLD, LABELS } from "@longshore/domain/run/marks.ts";
import { isParked } from "@longshore/domain/run/record.ts";
import type { Trouble } from "@longshore/pocket/testing/faults.ts";
import type { PodScript } from "@longshore/pocket/testing/scripted.ts";
import t, { type Test } from "tap";
import { admit } from "../intake/admit.ts";
import { closeOne } from "./close.ts";
import { releaseOne } from "./release.ts";
import { sweepOne } from "./sweep.ts";
import { heard } from "../groups/views.ts";
import { claimed, commandOf, deliveryOf, GROUP, live, NAMESPACE, never, RUN, type Stage } from "../testing/stage.ts";

const FENCE_MS = 11 * 60_000;

async function releasing(it: Stage, forMs = 60_000): Promise<void> {
  for (const endMs = it.clock.now() + forMs; it.clock.now() < endMs && it.attempt().state === "ended"; ) {
    const work = await it.take("ended");
    if (work !== undefined) await releaseOne(it.parts, it.cluster, work, never);
    await it.clock.sleep(1_000);
  }
}

/** An attempt whose Job succeeded, as the ledger has recorded. */
async function succeeded(t: Test, runsMs = 1_000): Promise<Stage> {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs } });
  await it.clock.sleep(30_000);
  const uid = it.attempt().uid;
  if (uid === undefined) throw new TypeError("it has no UID");
  await it.record({ kind: "complete", evidence: { started: "yes", exitCode: 0 }, uid, rv: "99", group: GROUP });
  return it;
}

/** An attempt that was cancelled while a create was unanswered; our occupant has its name. */
async function occupied(t: Test): Promise<Stage> {
  const it = await claimed(t);
  await it.publish("run.cancel", { run: RUN });
  const work = await it.take("closing");
  if (work !== undefined) await closeOne(it.parts, it.cluster, work, never);
  return it;
}

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

const name = (it: Stage) => ({ namespace: NAMESPACE, name: it.attempt().name });

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

t.test("a surplus Job is deleted with its pods, though its hold waits for the fence", async (t) => {
  const it = await occupied(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(10_000);
  const uid = await it.create();
  await it.record({ kind: "started", evidence: { started: "yes" }, uid, rv: "9", group: GROUP });
  await sweeping(it, 60_000);
  t.ok(it.job()?.metadata.deletionTimestamp);
  t.same(it.pocket.pods(NAMESPACE), []);
  t.same(it.job()?.metadata.finalizers, [HOLD], "while a create may land");
  await it.clock.sleep(FENCE_MS);
  await sweeping(it, 60_000);
  t.equal(it.job(), undefined);
  t.equal(it.model.tables.strays.size, 0);
});

// ── The pods that a program made itself ──────────────────────────────────────────────────────────────────────────────

const parent = { parent: StepName.parse("main"), of: RUN };

/** Makes a pod as a program does that has a token and `run.childLabels`. */
async function makePod(it: Stage, name: string, { parent: step, of } = parent): Promise<void> {
  const body = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels: it.parts.keys.childLabels(of, step) },
    spec: { containers: [{ name: "main", image: "busybox" }], terminationGracePeriodSeconds: 5 },
  };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const { status } = await it.pocket.transport().send({ method: "POST", path, body }, never);
  if (status !== 201) throw new Error(`the pod was answered ${status}`);
}

const children = (it: Stage) => it.pocket.pods(NAMESPACE).filter(({ metadata }) => metadata.labels?.[LABELS.parent]);
const TOKEN = { serviceAccount: { name: "worker", token: true } };

/** A program with a token that failed, and left two pods behind of which one goes on for an hour. */
async function left(t: Test): Promise<Stage> {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs: 3_600_000 }, asks: TOKEN });
  const { uid } = it.attempt();
  if (uid === undefined) throw new TypeError("it has no UID");
  await makePod(it, "child-1");
  await makePod(it, "child-2");
  await it.clock.sleep(1_000);
  await it.record({ kind: "failed", evidence: { started: "yes", exitCode: 137 }, uid, rv: "99", group: GROUP });
  return it;
}

t.test("the pods that a killed program made go before its run ends, and nobody else's", async (t) => {
  const it = await left(t);
  await makePod(it, "of-another-step", { ...parent, parent: StepName.parse("other") });
  await makePod(it, "of-another-run", { ...parent, of: RunId.parse("orders/1") });
  t.notOk(it.events().includes("run.failed"), "while they are there");
  await releasing(it, 2_000);
  t.notOk(it.events().includes("run.failed"), "while they end");
  await releasing(it);
  t.equal(it.events().at(-1), "run.failed");
  t.same(
    children(it).map(({ metadata }) => metadata.name),
    ["of-another-run", "of-another-step"],
  );
  t.equal(it.attempt().state, "done");
});

t.test("a launcher that cannot list or delete them tries again, and the run does not end before", async (t) => {
  const it = await left(t);
  for (const on of ["list", "delete"] as const)
    it.pocket.cause({ on, resource: "pods", trouble: { kind: "status", status: 403 } });
  await releasing(it);
  it.pocket.heal();
  it.pocket.cause({ on: "delete", resource: "pods", trouble: { kind: "status", status: 403 } });
  await releasing(it);
  t.match(it.said[0], { message: /refuses a write/, fields: { what: "deleting the pod child-1" } });
  t.equal(children(it).length, 2);
  t.notOk(it.events().includes("run.failed"));
  it.pocket.heal();
  await releasing(it);
  t.equal(it.events().at(-1), "run.failed");
});

t.test("a program that runs on after its run was given up ends before the pods that it made: it could make more", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, onStop: { kind: "ends", afterMs: 10_000 } }, asks: TOKEN });
  await it.clock.sleep(1_000);
  await admit(it.parts)({ ...deliveryOf(commandOf("run.abandon", { run: RUN })), user: "ops" });
  await releasing(it, 3_000);
  await makePod(it, "child-1");
  await releasing(it, 5_000);
  t.match(children(it), [{ metadata: { deletionTimestamp: undefined } }], "while the program runs");
  await releasing(it);
  t.same(it.pocket.pods(NAMESPACE), []);
  t.equal(it.attempt().state, "done");
});

t.test("a pod that does not go, since its node is lost, is named", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, onStop: { kind: "stuck" } }, asks: TOKEN });
  const { uid = Uid.parse("none") } = it.attempt();
  await makePod(it, "child-1");
  await it.clock.sleep(1_000);
  await it.record({ kind: "complete", evidence: { started: "yes", exitCode: 0 }, uid, rv: "99", group: GROUP });
  await releasing(it, 300_000);
  t.match(it.said[0], { message: /do not go/, fields: { run: RUN, step: "main", pods: ["child-1"] } });
  t.notOk(it.events().includes("run.succeeded"));
});

t.test("a program without a token costs no listing of pods", async (t) => {
  const it = await succeeded(t);
  await releasing(it);
  const listed = it.pocket.requests().filter(({ path }) => path.includes(encodeURIComponent(LABELS.parent)));
  t.same(listed, []);
});

/** An attempt whose Job was done and is gone. Another Job got its name, and was deleted without its pod. */
async function orphaned(t: Test): Promise<Stage> {
  const it = await succeeded(t, 25_000);
  await releasing(it);
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(10_000);
  const uid = await it.create();
  await it.clock.sleep(100);
  await it.record({ kind: "started", evidence: { started: "yes" }, uid, rv: "9", group: GROUP });
  it.pocket.meddle({ kind: "delete Job", propagation: "Orphan", ...name(it) });
  return it;
}

t.test("orphaned pods of a surplus Job that it may not delete are told of, and the Job is not let go", async (t) => {
  const it = await orphaned(t);
  it.pocket.cause({ on: "delete", resource: "pods", trouble: { kind: "status", status: 403 } });
  await sweeping(it, 10_000);
  t.match(it.said[0], { message: /refuses a write/, fields: { group: GROUP, what: /deleting the pod/, status: 403 } });
  t.ok(it.job()?.metadata.finalizers?.includes(HOLD));
  t.equal(it.pocket.pods(NAMESPACE).length, 1, "it runs");
  it.pocket.heal();
  await sweeping(it, 5_000);
  t.same(it.pocket.pods(NAMESPACE), []);
  t.equal(it.job(), undefined);
});

t.test("orphaned pods of a surplus Job are deleted, too", async (t) => {
  const it = await orphaned(t);
  await sweeping(it, 60_000);
  t.same(it.pocket.pods(NAMESPACE), []);
  t.equal(it.job(), undefined);
  t.equal(it.model.tables.strays.size, 0);
});

t.test("a surplus Job that is another one by now is not touched", async (t) => {
  const it = await succeeded(t);
  await it.parts.ledger.addStray({ run: RUN, kind: "stray", group: GROUP, name: it.attempt().name, uid: Uid.parse("uid-gone") });
  await sweeping(it, 10_000);
  t.equal(it.model.tables.strays.size, 0);
  t.equal(it.job()?.metadata.deletionTimestamp, undefined);
});

async function sweeping(it: Stage, forMs: number): Promise<void> {
  for (const endMs = it.clock.now() + forMs; it.clock.now() < endMs && it.model.tables.strays.size > 0; ) {
    const strays = await it.parts.ledger.takeStrays({ group: GROUP, most: 10, leaseMs: 2_000 });
    await Promise.all(strays.map((stray) => sweepOne(it.parts, it.cluster, stray, never)));
    await it.clock.sleep(1_000);
  }
}

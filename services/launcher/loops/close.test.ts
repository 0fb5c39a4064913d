import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { Uid } from "@longshore/contract/ids.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import type { PodScript } from "@longshore/pocket/testing/scripted.ts";
import t, { type Test } from "tap";
import { close, closeOne } from "./close.ts";
import { probeOne } from "../groups/probe.ts";
import { claimed, GROUP, live, NAMESPACE, never, RUN, type Stage, type Staging } from "../testing/stage.ts";

const STUBBORN: PodScript = { onStop: { kind: "ends", afterMs: 20_000, exitCode: 143 } };
const FENCE_MS = 11 * 60_000;

/** Closes as the loop does: looks at the attempt whenever it is due, until it is closed or the time has passed. */
async function closing(it: Stage, forMs = 60_000): Promise<void> {
  for (const endMs = it.clock.now() + forMs; it.clock.now() < endMs && it.attempt().state === "closing"; ) {
    const work = await it.take("closing");
    if (work !== undefined) await closeOne(it.parts, it.cluster, work, never);
    await it.clock.sleep(500);
  }
}

/** An attempt that was live, with its pod running, and was then cancelled. */
async function cancelledLive(t: Test, staging: Staging = {}): Promise<Stage> {
  const it = await live(t, staging);
  await it.clock.sleep(10_000);
  await it.publish("run.cancel", { run: RUN });
  return it;
}

/** An attempt that was cancelled while its create was unanswered. */
async function cancelledUnborn(t: Test): Promise<Stage> {
  const it = await claimed(t);
  await it.publish("run.cancel", { run: RUN });
  return it;
}

const name = (it: Stage) => ({ namespace: NAMESPACE, name: it.attempt().name });

t.test("deletes the Job, and says cancelled only when its pod is gone", async (t) => {
  const it = await cancelledLive(t, { pods: STUBBORN });
  await closing(it, 10_000);
  t.equal(it.attempt().state, "closing");
  t.ok(it.job()?.metadata.deletionTimestamp, "it was deleted");
  t.equal(it.events().at(-1), "run.cancelling");
  await closing(it);
  t.match(it.attempt(), { state: "ended", outcome: { result: "cancelled" } });
  t.equal(it.events().at(-1), "run.cancelled");
  t.same(it.job()?.metadata.finalizers, [HOLD], "the hold stays until the outcome is released");
});

t.test("a Job that was complete before our deletion succeeded", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 0, runsMs: 1_000 } });
  await it.clock.sleep(30_000);
  await it.publish("run.cancel", { run: RUN });
  await closing(it);
  t.match(it.attempt(), { outcome: { result: "succeeded" } });
});

t.test("deletes in the foreground what somebody deleted in the background, and ends when the pods are gone", async (t) => {
  const it = await cancelledLive(t, { pods: STUBBORN });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await closing(it, 10_000);
  t.equal(it.attempt().state, "closing", "while its pod runs");
  await closing(it);
  t.match(it.attempt(), { outcome: { result: "cancelled" } });
  t.same(it.pocket.pods(NAMESPACE), []);
});

t.test("deletes pods that were orphaned, by the UID of the Job that made them", async (t) => {
  const it = await cancelledLive(t);
  it.pocket.meddle({ kind: "delete Job", propagation: "Orphan", ...name(it) });
  await it.clock.sleep(1_000);
  t.equal(it.pocket.pods(NAMESPACE).length, 1, "it runs on");
  await closing(it);
  t.match(it.attempt(), { outcome: { result: "cancelled" } });
  t.same(it.pocket.pods(NAMESPACE), []);
});

t.test("a cancelled run whose create is still on the wire: the name is taken, so that nothing of it can start", async (t) => {
  const it = await cancelledUnborn(t);
  await closing(it);
  t.match(it.attempt(), { state: "ended", outcome: { result: "cancelled" }, occupantUid: it.job()?.metadata.uid });
  t.match(it.job(), { spec: { suspend: true } });
  await t.rejects(it.create(), /409/, "the late create meets our occupant");
});

t.test("a late create that landed before the occupant is deleted, not adopted to run on", async (t) => {
  const it = await cancelledUnborn(t);
  const uid = await it.create();
  await closing(it);
  t.match(it.attempt(), { uid, outcome: { result: "cancelled" } });
  t.same(it.pocket.pods(NAMESPACE), []);
});

t.test("a late fact tells the UID of a Job that was gone before our occupant came: it ends all the same", async (t) => {
  const it = await cancelledUnborn(t);
  const uid = await it.create();
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(60_000);
  const work = await it.take("closing");
  t.ok(work);
  // The launcher creates the occupant, and dies before that is recorded.
  const parts = { ...it.parts, recording: async () => ({ kind: "unknown" }) as const };
  if (work !== undefined) await closeOne(parts, it.cluster, work, never);
  t.match(it.job(), { spec: { suspend: true } });
  await it.record({ kind: "started", evidence: { started: "yes" }, uid, rv: "9", group: GROUP });
  await closing(it);
  t.match(it.attempt(), { state: "ended", outcome: { result: "cancelled" } });
});

t.test("its Job is provably no more: the end is told although nobody saw it", async (t) => {
  const it = await cancelledLive(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete Job", propagation: "Background", ...name(it) });
  await it.clock.sleep(60_000);
  await closing(it);
  t.match(it.attempt(), { state: "ended", outcome: { result: "cancelled" } });
});

t.test("nothing is concluded from a namespace that is another one", async (t) => {
  const it = await cancelledLive(t);
  it.pocket.meddle({ kind: "strip finalizers", ...name(it) });
  it.pocket.meddle({ kind: "delete namespace", name: NAMESPACE });
  await it.clock.sleep(60_000);
  it.pocket.meddle({ kind: "create namespace", name: NAMESPACE });
  await closing(it, FENCE_MS);
  t.equal(it.attempt().state, "closing");
});

t.test("nor from a group whose namespace this launcher does not know: its own Job would look like a stranger's", async (t) => {
  const it = await cancelledUnborn(t);
  await it.create();
  it.parts.views.delete(GROUP);
  await it.clock.sleep(FENCE_MS);
  await closing(it);
  t.equal(it.attempt().state, "closing");
});

t.test("a foreign Job under the name is never touched", async (t) => {
  const it = await cancelledUnborn(t);
  const uid = await it.create({ proof: "somebody else's" });
  await closing(it);
  t.equal(it.attempt().state, "closing", "our create may still land when it goes");
  await it.clock.sleep(FENCE_MS);
  await closing(it);
  t.match(it.attempt(), { outcome: { result: "cancelled" } });
  t.match(it.job()?.metadata, { uid, deletionTimestamp: undefined });
});

for (const { name, status } of [
  { name: "a deletion that is forbidden is tried again, and a person is told", status: 403 as const },
  { name: "one that the cluster has no time for is tried again, and a person is told", status: 429 as const },
]) {
  t.test(name, async (t) => {
    const it = await cancelledLive(t);
    it.pocket.cause({ on: "delete", times: 3, trouble: { kind: "status", status } });
    await closing(it, 3 * 60_000);
    t.match(it.attempt(), { outcome: { result: "cancelled" } });
    t.match(it.said[0], { message: /refuses a write/, fields: { group: GROUP, status } });
  });
}

t.test("orphaned pods that it may not delete are told of, and the run is not said to be cancelled while they run", async (t) => {
  const it = await cancelledLive(t);
  it.pocket.cause({ on: "delete", resource: "pods", trouble: { kind: "status", status: 403 } });
  it.pocket.meddle({ kind: "delete Job", propagation: "Orphan", ...name(it) });
  await closing(it);
  t.equal(it.attempt().state, "closing");
  t.match(it.said[0], { message: /refuses a write/, fields: { group: GROUP, what: /deleting the pod/, status: 403 } });
  it.pocket.heal();
  await closing(it);
  t.match(it.attempt(), { outcome: { result: "cancelled" } });
});

t.test("a pod that starts between the look and the deletion is not deleted: it goes on", async (t) => {
  const it = await live(t, { pods: { startsAfterMs: 20_000, runsMs: 60_000 } });
  await it.clock.sleep(10_000);
  await it.record({ kind: "startExpired", diagnosis: diagnose("StartExpired", "Its pod did not start in time.") });
  t.equal(it.attempt().state, "closing");
  const { writes } = it.cluster;
  const deletePod: typeof writes.deletePod = async (...pod) => {
    await it.clock.sleep(20_000); // as on a busy machine: the pod starts meanwhile
    return await writes.deletePod(...pod);
  };
  const work = await it.take("closing");
  if (work !== undefined) await closeOne(it.parts, { ...it.cluster, writes: { ...writes, deletePod } }, work, never);
  t.equal(it.attempt().state, "live");
  t.equal(it.job()?.metadata.deletionTimestamp, undefined);
});

t.test("if the end of a pod that never started was not seen here, the watcher's word is waited for", async (t) => {
  const it = await live(t, { pods: { waits: { reason: "ImagePullBackOff" } } });
  await it.clock.sleep(10_000);
  await it.record({ kind: "startExpired", diagnosis: diagnose("ImageNotFound", "The registry has no such image.") });
  const closed = closing(it, 5_000);
  await it.clock.sleep(1_000);
  t.equal(it.pocket.pods().length, 0, "its pod is gone");
  t.equal(it.attempt().state, "closing");
  const { uid, resourceVersion: rv } = it.job()?.metadata ?? {};
  await it.record({ kind: "failed", evidence: { started: "no" }, uid: Uid.parse(uid), rv: rv ?? "", group: GROUP });
  await closed;
  t.equal(it.attempt().outcome?.result, "failed");
  t.equal(it.attempt().started, "no");
});

t.test("while the cluster says nothing, nothing is concluded", async (t) => {
  const it = await cancelledLive(t);
  it.pocket.cause({ on: "any", trouble: { kind: "lost before writing" } });
  await closing(it, 5 * 60_000);
  t.equal(it.attempt().state, "closing");
  it.pocket.heal();
  await closing(it, 5 * 60_000);
  t.match(it.attempt(), { outcome: { result: "cancelled" } });
});

t.test("in a cluster that cannot be reached it is looked for now and then, not every two seconds", async (t) => {
  const it = await cancelledLive(t);
  it.pocket.cause({ on: "any", trouble: { kind: "unsent" } });
  await probeOne(it.parts, it.cluster, never);
  let taken = 0;
  const take: typeof it.parts.ledger.take = async (asked) => {
    const works = await it.parts.ledger.take(asked);
    taken += works.length;
    return works;
  };
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const closing = close({ ...it.parts, ledger: { ...it.parts.ledger, take } }, it.cluster)(stop.signal);
  await it.clock.sleep(60_000);
  t.ok(taken > 1 && taken <= 5, `${taken} times in a minute`);
  it.pocket.heal();
  await probeOne(it.parts, it.cluster, never);
  await it.clock.sleep(30_000);
  stop.abort();
  await closing;
  t.match(it.attempt(), { state: "ended", outcome: { result: "cancelled" } });
});

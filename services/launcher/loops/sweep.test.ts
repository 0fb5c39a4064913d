/** Surplus Jobs, and the pods that they leave behind. */
import { Uid } from "@longshore/contract/ids.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import t, { type Test } from "tap";
import { FENCE_MS, name, occupied, releasing, succeeded, sweeping } from "../testing/ended.ts";
import { GROUP, NAMESPACE, RUN, type Stage } from "../testing/stage.ts";

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

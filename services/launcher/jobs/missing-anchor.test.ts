/** Somebody deletes a run's anchor: the run says so, and a restart finds no volumes. */
import { Uid } from "@longshore/contract/ids.ts";
import t, { type Test } from "tap";
import { closeOne } from "../loops/close.ts";
import { tallyOnce } from "../loops/tally.ts";
import { anchorOf, type Claimed, create, end, objects, release, sweepAll, withVolumes } from "../testing/anchored.ts";
import { GROUP, NAMESPACE, never, RUN } from "../testing/stage.ts";

const remove = async (it: Claimed, path: string): Promise<void> => {
  const { status } = await it.pocket
    .transport()
    .send({ method: "DELETE", path, body: { propagationPolicy: "Background" } }, never);
  if (status !== 200) throw new Error(`the deletion was answered ${status}`);
};
const removeAnchor = (it: Claimed): Promise<void> =>
  remove(it, `/api/v1/namespaces/${NAMESPACE}/configmaps/${objects(it).anchors[0]?.metadata.name}`);
const lastNotice = (it: Claimed) => [...it.model.tables.notices.values()].at(-1)?.notice.data;

/** A run whose program runs, and that may be tried again if its Job is deleted. */
async function running(t: Test): Promise<Claimed> {
  const it = await withVolumes(
    t,
    { pods: { startsAfterMs: 10, runsMs: 3_600_000 } },
    { retries: { max: 3, on: ["infrastructure"] } },
  );
  await create(it);
  await it.clock.sleep(5_000);
  return it;
}

/** What the watcher tells of a deleted Job, and what the launcher then does until the attempt has ended. */
async function closed(it: Claimed): Promise<void> {
  await it.clock.sleep(5_000);
  await it.record({ kind: "deleting", group: GROUP, rv: "99", uid: Uid.parse(it.attempt().uid) });
  for (let turn = 0; turn < 60 && it.attempt().state === "closing"; turn++) {
    const work = await it.take("closing");
    if (work !== undefined) await closeOne(it.parts, it.cluster, work, never);
    await it.clock.sleep(2_000);
  }
}

t.test("a run whose anchor somebody deleted says so, is not tried again, and keeps nothing", async (t) => {
  const it = await running(t);
  await removeAnchor(it);
  await closed(it);
  const diagnosis = {
    code: "DeletedExternally",
    sentence: /Somebody deleted the ConfigMap .* owned the run's volumes/,
    hint: /--from start/,
  };
  t.match(it.model.tables.runs.get(RUN)?.record.run, { state: "ended", outcome: "failed" });
  t.match(it.attempt().outcome, { result: "deleted", diagnosis });
  t.equal(anchorOf(it)?.state, "sweeping");
  await release(it);
  await sweepAll(it);
  t.equal(anchorOf(it)?.state, "gone");
  await it.publish("run.restart", { run: RUN, from: "failed" });
  t.match(lastNotice(it), { problems: [{ code: "VolumesGone" }] });
  await it.publish("run.restart", { run: RUN, from: "start" });
  await it.place();
  t.match(anchorOf(it), { number: 2, state: "making" });
});

t.test("a run of which somebody deleted only the Job keeps its volumes, and is tried again", async (t) => {
  const it = await running(t);
  await remove(it, `/apis/batch/v1/namespaces/${NAMESPACE}/jobs/${it.attempt().name}`);
  await closed(it);
  t.match(it.model.tables.runs.get(RUN)?.record.attempts[0]?.outcome, { diagnosis: { sentence: "Somebody deleted the Job" } });
  t.match(it.model.tables.runs.get(RUN)?.record.attempts.length, 2);
  t.equal(anchorOf(it)?.state, "standing");
});

t.test("another cluster behind the same address shows no anchor gone", async (t) => {
  const it = await running(t);
  const { reads } = it.cluster;
  const elsewhere: typeof reads.getNamespace = async (signal) => {
    const got = await reads.getNamespace(signal);
    return got.kind === "found" ? { ...got, object: { ...got.object, uid: "uid-of-another" } } : got;
  };
  const away = { ...it, cluster: { ...it.cluster, reads: { ...reads, getNamespace: elsewhere } } };
  await removeAnchor(it);
  await closed(away);
  t.notOk(it.attempt().notes.anchorGone);
});

t.test("the tally sees that somebody deleted what an ended run keeps", async (t) => {
  const it = await withVolumes(t);
  await create(it);
  await end(it, "failed");
  await release(it);
  await tallyOnce(it.parts, it.cluster, never);
  t.equal(anchorOf(it)?.state, "kept");
  await removeAnchor(it);
  await it.clock.sleep(5_000);
  await tallyOnce(it.parts, it.cluster, never);
  t.equal(anchorOf(it)?.state, "sweeping");
  await sweepAll(it);
  await it.publish("run.restart", { run: RUN, from: "failed" });
  t.match(lastNotice(it), { problems: [{ code: "VolumesGone" }] });
});

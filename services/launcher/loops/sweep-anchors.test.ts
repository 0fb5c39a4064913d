/** What an ended run gives up: its anchor, and with it volumes and Jobs. Nothing of a neighbour's, and nothing too early. */
import type { CommandData } from "@longshore/contract/messages/command.ts";
import { Installation, RunId, Uid } from "@longshore/contract/ids.ts";
import { LABELS, MANAGED_BY } from "@longshore/domain/run/marks.ts";
import t, { type Test } from "tap";
import { createUnderAnchor } from "../jobs/anchor.ts";
import {
  ABANDONED,
  anchorOf,
  type Claimed,
  counts,
  create,
  end,
  makePod,
  objects,
  release,
  REQUEST,
  sweepAll,
  TOKEN,
  withVolumes,
} from "../testing/anchored.ts";
import { GROUP, NAMESPACE, never, RUN, stage } from "../testing/stage.ts";
import { sweepAnchors } from "./sweep.ts";

t.test("a run that succeeded gives up its volumes, but not before its last attempt is done", async (t) => {
  const it = await withVolumes(t);
  await create(it);
  await end(it, "complete");
  t.equal(anchorOf(it)?.state, "sweeping");
  await sweepAll(it);
  t.same(counts(it), { anchors: 1, claims: 2, jobs: 1 }, "the Job's hold is still on");
  await release(it);
  await sweepAll(it);
  t.same(counts(it), { anchors: 0, claims: 0, jobs: 0 });
  t.equal(anchorOf(it)?.state, "gone");
});

t.test("facts that come before the create's answer keep nothing: no create of the anchor is under way then", async (t) => {
  const it = await withVolumes(t);
  const answer = await createUnderAnchor(it.parts, it.cluster, it.work, never);
  const uid = it.pocket.jobs(NAMESPACE)[0]?.metadata.uid;
  await it.clock.sleep(5_000);
  await it.record({ kind: "complete", group: GROUP, rv: "9", uid: Uid.parse(uid), evidence: { started: "yes" } });
  await it.parts.recording({ run: RUN, step: it.work.attempt.step, n: 1, ...answer });
  await release(it);
  await sweepAll(it);
  t.equal(anchorOf(it)?.state, "gone");
});

t.test("one listing tells that the volumes of all runs are gone which ended together", async (t) => {
  const it = await stage(t);
  const { reads } = it.cluster;
  const asked: string[] = [];
  const cluster = {
    ...it.cluster,
    reads: { ...reads, claimsWith: (selector: string, signal: AbortSignal) => (asked.push(selector), reads.claimsWith(selector, signal)) },
  }; // biome-ignore format: one line each
  const runs = ["one", "two", "three"];
  for (const run of runs) {
    await it.publish("run.requested", { ...REQUEST, run } as unknown as CommandData<"run.requested">);
    await it.place();
  }
  for (const run of runs) await it.publish("run.cancel", { run: RunId.parse(run) });
  for (let round = 0; round < 2; round++) {
    await it.clock.sleep(2_000);
    await sweepAnchors(it.parts, cluster, await it.parts.ledger.takeAnchors({ group: GROUP, most: 9, leaseMs: 2_000 }), never);
  }
  const states = runs.map((run) => it.model.tables.runs.get(RunId.parse(run))?.record.anchors?.at(-1)?.state);
  t.same(states, ["gone", "gone", "gone"]);
  t.equal(asked.length, 1);
});

t.test("a neighbour's run of the same id, with volumes of its own, is not taken for this run", async (t) => {
  const it = await withVolumes(t);
  const [hash, ofNeighbour] = [it.parts.keys.runLabel(RUN), Installation.parse("neighbour")];
  const labels = { [LABELS.installation]: ofNeighbour, [LABELS.managedBy]: MANAGED_BY, [LABELS.run]: hash, [LABELS.anchor]: "1" };
  const path = `/api/v1/namespaces/${NAMESPACE}/persistentvolumeclaims`;
  await it.pocket.transport().send({ method: "POST", path, body: { metadata: { name: "neighbour", labels }, spec: {} } }, never);
  await create(it);
  await end(it, "complete");
  await release(it);
  await sweepAll(it);
  t.equal(anchorOf(it)?.state, "gone");
  t.same(counts(it), { anchors: 0, claims: 1, jobs: 0 });
});

/** A run that succeeded, whose volumes may go. */
async function over(t: Test): Promise<Claimed> {
  const it = await withVolumes(t);
  await create(it);
  await end(it, "complete");
  await release(it);
  return it;
}

t.test("another cluster behind the same address shows no volumes gone", async (t) => {
  const it = await over(t);
  const { reads } = it.cluster;
  const nothing = {
    ...reads,
    getNamespace: async (signal: AbortSignal) => {
      const got = await reads.getNamespace(signal);
      return got.kind === "found" ? { ...got, object: { ...got.object, uid: "uid-of-another" } } : got;
    },
    getAnchor: async () => ({ kind: "missing" as const }),
    claimsWith: async () => ({ kind: "listed" as const, items: [] }),
  };
  await sweepAll({ ...it, cluster: { ...it.cluster, reads: nothing } });
  t.equal(anchorOf(it)?.state, "sweeping");
});

t.test("a pod of somebody else that holds a volume is named", async (t) => {
  const it = await over(t);
  const claimName = objects(it).claims[0]?.metadata.name;
  const volumes = [{ name: "files", persistentVolumeClaim: { claimName } }];
  const spec = { containers: [{ name: "shell", image: "busybox" }], volumes };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  await it.pocket.transport().send({ method: "POST", path, body: { metadata: { name: "of-a-person" }, spec } }, never);
  await it.clock.sleep(5_000);
  await sweepAll(it);
  await it.clock.sleep(60_000);
  await sweepAll(it);
  t.equal(anchorOf(it)?.state, "sweeping");
  t.match(it.said, [{ message: /do not go; the pods named mount them/, fields: { claims: [claimName], pods: ["of-a-person"] } }]);
});

t.test("while Kubernetes removes the volumes, their anchor is not looked for again", async (t) => {
  const it = await over(t);
  await makePod(it, "of-a-person");
  const { reads } = it.cluster;
  let looks = 0;
  const getAnchor: typeof reads.getAnchor = (...of) => (looks++, reads.getAnchor(...of));
  const cluster = { ...it.cluster, reads: { ...reads, getAnchor } };
  await sweepAll({ ...it, cluster });
  t.same(counts(it), { anchors: 0, claims: 1, jobs: 0 });
  t.equal(looks, 1);
  await it.clock.sleep(60_000);
  await sweepAll({ ...it, cluster });
  t.ok(looks > 1, "it is, once they take too long");
});

t.test("a missing permission to look at an anchor, or for volumes, is told", async (t) => {
  for (const { on, resource } of [
    { on: "get", resource: "configmaps" },
    { on: "list", resource: "persistentvolumeclaims" },
  ] as const) {
    const it = await over(t);
    it.pocket.cause({ on, resource, trouble: { kind: "status", status: 403 } });
    await sweepAll(it);
    t.equal(anchorOf(it)?.state, "sweeping");
    t.match(it.said[0], { message: "a cluster refuses a read, which is tried again", fields: { status: 403 } }, resource);
  }
});

t.test("volumes in a namespace that a person gave up are told and counted no more", async (t) => {
  const it = await over(t);
  const elsewhere = { ...it, cluster: { ...it.cluster, namespace: "new" } };
  it.parts.views.set(GROUP, { state: "barred", namespaceUid: "uid-of-new", diagnosis: ABANDONED });
  await sweepAll(elsewhere);
  t.equal(anchorOf(it)?.state, "sweeping", "a namespace that is not there may be a mistake in the file");
  it.parts.views.set(GROUP, { state: "healthy", namespaceUid: "uid-of-new" });
  await sweepAll(elsewhere);
  t.equal(anchorOf(it)?.state, "gone");
  t.match(it.said, [{ message: /nobody deletes them there/, fields: { run: RUN, namespace: NAMESPACE } }]);
});

t.test("while a create of the anchor may land, its absence shows nothing", async (t) => {
  const it = await withVolumes(t, {
    faults: [{ on: "create", resource: "configmaps", trouble: { kind: "delayed", byMs: 300_000 } }],
  });
  const creating = create(it);
  await it.parts.recording({ run: RUN, step: it.work.attempt.step, n: 1, input: { kind: "abandon", diagnosis: it.work.attempt.notes.stall ?? ABANDONED } }); // biome-ignore format: one line
  await creating;
  const begunAtMs = await it.parts.ledger.now();
  await it.parts.ledger.recordAnchors([{ run: RUN, number: 1, input: { kind: "gone", begunAtMs } }]);
  t.not(anchorOf(it)?.state, "gone");
});

t.test("a pod whose create landed after its step had ended does not keep the run's volumes", async (t) => {
  const it = await withVolumes(t, {}, TOKEN);
  await create(it);
  await it.clock.sleep(5_000);
  await it.record({ kind: "abandon", diagnosis: ABANDONED });
  await it.record({ kind: "children", found: "none" });
  await makePod(it, "late", it.parts.keys.childLabels(RUN, it.attempt().step));
  await makePod(it, "somebody-elses");
  await it.publish("run.free", { run: RUN });
  const sweep = async (): Promise<void> => {
    const anchor = anchorOf(it);
    const nowMs = await it.parts.ledger.now();
    if (anchor !== undefined) await sweepAnchors(it.parts, it.cluster, [{ run: RUN, anchor, isClear: true, nowMs }], never);
  };
  await sweep();
  await it.clock.sleep(90_000);
  await sweep();
  t.match(it.said.at(-1), { message: /do not go/, fields: { pods: [/^late$/, /./, /^somebody-elses$/] } });
  await it.clock.sleep(60_000);
  const left = it.pocket.pods(NAMESPACE).map(({ metadata }) => metadata.name);
  t.ok(left.includes("somebody-elses") && !left.includes("late"), String(left));
});

/** A restart of a run with volumes: which it finds again, which it may not have yet, and when it gets new ones. */
import type { Work } from "@longshore/ledger/port.ts";
import t from "tap";
import {
  ABANDONED,
  anchorOf,
  BY_PARAMETERS,
  counts,
  create,
  end,
  makePod,
  objects,
  release,
  sizes,
  sweepAll,
  TOKEN,
  withVolumes,
} from "../testing/anchored.ts";
import { NAMESPACE, never, RUN } from "../testing/stage.ts";
import { createUnderAnchor } from "./anchor.ts";

t.test("a run that failed keeps its volumes for a day, and a restart finds the same ones", async (t) => {
  const it = await withVolumes(t);
  await create(it);
  const { claims } = objects(it);
  await end(it, "failed");
  await release(it);
  t.equal(anchorOf(it)?.state, "kept");
  await sweepAll(it);
  t.same(counts(it), { anchors: 1, claims: 2, jobs: 1 });
  await it.publish("run.restart", { run: RUN, from: "failed" });
  t.match(anchorOf(it), { number: 1, state: "standing" });
  await it.place();
  await create(it, await it.claim());
  t.same(objects(it).claims.map(({ metadata }) => metadata.uid), claims.map(({ metadata }) => metadata.uid)); // biome-ignore format: one line
  t.equal(it.pocket.jobs(NAMESPACE).length, 2);
});

t.test(
  "what a failed run keeps goes when its time is over, or when somebody frees it, and then no restart finds it",
  async (t) => {
    for (const how of ["time", "free"] as const) {
      const it = await withVolumes(t);
      await create(it);
      await end(it, "failed");
      await release(it);
      if (how === "free") await it.publish("run.free", { run: RUN });
      else await it.clock.sleep(24 * 3_600_000);
      await sweepAll(it);
      t.same(counts(it), { anchors: 0, claims: 0, jobs: 0 }, how);
      await it.publish("run.restart", { run: RUN, from: "failed" });
      t.match([...it.model.tables.notices.values()].at(-1)?.notice.data, { problems: [{ code: "VolumesGone" }] });
      await it.publish("run.restart", { run: RUN, from: "start" });
      await it.place();
      t.match(anchorOf(it), { number: 2, state: "making" }, "from the start it gets new ones, under a new name");
    }
  },
);

t.test("a restart finds its volumes only with the size that they have, and from the start makes others", async (t) => {
  const it = await withVolumes(t, {}, BY_PARAMETERS);
  await create(it);
  await end(it, "failed");
  await release(it);
  const larger = { with: { parameters: { gib: 9 } } };
  await it.publish("run.restart", { run: RUN, from: "failed", ...larger });
  const problems = [{ path: "/data/with/parameters", code: "RequestInvalid", message: /"data" has 5Gi .* would have 10Gi/ }];
  t.match([...it.model.tables.notices.values()].at(-1)?.notice.data, { problems });
  t.match(anchorOf(it), { number: 1, state: "kept", bytes: 7 * 2 ** 30 });

  await it.publish("run.restart", { run: RUN, from: "start", ...larger });
  await sweepAll(it);
  await it.place();
  t.match(anchorOf(it), { number: 2, state: "making", bytes: 12 * 2 ** 30 });
  await create(it, await it.claim());
  t.same(sizes(it), [["data", "10Gi", "slow"], ["more", "2Gi", undefined]]); // biome-ignore format: one line
});

t.test("a run that is not over is not freed", async (t) => {
  const it = await withVolumes(t);
  await it.publish("run.free", { run: RUN });
  t.match([...it.model.tables.notices.values()].at(-1)?.notice.data, { problems: [{ code: "NotEnded" }] });
});

t.test("a run that never got all its volumes can be restarted where it failed", async (t) => {
  const it = await withVolumes(t, {
    faults: [{ on: "create", resource: "persistentvolumeclaims", trouble: { kind: "status", status: 403 } }],
  });
  await create(it);
  t.match(it.model.tables.runs.get(RUN)?.record.run, { state: "ended", outcome: "failed" });
  it.pocket.heal();
  await it.publish("run.restart", { run: RUN, from: "failed" });
  await it.place();
  t.match(anchorOf(it), { number: 2, state: "making" });
  t.match(await create(it, await it.claim()), { input: { kind: "created" } });
});

t.test("a pod of an earlier generation that has not ended keeps the next one waiting", async (t) => {
  const it = await withVolumes(t, { pods: { startsAfterMs: 10, onStop: { kind: "stuck" } } });
  await create(it);
  await it.clock.sleep(5_000);
  await it.record({ kind: "abandon", diagnosis: ABANDONED });
  t.match(anchorOf(it)?.state, "kept");
  await it.parts.ledger.recordAnchors([]);
  await it.publish("run.restart", { run: RUN, from: "failed" });
  const work = { ...it.work, anchor: anchorOf(it), attempt: { ...it.work.attempt, generation: 2, claimNo: 9 } } as Work;
  t.match(await createUnderAnchor(it.parts, it.cluster, work, never), {
    input: { kind: "deferred", diagnosis: { code: "VolumeInUse" } },
  });
});

t.test(
  "a restart of a run whose program could make pods waits for each that mounts its volumes, whatever its labels",
  async (t) => {
    const it = await withVolumes(t, { pods: { startsAfterMs: 10, runsMs: 30_000 } }, TOKEN);
    await create(it);
    await it.clock.sleep(20_000);
    await makePod(it, "unlabelled");
    await it.clock.sleep(20_000);
    await it.record({ kind: "abandon", diagnosis: ABANDONED });
    await it.record({ kind: "children", found: "none" });
    await it.publish("run.restart", { run: RUN, from: "failed" });
    const run = it.model.tables.runs.get(RUN)?.record.run;
    const work = { ...it.work, run, anchor: anchorOf(it), attempt: { ...it.work.attempt, generation: 2, claimNo: 9 } } as Work;
    const answer = await createUnderAnchor(it.parts, it.cluster, work, never);
    t.match(answer, {
      input: { kind: "deferred", diagnosis: { code: "VolumeInUse", sentence: "The pod unlabelled still uses" } },
    });
    await it.clock.sleep(20_000); // it has finished
    await makePod(it, "of-this-generation", it.parts.keys.childLabels(RUN, it.attempt().step));
    await it.clock.sleep(1_000);
    t.match(await createUnderAnchor(it.parts, it.cluster, work, never), { input: { kind: "created" } });
  },
);

/** The anchor, the volumes and the Job of a run's first claim, on a cluster that fails between them. */
import type { CommandData } from "@longshore/contract/messages/command.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { Installation, RunId, Uid } from "@longshore/contract/ids.ts";
import { LABELS, MANAGED_BY } from "@longshore/domain/run/marks.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import type { Work } from "@longshore/ledger/port.ts";
import t, { type Test } from "tap";
import { anchored, anchorOf, type Claimed, counts, create, end, objects, release, sweepAll } from "../testing/anchored.ts";
import { sweepAnchors } from "../loops/sweep.ts";
import { GROUP, NAMESPACE, never, RUN, stage, type Stage, type Staging } from "../testing/stage.ts";
import { createUnderAnchor } from "./anchor.ts";

const REQUEST = {
  run: RUN,
  image: "busybox",
  volumes: [
    { name: "data", size: "1Gi" },
    { name: "more", size: "2Gi", class: "fast" },
  ],
  mounts: [{ volume: "data", path: "/data" }],
} as const;

const DIAGNOSIS = diagnose("Abandoned", "An operator gave it up.");

const claimed = (t: Test, staging: Staging = {}, more: object = {}) => anchored(t, { ...REQUEST, ...more }, staging);

t.test("the first claim makes the anchor, every volume and the Job, each owned by the anchor", async (t) => {
  const it = await claimed(t);
  t.match(await create(it), { input: { kind: "created" }, anchor: { kind: "stands" } });
  const { anchors, claims, jobs } = objects(it);
  t.equal(anchors.length, 1);
  t.equal(claims.length, 2);
  const owner = { kind: "ConfigMap", name: anchors[0]?.metadata.name, uid: anchors[0]?.metadata.uid };
  for (const { metadata } of [...claims, ...jobs]) {
    t.match(metadata.ownerReferences, [owner], metadata.name);
    t.equal(metadata.ownerReferences?.[0]?.blockOwnerDeletion, undefined);
  }
  const claimName = claims.find(({ metadata }) => metadata.name.startsWith("data-"))?.metadata.name;
  t.match(jobs[0]?.spec.template.spec.volumes, [{ name: "volume-0", persistentVolumeClaim: { claimName } }]);
  t.match(anchorOf(it), { number: 1, state: "standing", group: GROUP, uid: owner.uid, bytes: 3 * 2 ** 30 });
});

const BY_PARAMETERS = {
  parameters: { gib: 4, class: "slow", team: "shop" },
  labels: { team: "${{ parameters.team }}" },
  volumes: [
    { name: "data", size: { gib: "${{ parameters.gib }}", plusGib: 1 }, class: "${{ parameters.class }}" },
    { name: "more", size: "2Gi", labels: { of: "${{ parameters.team }}" } },
  ],
};
const sizes = (it: Stage) =>
  objects(it).claims.map(({ metadata, spec }) => {
    const { resources, storageClassName } = spec as {
      readonly resources: { readonly requests: { readonly storage: string } };
      readonly storageClassName?: string;
    };
    return [metadata.name.split("-")[0], resources.requests.storage, storageClassName];
  });

t.test("sizes, classes and labels come from parameters, and are booked so", async (t) => {
  const it = await claimed(t, {}, BY_PARAMETERS);
  t.match(await create(it), { input: { kind: "created" } });
  t.same(sizes(it), [["data", "5Gi", "slow"], ["more", "2Gi", undefined]]); // biome-ignore format: one line
  const { anchors, claims } = objects(it);
  for (const { metadata } of [...anchors, ...claims]) t.match(metadata.labels, { team: "shop" });
  t.match(claims.find(({ metadata }) => metadata.name.startsWith("more-"))?.metadata.labels, { of: "shop" });
  t.match(anchorOf(it), { bytes: 7 * 2 ** 30 });
});

t.test("nothing is made for a step that cannot run with its values", async (t) => {
  const it = await claimed(t);
  const settings = { ...it.cluster.settings, policy: { ...it.cluster.settings.policy, images: ["other"] } };
  const answer = await createUnderAnchor(it.parts, { ...it.cluster, settings }, it.work, never);
  t.match(answer, { input: { kind: "refused", diagnosis: { code: "PolicyRefused" } } });
  t.same(counts(it), { anchors: 0, claims: 0, jobs: 0 });
});

interface Case {
  readonly name: string;
  readonly faults: readonly Fault[];
  readonly input: object;
  readonly there: object;
  readonly anchor: string;
}

const lost = (resource: string): Fault => ({ on: "create", resource, times: 1, trouble: { kind: "lost after writing" } });
const answers = (resource: string, status: 403 | 429 | 500): Fault => ({
  on: "create",
  resource,
  trouble: { kind: "status", status },
});

const cases: readonly Case[] = [
  {
    name: "a lost answer to the anchor's create leaves the claim unanswered, and sends nothing more",
    faults: [lost("configmaps")],
    input: { kind: "unanswered", claimNo: 1 },
    there: { anchors: 1, claims: 0, jobs: 0 },
    anchor: "making",
  },
  {
    name: "a lost answer to a volume's create leaves nothing open: what lands late has an owner",
    faults: [lost("persistentvolumeclaims")],
    input: { kind: "deferred", claimNo: 1, again: true },
    there: { anchors: 1, claims: 2, jobs: 0 },
    anchor: "making",
  },
  {
    name: "a lost answer to the Job's create leaves the claim unanswered under a standing anchor",
    faults: [lost("batch")],
    input: { kind: "unanswered", claimNo: 1 },
    there: { anchors: 1, claims: 2, jobs: 1 },
    anchor: "standing",
  },
  {
    name: "a cluster that is in trouble at the anchor gets nothing more",
    faults: [answers("configmaps", 500)],
    input: { kind: "unanswered", claimNo: 1 },
    there: { anchors: 0, claims: 0, jobs: 0 },
    anchor: "making",
  },
];

for (const { name, faults, input, there, anchor } of cases)
  t.test(name, async (t) => {
    const it = await claimed(t, { faults });
    t.match((await create(it)).input, input);
    t.same(counts(it), there);
    t.equal(anchorOf(it)?.state, anchor);
  });

const lateCases = [
  { name: "after a slow answer no create begins that could outlive the claim", takesMs: 9_000, moved: false, code: "EndpointUnreachable" },
  { name: "nothing more is created once another cluster answers", takesMs: 10, moved: true, code: "GroupMoved" },
]; // biome-ignore format: a table is read down its columns

for (const { name, takesMs, moved, code } of lateCases)
  t.test(name, async (t) => {
    const it = await claimed(t);
    const { createAnchor } = it.cluster.writes;
    const slow: typeof createAnchor = async (...of) => {
      const created = await createAnchor(...of);
      await it.clock.sleep(takesMs);
      const diagnosis = diagnose("GroupMoved", "Another namespace has its name.");
      if (moved) it.parts.views.set(GROUP, { state: "moved", namespaceUid: "uid-of-ours", diagnosis });
      return created;
    };
    const cluster = { ...it.cluster, writes: { ...it.cluster.writes, createAnchor: slow } };
    t.match(await createUnderAnchor(it.parts, cluster, it.work, never), { input: { kind: "deferred", again: true, diagnosis: { code } }, anchor: { kind: "made" } }); // biome-ignore format: one line
    t.same(counts(it), { anchors: 1, claims: 0, jobs: 0 });
  });

t.test("the next claim adopts what the one before it made", async (t) => {
  const it = await claimed(t, { faults: [lost("configmaps")] });
  await create(it);
  await it.clock.sleep(it.parts.timing.claimMs);
  t.match(await create(it, await it.claim()), { input: { kind: "created", claimNo: 2 }, anchor: { kind: "stands" } });
  t.same(counts(it), { anchors: 1, claims: 2, jobs: 1 });
});

t.test("an anchor's name that somebody else has taken refuses the run", async (t) => {
  const it = await claimed(t);
  const name = it.parts.keys.anchorName(RUN, 1);
  await it.pocket.transport().send({ method: "POST", path: `/api/v1/namespaces/${NAMESPACE}/configmaps`, body: { metadata: { name } } }, never); // biome-ignore format: one line
  t.match((await create(it)).input, { kind: "nameTaken", diagnosis: { code: "NameConflict" } });
  t.same(counts(it), { anchors: 1, claims: 0, jobs: 0 });
});

t.test("a missing permission refuses this run, with what to grant, and the group stays well", async (t) => {
  const it = await claimed(t);
  const message = `persistentvolumeclaims is forbidden: User "system:serviceaccount:jobs:longshore-launcher" cannot create resource "persistentvolumeclaims" in API group "" in the namespace "jobs"`;
  const body = { kind: "Status", apiVersion: "v1", reason: "Forbidden", message, code: 403 };
  const writes = { ...it.cluster.writes, createClaim: async () => ({ kind: "answered" as const, status: 403, body }) };
  const answer = await createUnderAnchor(it.parts, { ...it.cluster, writes }, it.work, never);
  t.match(answer, {
    input: { kind: "refused", diagnosis: { code: "Forbidden", hint: /longshore rbac/ } },
    anchor: { kind: "made" },
  });
  t.same(it.said, []);
  t.equal(it.parts.views.get(GROUP)?.state, "healthy");
});

// ── Room ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const quota = (it: Stage, hard: object) =>
  it.pocket.transport().send({ method: "POST", path: `/api/v1/namespaces/${NAMESPACE}/resourcequotas`, body: { metadata: { name: "some" }, spec: { hard } } }, never); // biome-ignore format: one line

t.test(
  "a quota that has no room for all volumes gives the anchor up, and the run is not bound to the group any more",
  async (t) => {
    const it = await claimed(t);
    await quota(it, { "requests.storage": "2Gi" });
    await it.clock.sleep(1_000);
    const answer = await create(it);
    t.match(answer, { input: { kind: "deferred" }, anchor: { kind: "noRoom" } });
    t.equal(it.attempt().state, "waiting");
    t.match(anchorOf(it), { number: 1, state: "sweeping" });
    await sweepAll(it);
    t.same(counts(it), { anchors: 0, claims: 0, jobs: 0 });
    await it.clock.sleep(60_000);
    await it.place();
    t.match(anchorOf(it), { number: 2, state: "making" }, "under the next number");
  },
);

t.test("a cluster that is only busy counting a quota makes no run give its volumes up", async (t) => {
  const it = await claimed(t);
  const message = 'Operation cannot be fulfilled on resourcequotas "some": the object has been modified';
  const body = { kind: "Status", apiVersion: "v1", reason: "Conflict", message, code: 409 };
  const writes = { ...it.cluster.writes, createClaim: async () => ({ kind: "answered" as const, status: 409, body }) };
  const answer = await createUnderAnchor(it.parts, { ...it.cluster, writes }, it.work, never);
  t.match(answer, { input: { kind: "deferred" }, anchor: { kind: "made" } });
});

t.test("a cluster whose quota stays full is asked less and less often", async (t) => {
  const it = await stage(t);
  await it.publish("run.requested", REQUEST as unknown as CommandData<"run.requested">);
  await quota(it, { "requests.storage": "2Gi" });
  await it.clock.sleep(1_000);
  const waits: number[] = [];
  for (let tries = 0; tries < 6; tries++) {
    await it.place();
    const work = await it.claim();
    await create({ ...it, work });
    waits.push(((it.attempt().dueMs ?? 0) - work.nowMs) / 1_000);
    await it.clock.sleep(60_000);
    await sweepAll(it);
  }
  t.same(waits, [5, 10, 20, 40, 60, 60]);
});

const PARALLEL = {
  image: undefined,
  mounts: undefined,
  steps: ["left", "right"].map((name) => ({ name, image: "busybox", mounts: [{ volume: "data", path: "/data" }] })),
};

t.test("an anchor is not given up while another attempt of the run is claimed", async (t) => {
  const it = await stage(t);
  const { image: _i, mounts: _m, ...rest } = { ...REQUEST, ...PARALLEL };
  await it.publish("run.requested", rest as unknown as CommandData<"run.requested">);
  await it.place();
  const [left, right] = await it.parts.ledger.claim({ group: GROUP, most: 2, by: "one", forMs: 20_000 });
  if (left === undefined || right === undefined) throw new TypeError("both steps are to be claimed");
  await quota(it, { "requests.storage": "2Gi" });
  await it.clock.sleep(1_000);
  await create({ ...it, work: left });
  t.match(anchorOf(it), { number: 1, state: "making" }, "the other step's create may be under way");
  await create({ ...it, work: right });
  t.match(anchorOf(it), { number: 1, state: "sweeping" }, "nobody is in the way any more");
});

// ── The end ──────────────────────────────────────────────────────────────────────────────────────────────────────────

t.test("a run that succeeded gives up its volumes, but not before its last attempt is done", async (t) => {
  const it = await claimed(t);
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
  const it = await claimed(t);
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
  const it = await claimed(t);
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
  const it = await claimed(t);
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

t.test("volumes in a namespace that a person gave up are told and counted no more", async (t) => {
  const it = await over(t);
  const elsewhere = { ...it, cluster: { ...it.cluster, namespace: "new" } };
  it.parts.views.set(GROUP, { state: "barred", namespaceUid: "uid-of-new", diagnosis: DIAGNOSIS });
  await sweepAll(elsewhere);
  t.equal(anchorOf(it)?.state, "sweeping", "a namespace that is not there may be a mistake in the file");
  it.parts.views.set(GROUP, { state: "healthy", namespaceUid: "uid-of-new" });
  await sweepAll(elsewhere);
  t.equal(anchorOf(it)?.state, "gone");
  t.match(it.said, [{ message: /nobody deletes them there/, fields: { run: RUN, namespace: NAMESPACE } }]);
});

t.test("a run that failed keeps its volumes for a day, and a restart finds the same ones", async (t) => {
  const it = await claimed(t);
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
      const it = await claimed(t);
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
  const it = await claimed(t, {}, BY_PARAMETERS);
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
  const it = await claimed(t);
  await it.publish("run.free", { run: RUN });
  t.match([...it.model.tables.notices.values()].at(-1)?.notice.data, { problems: [{ code: "NotEnded" }] });
});

t.test("a run that never got all its volumes can be restarted where it failed", async (t) => {
  const it = await claimed(t, { faults: [answers("persistentvolumeclaims", 403)] });
  await create(it);
  t.match(it.model.tables.runs.get(RUN)?.record.run, { state: "ended", outcome: "failed" });
  it.pocket.heal();
  await it.publish("run.restart", { run: RUN, from: "failed" });
  await it.place();
  t.match(anchorOf(it), { number: 2, state: "making" });
  t.match(await create(it, await it.claim()), { input: { kind: "created" } });
});

t.test("while a create of the anchor may land, its absence shows nothing", async (t) => {
  const it = await claimed(t, {
    faults: [{ on: "create", resource: "configmaps", trouble: { kind: "delayed", byMs: 300_000 } }],
  });
  const creating = create(it);
  await it.parts.recording({ run: RUN, step: it.work.attempt.step, n: 1, input: { kind: "abandon", diagnosis: it.work.attempt.notes.stall ?? DIAGNOSIS } }); // biome-ignore format: one line
  await creating;
  const begunAtMs = await it.parts.ledger.now();
  await it.parts.ledger.recordAnchors([{ run: RUN, number: 1, input: { kind: "gone", begunAtMs } }]);
  t.not(anchorOf(it)?.state, "gone");
});

t.test("a pod of an earlier generation that has not ended keeps the next one waiting", async (t) => {
  const it = await claimed(t, { pods: { startsAfterMs: 10, onStop: { kind: "stuck" } } });
  await create(it);
  await it.clock.sleep(5_000);
  await it.record({ kind: "abandon", diagnosis: DIAGNOSIS });
  t.match(anchorOf(it)?.state, "kept");
  await it.parts.ledger.recordAnchors([]);
  await it.publish("run.restart", { run: RUN, from: "failed" });
  const work = { ...it.work, anchor: anchorOf(it), attempt: { ...it.work.attempt, generation: 2, claimNo: 9 } } as Work;
  t.match(await createUnderAnchor(it.parts, it.cluster, work, never), {
    input: { kind: "deferred", diagnosis: { code: "VolumeInUse" } },
  });
});

// ── Pods that a program made itself ──────────────────────────────────────────────────────────────────────────────────

async function makePod(it: Stage, name: string, labels: Readonly<Record<string, string>> = {}): Promise<void> {
  const claimName = objects(it).claims[0]?.metadata.name ?? "";
  const body = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels },
    spec: { containers: [{ name: "main", image: "busybox" }], volumes: [{ name: "data", persistentVolumeClaim: { claimName } }] },
  };
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const { status } = await it.pocket.transport().send({ method: "POST", path, body }, never);
  if (status !== 201) throw new Error(`the pod was answered ${status}`);
}

const TOKEN = { serviceAccount: { name: "worker", token: true } };

t.test(
  "a restart of a run whose program could make pods waits for each that mounts its volumes, whatever its labels",
  async (t) => {
    const it = await claimed(t, { pods: { startsAfterMs: 10, runsMs: 30_000 } }, TOKEN);
    await create(it);
    await it.clock.sleep(20_000);
    await makePod(it, "unlabelled");
    await it.clock.sleep(20_000);
    await it.record({ kind: "abandon", diagnosis: DIAGNOSIS });
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

t.test("a pod whose create landed after its step had ended does not keep the run's volumes", async (t) => {
  const it = await claimed(t, {}, TOKEN);
  await create(it);
  await it.clock.sleep(5_000);
  await it.record({ kind: "abandon", diagnosis: DIAGNOSIS });
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

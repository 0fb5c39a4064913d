/** The anchor, the volumes and the Job of a run's first claim, on a cluster that fails between them. */
import type { CommandData } from "@longshore/contract/messages/command.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import t from "tap";
import {
  anchored,
  anchorOf,
  BY_PARAMETERS,
  counts,
  create,
  end,
  objects,
  REQUEST,
  sizes,
  sweepAll,
  withVolumes,
} from "../testing/anchored.ts";
import { GROUP, NAMESPACE, never, RUN, stage, type Stage } from "../testing/stage.ts";
import { createUnderAnchor } from "./anchor.ts";

t.test("the first claim makes the anchor, every volume and the Job, each owned by the anchor", async (t) => {
  const it = await withVolumes(t);
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

t.test("sizes, classes and labels come from parameters, and are booked so", async (t) => {
  const it = await withVolumes(t, {}, BY_PARAMETERS);
  t.match(await create(it), { input: { kind: "created" } });
  t.same(sizes(it), [["data", "5Gi", "slow"], ["more", "2Gi", undefined]]); // biome-ignore format: one line
  const { anchors, claims } = objects(it);
  for (const { metadata } of [...anchors, ...claims]) t.match(metadata.labels, { team: "shop" });
  t.match(claims.find(({ metadata }) => metadata.name.startsWith("more-"))?.metadata.labels, { of: "shop" });
  t.match(anchorOf(it), { bytes: 7 * 2 ** 30 });
});

t.test("nothing is made for a step that cannot run with its values", async (t) => {
  const it = await withVolumes(t);
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
    const it = await withVolumes(t, { faults });
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
    const it = await withVolumes(t);
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
  const it = await withVolumes(t, { faults: [lost("configmaps")] });
  await create(it);
  await it.clock.sleep(it.parts.timing.claimMs);
  t.match(await create(it, await it.claim()), { input: { kind: "created", claimNo: 2 }, anchor: { kind: "stands" } });
  t.same(counts(it), { anchors: 1, claims: 2, jobs: 1 });
});

t.test("each later step makes nothing but its Job", async (t) => {
  const steps = ["first", "second"].map((name, at) => ({ name, image: "busybox", needs: ["first"].slice(0, at), env: { TOKEN: { secretValue: "token" } } })); // biome-ignore format: one line
  const { image: _i, mounts: _m, ...rest } = REQUEST;
  const it = await anchored(t, { ...rest, steps, secretValues: { token: "only-for-tests" } }, { policy: { secretValues: true } });
  await create(it);
  await end(it, "complete");
  await it.place();
  const later = await it.claim();
  const sent: string[] = [];
  const told = Object.entries(it.cluster.writes).map(([what, write]) => [
    what,
    (...of: never[]) => (sent.push(what), (write as (...of: never[]) => unknown)(...of)),
  ]);
  const writes = Object.fromEntries(told) as typeof it.cluster.writes;
  t.match(await createUnderAnchor(it.parts, { ...it.cluster, writes }, later, never), { input: { kind: "created" } });
  t.same(sent, ["createJob"]);
});

t.test("an anchor's name that somebody else has taken refuses the run", async (t) => {
  const it = await withVolumes(t);
  const name = it.parts.keys.anchorName(RUN, 1);
  await it.pocket.transport().send({ method: "POST", path: `/api/v1/namespaces/${NAMESPACE}/configmaps`, body: { metadata: { name } } }, never); // biome-ignore format: one line
  t.match((await create(it)).input, { kind: "nameTaken", diagnosis: { code: "NameConflict" } });
  t.same(counts(it), { anchors: 1, claims: 0, jobs: 0 });
});

t.test("a missing permission refuses this run, with what to grant, and the group stays well", async (t) => {
  const it = await withVolumes(t);
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

t.test("a missing permission to look at an anchor that is there keeps the run waiting, with what to grant", async (t) => {
  const it = await withVolumes(t, { faults: [lost("configmaps")] });
  await create(it);
  await it.clock.sleep(it.parts.timing.claimMs);
  const message = `configmaps "x" is forbidden: User "system:serviceaccount:jobs:longshore-launcher" cannot get resource "configmaps" in API group "" in the namespace "jobs"`;
  const body = { kind: "Status", apiVersion: "v1", reason: "Forbidden", message, code: 403 };
  const reads = { ...it.cluster.reads, getAnchor: async () => ({ kind: "answered" as const, status: 403, body }) };
  const answer = await createUnderAnchor(it.parts, { ...it.cluster, reads }, await it.claim(), never);
  const diagnosis = { code: "Forbidden", sentence: /may not get configmaps in the namespace/, hint: /longshore rbac/ };
  t.match(answer.input, { kind: "deferred", diagnosis });
});

// ── Room ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

const quota = (it: Stage, hard: object) =>
  it.pocket.transport().send({ method: "POST", path: `/api/v1/namespaces/${NAMESPACE}/resourcequotas`, body: { metadata: { name: "some" }, spec: { hard } } }, never); // biome-ignore format: one line

t.test(
  "a quota that has no room for all volumes gives the anchor up, and the run is not bound to the group any more",
  async (t) => {
    const it = await withVolumes(t);
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
  const it = await withVolumes(t);
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

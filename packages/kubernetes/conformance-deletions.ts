/** Rows of "How Jobs behave with a hold": every way in which a Job that carries our hold can be deleted. */
import type { Test } from "tap";
import {
  COMMANDS,
  type Conforming,
  finalizers,
  HOLD,
  type Hand,
  handOf,
  isDeleting,
  isFinished,
  onlyHeld,
  type Raw,
} from "./conformance-parts.ts";

const running = ([pod]: readonly Raw[]): boolean => pod?.status?.phase === "Running";
const none = (pods: readonly Raw[]): boolean => pods.length === 0;

async function startJob(hand: Hand, name: string, command: readonly string[], more?: object): Promise<Raw> {
  const job = await hand.createJob(name, command, more);
  await hand.untilPods("its pod running", job, running);
  return await hand.untilJob("an active pod", name, (it) => it.status?.active === 1);
}

export async function deletions(t: Test, { open, image, outlasts = 4 }: Conforming): Promise<void> {
  t.setTimeout(600_000);

  await t.test("a background DELETE lets the pod run to its end, and the Job never gets a condition", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await startJob(hand, "behind", COMMANDS.outlast(outlasts));
    t.equal((await hand.deleteJob("behind", "Background")).status, 200);
    const marked = await hand.job("behind");
    t.ok(onlyHeld(marked), "deletionTimestamp, and only the hold left");
    t.equal(marked.status?.active, 1);
    const [pod] = await hand.untilPods("its pod's end", job, ([it]) => it?.status?.phase === "Succeeded");
    t.notOk(pod === undefined || isDeleting(pod), "nobody deleted the pod");
    await hand.letOthersWork();
    t.notOk(isFinished(await hand.job("behind")), "the outcome is only in the pod");
    t.equal((await hand.release("behind")).status, 200);
    await hand.untilJobGone("behind");
    await hand.untilPods("its pod collected", job, none);
  });

  await t.test("a foreground DELETE after a background one takes the pods away", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await startJob(hand, "upgraded", COMMANDS.runOn);
    await hand.deleteJob("upgraded", "Background");
    await hand.letOthersWork();
    t.ok(running(await hand.podsOf(job)), "the pod still runs");
    t.equal((await hand.deleteJob("upgraded", "Foreground")).status, 200);
    await hand.untilPods("its pods gone", job, none);
    const left = await hand.untilJob("only the hold left", "upgraded", onlyHeld);
    t.notOk(isFinished(left), "no condition");
  });

  await t.test("a foreground DELETE takes the pods first, and the Job waits with only the hold", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await startJob(hand, "front", COMMANDS.runOn);
    t.equal((await hand.deleteJob("front", "Foreground")).status, 200);
    const left = await hand.untilJob("only the hold left", "front", onlyHeld);
    t.same(await hand.podsOf(job), [], "its pods went before");
    t.notOk(isFinished(left), "no condition");

    const again = await hand.deleteJob("front", "Foreground");
    t.same([...finalizers(again.body as Raw)].sort(), ["foregroundDeletion", HOLD].sort(), "its finalizer is on again");
    await hand.untilJob("only the hold left once more", "front", onlyHeld);
    t.equal((await hand.release("front")).status, 200);
    await hand.untilJobGone("front");
  });

  await t.test("an orphaning DELETE leaves the pod running without an owner", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await startJob(hand, "orphaned", COMMANDS.runOn);
    t.equal((await hand.deleteJob("orphaned", "Orphan")).status, 200);
    await hand.untilJob("only the hold left", "orphaned", onlyHeld);
    const [pod] = await hand.untilPods("its pod without an owner", job, ([it]) => it?.metadata.ownerReferences === undefined);
    t.equal(pod?.status?.phase, "Running");
    await hand.release("orphaned");
    await hand.untilJobGone("orphaned");
    await hand.letOthersWork();
    const [left] = await hand.podsOf(job);
    t.equal(left?.status?.phase, "Running", "it outlives its Job");
    await hand.must("DELETE", `${hand.pods}/${left?.metadata.name}`, {
      body: { gracePeriodSeconds: 1, preconditions: { uid: left?.metadata.uid } },
    });
    await hand.untilPods("the orphan gone", job, none);
  });

  await t.test("a DELETE without a policy orphans, as batch/v1 always did", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await startJob(hand, "plain", COMMANDS.runOn);
    const { headers } = await hand.send("DELETE", `${hand.jobs}/plain`);
    t.match(headers["warning"], /child pods are preserved by default/);
    await hand.untilPods("its pod without an owner", job, ([it]) => it?.metadata.ownerReferences === undefined);
  });

  await t.test("a name under deletion stays taken while the hold is on", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    await startJob(hand, "taken", COMMANDS.runOn);
    await hand.deleteJob("taken", "Foreground");
    await hand.untilJob("only the hold left", "taken", onlyHeld);
    const { status, body } = await hand.send("POST", hand.jobs, {
      body: { ...(await hand.job("taken")), metadata: { name: "taken" } },
    });
    t.equal(status, 409);
    t.match(body, { kind: "Status", reason: "AlreadyExists", details: { name: "taken", kind: "jobs", group: "batch" } });
  });

  await t.test("a namespace under deletion loses its pods and waits for the hold", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await startJob(hand, "last", COMMANDS.runOn);
    t.equal((await hand.send("DELETE", hand.namespace)).status, 200);
    await hand.untilPods("its pods gone", job, none);
    t.ok(onlyHeld(await hand.untilJob("its deletion", "last", onlyHeld)));
    t.match(await hand.must("GET", hand.namespace), { status: { phase: "Terminating" } });
    const { status, body } = await hand.send("POST", hand.jobs, { body: { ...job, metadata: { name: "too-late" } } });
    t.equal(status, 403);
    t.match(body, { reason: "Forbidden", details: { causes: [{ reason: "NamespaceTerminating" }] } });
    t.equal((await hand.release("last")).status, 200);
    const name = cluster.namespace;
    await hand.untilAll("the namespace gone", "/api/v1/namespaces", `fieldSelector=metadata.name%3D${name}`, none);
    t.equal((await hand.send("GET", hand.namespace)).status, 404);
  });

  await t.test("the UID in a DELETE's preconditions guards the Job that stands there now", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("guarded", COMMANDS.runOn);
    const guarded = (uid: string) =>
      hand.send("DELETE", `${hand.jobs}/guarded`, { body: { propagationPolicy: "Foreground", preconditions: { uid } } });
    const { status, body } = await guarded("00000000-0000-4000-8000-000000000000");
    t.equal(status, 409);
    t.match(body, { kind: "Status", reason: "Conflict" });
    t.notOk(isDeleting(await hand.job("guarded")));
    t.equal((await guarded(job.metadata.uid)).status, 200);
    t.equal((await hand.send("DELETE", `${hand.jobs}/nobody`)).status, 404);
  });
}

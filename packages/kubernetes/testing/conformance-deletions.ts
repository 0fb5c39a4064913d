/** Rows of "How Jobs behave with a hold": every way in which a Job that carries our hold can be deleted. */
import type { Test } from "tap";
import type { Conforming, Client, Raw, WatchEvent } from "./conformance-parts.ts";
import { COMMANDS, casesOf, finalizers, HOLD, isDeleting, isFinished, manifest, onlyHeld } from "./conformance-parts.ts";

const NOBODY = "00000000-0000-4000-8000-000000000000";
const running = ([pod]: readonly Raw[]): boolean => pod?.status?.phase === "Running";
const none = (pods: readonly Raw[]): boolean => pods.length === 0;
const ownerless = ([pod]: readonly Raw[]): boolean => pod !== undefined && pod.metadata.ownerReferences === undefined;

async function startJob(hand: Client, name: string, command: readonly string[], more?: object): Promise<Raw> {
  const job = await hand.createJob(name, command, more);
  await hand.untilPods("its pod running", job, running);
  return await hand.untilJob("an active pod", name, (it) => it.status?.active === 1);
}

export async function deletions(t: Test, it: Conforming): Promise<void> {
  const cases = casesOf(t, it);
  ofUnplaced(cases);
  ofRunning(cases, it.outlasts ?? 4);
  guarded(cases);
  await cases.settled();
}

/** Cases whose pod never gets a node: only the API server and the controllers act. */
function ofUnplaced({ test }: ReturnType<typeof casesOf>): void {
  test("a background DELETE leaves the pod to the hold, and a foreground one after it takes the pod away", async (t, hand) => {
    const job = await hand.createUnplaced("waiting");
    t.equal((await hand.deleteJob("waiting", "Background")).status, 200);
    const marked = await hand.job("waiting");
    t.ok(onlyHeld(marked), "deletionTimestamp, and only the hold left");
    await hand.letOthersWork();
    const [pod] = await hand.podsOf(job);
    t.ok(pod !== undefined && !isDeleting(pod), "nobody deleted the pod");

    const upgraded = await hand.deleteJob("waiting", "Foreground");
    t.same([...finalizers(upgraded.body as Raw)].sort(), ["foregroundDeletion", HOLD].sort());
    await hand.untilPods("its pod gone", job, none);
    const left = await hand.untilJob("only the hold left", "waiting", onlyHeld);
    t.notOk(isFinished(left), "no condition");
  });

  test("a pod deleted before it had a node is never seen to have started or ended", async (t, hand) => {
    const job = await hand.createUnplaced("never-started");
    const { metadata } = await hand.list(hand.pods);
    const { events } = await hand.watch(hand.pods, `resourceVersion=${metadata.resourceVersion}&timeoutSeconds=60`);
    await hand.deleteJob("never-started", "Foreground");
    const told: WatchEvent[] = [];
    for await (const event of events) {
      told.push(event);
      if (event.type === "DELETED") break;
    }
    t.same(
      told.filter(({ object: { status } }) => status?.phase !== "Pending" || status.containerStatuses !== undefined),
      [],
      "however often it is told of",
    );
    t.equal(told.at(-1)?.type, "DELETED");
    const left = await hand.untilJob("only the hold left", "never-started", onlyHeld);
    t.equal(left.metadata.uid, job.metadata.uid);
    t.notOk(isFinished(left), "no condition");
  });

  test("a foreground DELETE of a Job of which only the hold is left is carried out again", async (t, hand) => {
    await hand.createUnplaced("again");
    await hand.deleteJob("again", "Foreground");
    await hand.untilJob("only the hold left", "again", onlyHeld);
    const again = await hand.deleteJob("again", "Foreground");
    t.equal(again.status, 200);
    t.same([...finalizers(again.body as Raw)].sort(), ["foregroundDeletion", HOLD].sort(), "its finalizer is on again");
    await hand.untilJob("only the hold left once more", "again", onlyHeld);
    t.equal((await hand.release("again")).status, 200);
    await hand.untilJobGone("again");
  });

  test("an orphaning DELETE leaves the pod without an owner", async (t, hand) => {
    const job = await hand.createUnplaced("orphaned");
    t.equal((await hand.deleteJob("orphaned", "Orphan")).status, 200);
    await hand.untilJob("only the hold left", "orphaned", onlyHeld);
    const [pod] = await hand.untilPods("its pod without an owner", job, ownerless);
    t.notOk(pod === undefined || isDeleting(pod));
    await hand.letOthersWork();
    t.notOk(isFinished(await hand.job("orphaned")), "no condition");
    await hand.release("orphaned");
    await hand.untilJobGone("orphaned");
    await hand.letOthersWork();
    t.equal((await hand.podsOf(job)).length, 1, "it outlives its Job");
  });

  test("a DELETE without a policy orphans, as batch/v1 always did, and warns", async (t, hand) => {
    const job = await hand.createUnplaced("plain");
    const { headers } = await hand.send("DELETE", `${hand.jobs}/plain`);
    t.match(headers["warning"], /child pods are preserved by default/);
    await hand.untilPods("its pod without an owner", job, ownerless);
  });

  test("a name under deletion stays taken while the hold is on", async (t, hand) => {
    await hand.createUnplaced("taken");
    await hand.deleteJob("taken", "Foreground");
    await hand.untilJob("only the hold left", "taken", onlyHeld);
    const { status, body } = await hand.send("POST", hand.jobs, { body: manifest("taken", "any", COMMANDS.succeed) });
    t.equal(status, 409);
    t.match(body, { kind: "Status", reason: "AlreadyExists", details: { name: "taken", kind: "jobs", group: "batch" } });
  });

  test("a namespace under deletion loses its pods and waits for the hold", async (t, hand, cluster) => {
    const job = await hand.createUnplaced("last");
    t.equal((await hand.send("DELETE", hand.namespace)).status, 200);
    await hand.untilPods("its pods gone", job, none);
    t.ok(onlyHeld(await hand.untilJob("its deletion", "last", onlyHeld)));
    t.match(await hand.must("GET", hand.namespace), { status: { phase: "Terminating" } });
    const post = (name: string) => hand.send("POST", hand.jobs, { body: manifest(name, "any", COMMANDS.succeed) });
    const { status, body } = await post("too-late");
    t.equal(status, 403);
    t.match(body, { reason: "Forbidden", details: { causes: [{ reason: "NamespaceTerminating" }] } });
    t.equal((await post("last")).status, 403, "the namespace speaks before the name");
    t.equal((await hand.release("last")).status, 200);
    const name = cluster.namespace;
    await hand.untilAll("the namespace gone", "/api/v1/namespaces", `fieldSelector=metadata.name%3D${name}`, none);
    t.match(await hand.send("GET", hand.namespace), { status: 404, body: { details: { name } } });
    t.match(await hand.send("GET", `${hand.jobs}/last`), { status: 404, body: { details: { name: "last" } } });
    t.same((await hand.list(hand.jobs)).items, [], "a list of what is no namespace is empty, and no error");
  });
}

/** Cases whose pod runs on a node when its Job is deleted. */
function ofRunning({ testWithProcesses }: ReturnType<typeof casesOf>, outlasts: number): void {
  testWithProcesses("a background DELETE lets the pod run to its end, and the Job never gets a condition", async (t, hand) => {
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

  testWithProcesses("a foreground DELETE after a background one ends what runs", async (t, hand) => {
    const job = await startJob(hand, "upgraded", COMMANDS.runOn);
    await hand.deleteJob("upgraded", "Background");
    await hand.letOthersWork();
    t.ok(running(await hand.podsOf(job)), "the pod still runs");
    t.equal((await hand.deleteJob("upgraded", "Foreground")).status, 200);
    await hand.untilPods("its pods gone", job, none);
    const left = await hand.untilJob("only the hold left", "upgraded", onlyHeld);
    t.notOk(isFinished(left), "no condition");
  });

  testWithProcesses("a foreground DELETE takes the pods first, and the Job waits with only the hold", async (t, hand) => {
    const job = await startJob(hand, "front", COMMANDS.runOn);
    t.equal((await hand.deleteJob("front", "Foreground")).status, 200);
    const left = await hand.untilJob("only the hold left", "front", onlyHeld);
    t.same(await hand.podsOf(job), [], "its pods went before");
    t.notOk(isFinished(left), "no condition");
    t.equal((await hand.release("front")).status, 200);
    await hand.untilJobGone("front");
  });

  testWithProcesses(
    "a background DELETE after a foreground one stops waiting for the pods, which end all the same",
    async (t, hand) => {
      const job = await startJob(hand, "lowered", COMMANDS.lastWords);
      await hand.deleteJob("lowered", "Foreground");
      await hand.untilPods("its pod under deletion", job, ([it]) => it !== undefined && isDeleting(it));
      const lowered = await hand.deleteJob("lowered", "Background");
      t.equal(lowered.status, 200);
      t.ok(onlyHeld(lowered.body as Raw), "only the hold is left, while the pod still ends");
      await hand.untilPods("its pods gone", job, none);
    },
  );

  testWithProcesses("an orphaning DELETE leaves the pod running", async (t, hand) => {
    const job = await startJob(hand, "orphaned", COMMANDS.runOn);
    t.equal((await hand.deleteJob("orphaned", "Orphan")).status, 200);
    await hand.untilJob("only the hold left", "orphaned", onlyHeld);
    await hand.untilPods("its pod without an owner", job, ownerless);
    await hand.letOthersWork();
    t.notOk(isFinished(await hand.job("orphaned")), "no condition");
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

  testWithProcesses("a namespace under deletion ends what runs and waits for the hold", async (t, hand) => {
    const job = await startJob(hand, "last", COMMANDS.runOn);
    t.equal((await hand.send("DELETE", hand.namespace)).status, 200);
    await hand.untilPods("its pods gone", job, none);
    // From 1.33 on, the pods go while their Job still lives, and the Job may count them as failed: its conditions are not
    // tested.
    await hand.untilJob("its deletion", "last", onlyHeld);
    await hand.release("last");
    await hand.untilJobGone("last");
  });
}

function guarded({ test }: ReturnType<typeof casesOf>): void {
  test("the UID in a DELETE's preconditions guards the Job that stands there now, deleted or not", async (t, hand) => {
    const job = await hand.createUnplaced("guarded");
    const guarded = (uid: string) =>
      hand.send("DELETE", `${hand.jobs}/guarded`, { body: { propagationPolicy: "Foreground", preconditions: { uid } } });
    const conflict = { status: 409, body: { kind: "Status", reason: "Conflict", details: { name: "guarded" }, message: /UID/ } };
    const refused = await guarded(NOBODY);
    t.match(refused, conflict);
    t.ok(
      (refused.body as Raw).message?.includes(NOBODY) && (refused.body as Raw).message?.includes(job.metadata.uid),
      "names both",
    );
    t.notOk(isDeleting(await hand.job("guarded")));
    t.equal((await guarded(job.metadata.uid)).status, 200);
    t.match(await guarded(NOBODY), conflict, "also while it is being deleted");
    await hand.untilJob("only the hold left", "guarded", onlyHeld);
    t.match(await guarded(NOBODY), conflict, "also while only the hold is left");
    t.match(await hand.send("DELETE", `${hand.jobs}/nobody`), { status: 404, body: { details: { name: "nobody" } } });
  });

  test("the UID in a pod's DELETE guards it as well", async (t, hand) => {
    const job = await hand.createUnplaced("pods");
    const [pod] = await hand.podsOf(job);
    const path = `${hand.pods}/${pod?.metadata.name}`;
    const refused = await hand.send("DELETE", path, { body: { preconditions: { uid: NOBODY } } });
    t.match(refused, { status: 409, body: { reason: "Conflict", message: /UID/ } });
    t.equal((await hand.send("DELETE", path, { body: { preconditions: { uid: pod?.metadata.uid } } })).status, 200);
  });

  test("without a hold a DELETE takes the Job away at once, and says so", async (t, hand) => {
    const job = await hand.createUnplaced("free");
    await hand.release("free");
    const { status, body } = await hand.deleteJob("free", "Background");
    t.equal(status, 200);
    t.match(body, { kind: "Status", status: "Success", details: { name: "free", kind: "jobs", uid: job.metadata.uid } });
    t.equal((await hand.send("GET", `${hand.jobs}/free`)).status, 404);
    await hand.untilPods("its pods collected", job, none);
  });
}

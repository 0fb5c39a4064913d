/** Rows of "How Jobs behave with a hold": how a Job ends by itself, and how it is let go. */
import type { Test } from "tap";
import {
  COMMANDS,
  type Conforming,
  condition,
  finalizers,
  HOLD,
  handOf,
  isDeleting,
  isFinished,
  manifest,
  type Raw,
  STRATEGIC,
} from "./conformance-parts.ts";

const none = (pods: readonly Raw[]): boolean => pods.length === 0;

export async function endings(t: Test, { open, image, outlasts = 4 }: Conforming): Promise<void> {
  t.setTimeout(600_000);

  await t.test("a pod that exits 0 is Succeeded before its Job is Complete, and both stay", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("good", COMMANDS.succeed);
    const ended = await hand.untilJob("its end", "good", isFinished);
    t.equal(condition(ended, "Complete"), "CompletionsReached");
    t.equal(condition(ended, "Failed"), undefined);
    t.match(ended, { status: { succeeded: 1, completionTime: String } });
    const [pod] = await hand.podsOf(job);
    t.equal(pod?.status?.phase, "Succeeded");
    t.equal(pod?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 0);
    t.match(pod, {
      metadata: {
        labels: { "batch.kubernetes.io/job-name": "good" },
        ownerReferences: [{ uid: job.metadata.uid, controller: true }],
      },
    });
    t.match((await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log?container=main&tailLines=10`)).body, /^done\s*$/);
    t.equal((await hand.send("GET", `${hand.pods}/nobody/log`)).status, 404);
  });

  await t.test("a pod that exits 3 fails its Job, without a second try", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("bad", COMMANDS.fail);
    const ended = await hand.untilJob("its end", "bad", isFinished);
    t.equal(condition(ended, "Failed"), "BackoffLimitExceeded");
    t.equal(condition(ended, "FailureTarget"), "BackoffLimitExceeded");
    const pods = await hand.podsOf(job);
    t.equal(pods.length, 1);
    t.equal(pods[0]?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 3);
  });

  await t.test("a deadline: FailureTarget, the pods go while their log can still be read, then Failed", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("late", COMMANDS.lastWords, { activeDeadlineSeconds: Math.max(1, outlasts - 1) });
    const target = await hand.untilJob("FailureTarget", "late", (it) => condition(it, "FailureTarget") !== undefined);
    t.equal(condition(target, "FailureTarget"), "DeadlineExceeded");
    const [pod] = await hand.untilPods("its pod under deletion", job, ([it]) => it !== undefined && isDeleting(it));
    t.match((await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log`)).body, /running/);
    t.notOk(isFinished(await hand.job("late")), "not Failed while its pod still ends");
    const failed = await hand.untilJob("its end", "late", isFinished);
    t.equal(condition(failed, "Failed"), "DeadlineExceeded");
    await hand.untilPods("its pods gone", job, none);
  });

  await t.test("ttlSecondsAfterFinished takes the pods; the Job stays with its condition until it is released", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("swept", COMMANDS.succeed, { ttlSecondsAfterFinished: 0 });
    await hand.untilJob("its deletion by the TTL controller", "swept", (it) => isDeleting(it) && finalizers(it).join() === HOLD);
    t.same(await hand.podsOf(job), []);
    t.ok(isFinished(await hand.job("swept")));
    t.equal((await hand.release("swept")).status, 200);
    await hand.untilJobGone("swept");
  });

  await t.test("a release is one write: the hold off, the time to live on, a foreign finalizer left alone", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const body = manifest("shared", image, COMMANDS.succeed) as { readonly metadata: object };
    const job = await hand.must("POST", hand.jobs, {
      body: { ...body, metadata: { ...body.metadata, finalizers: [HOLD, "example.com/theirs"] } },
    });
    await hand.untilJob("its end", "shared", isFinished);
    const spec = { ttlSecondsAfterFinished: 3_600 };
    const first = await hand.release("shared", { spec });
    t.equal(first.status, 200);
    t.match(first.body, { metadata: { uid: job.metadata.uid, finalizers: ["example.com/theirs"] }, spec });
    const second = await hand.release("shared", { spec });
    t.equal(second.status, 200, "again changes nothing");
    t.equal((second.body as Raw).metadata.resourceVersion, (first.body as Raw).metadata.resourceVersion);
    await hand.deleteJob("shared", "Foreground");
    await hand.send("PATCH", `${hand.jobs}/shared`, {
      contentType: STRATEGIC,
      body: { metadata: { "$deleteFromPrimitiveList/finalizers": ["example.com/theirs"] } },
    });
    await hand.untilJobGone("shared");
  });

  await t.test("a release with a time to live of none takes the Job and its pods away", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const job = await hand.createJob("brief", COMMANDS.succeed);
    await hand.untilJob("its end", "brief", isFinished);
    await hand.release("brief", { spec: { ttlSecondsAfterFinished: 0 } });
    await hand.untilJobGone("brief");
    t.same(await hand.untilPods("its pods gone", job, none), []);
  });

  await t.test("an occupant stands without pods, and holds its name", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, image);
    const occupant = { body: manifest("occupied", image, COMMANDS.succeed, { suspend: true, parallelism: 0 }) };
    const { status, body } = await hand.send("POST", hand.jobs, occupant);
    t.equal(status, 201);
    await hand.untilJob("Suspended", "occupied", (it) => condition(it, "Suspended") === "JobSuspended");
    await hand.letOthersWork();
    t.same(await hand.podsOf(body as Raw), []);
    t.equal((await hand.send("POST", hand.jobs, { body: manifest("occupied", image, COMMANDS.succeed) })).status, 409);
    await hand.deleteJob("occupied", "Foreground");
    await hand.release("occupied");
    await hand.untilJobGone("occupied");
    t.equal(
      (await hand.send("POST", hand.jobs, { body: manifest("occupied", image, COMMANDS.succeed) })).status,
      201,
      "free again",
    );
  });

  await t.test("an image that cannot be pulled leaves the pod waiting and the Job without a condition", async (t) => {
    await using cluster = await open();
    const hand = handOf(cluster, "registry.invalid/nothing:1");
    const job = await hand.createJob("no-image", COMMANDS.succeed);
    const waits = (it: Raw | undefined): string => it?.status?.containerStatuses?.[0]?.state?.waiting?.reason ?? "";
    const [pod] = await hand.untilPods("its image missed", job, ([it]) => /^(ErrImagePull|ImagePullBackOff)$/.test(waits(it)));
    t.equal(pod?.status?.phase, "Pending");
    t.notOk(isFinished(await hand.job("no-image")));
    await hand.deleteJob("no-image", "Foreground");
    await hand.untilPods("its pods gone", job, none);
  });
}

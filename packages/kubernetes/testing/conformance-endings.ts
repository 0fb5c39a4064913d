/** Rows of "How Jobs behave with a hold": how a Job ends by itself, and how it is released. */
import type { Test } from "tap";
import {
  COMMANDS,
  type Conforming,
  casesOf,
  condition,
  finalizers,
  HOLD,
  clientOf,
  isDeleting,
  isFinished,
  manifest,
  type Raw,
  STRATEGIC,
} from "./conformance-parts.ts";

const none = (pods: readonly Raw[]): boolean => pods.length === 0;

export async function endings(t: Test, it: Conforming): Promise<void> {
  const cases = casesOf(t, it);
  ended(cases, it);
  released(cases, it);
  suspended(cases, it);
  await cases.settled();
}

function ended({ test, testWithProcesses }: ReturnType<typeof casesOf>, it: Conforming): void {
  test("a pod that exits 0 is Succeeded before its Job is Complete, and both stay", async (t, hand) => {
    const job = await hand.createJob("good", COMMANDS.succeed);
    const ended = await hand.untilJob("its end", "good", isFinished);
    t.equal(condition(ended, "Complete"), "CompletionsReached");
    t.equal(condition(ended, "SuccessCriteriaMet"), "CompletionsReached");
    t.equal(condition(ended, "Failed"), undefined);
    t.match(ended, { status: { succeeded: 1, completionTime: String } });
    const [pod] = await hand.podsOf(job);
    t.equal(pod?.status?.phase, "Succeeded");
    t.equal(pod?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 0);
    t.same(finalizers(pod as Raw), [], "its Job has counted it");
    t.match(pod, {
      metadata: {
        labels: { "batch.kubernetes.io/job-name": "good" },
        ownerReferences: [{ uid: job.metadata.uid, controller: true }],
      },
    });
  });

  testWithProcesses("what a pod wrote can be read after its end", async (t, hand) => {
    const job = await hand.createJob("good", COMMANDS.succeed);
    await hand.untilJob("its end", "good", isFinished);
    const [pod] = await hand.podsOf(job);
    t.match((await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log?container=main&tailLines=10`)).body, /^done\s*$/);
  });

  testWithProcesses(
    "words and variables: $(NAME) is replaced, $$ is one $, and a value whose every $ is doubled arrives as it was",
    async (t, hand) => {
      const written = ["$(A)", "$$(A)", "$$$(A)", "$$$$(A)", "$(UNKNOWN)", "$(A", "$A $ $$"];
      const env = [{ name: "A", value: "a" }, ...written.map((value, at) => ({ name: `E${at}`, value }))];
      const variables = written.map((_, at) => `"$E${at}"`).join(" ");
      const containers = [
        { name: "main", image: it.image, command: ["sh", "-c", `printf '%s\\n' "$@" ${variables}`, "sh"], args: written, env },
      ];
      await hand.createJob("expands", [], { template: { spec: { restartPolicy: "Never", containers } } });
      const job = await hand.untilJob("its end", "expands", isFinished);
      const [pod] = await hand.podsOf(job);
      const { body } = await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log?container=main`);
      const arrives = ["a", "$(A)", "$a", "$$(A)", "$(UNKNOWN)", "$(A", "$A $ $"];
      t.equal(String(body).trimEnd(), [...arrives, ...arrives].join("\n"));
    },
  );

  test("the log of a pod that is not there is refused, and of one without a node there is no content", async (t, hand) => {
    const job = await hand.createUnplaced("mute");
    const [pod] = await hand.podsOf(job);
    t.match(await hand.send("GET", `${hand.pods}/nobody/log`), { status: 404, body: { reason: "NotFound" } });
    const answer = await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log?container=main`);
    t.match(answer, { status: 204, body: "" }, "no node: nobody to ask, and no error");
  });

  testWithProcesses("a pod that exits 3 fails its Job, without a second try", async (t, hand) => {
    const job = await hand.createJob("bad", COMMANDS.fail);
    const ended = await hand.untilJob("its end", "bad", isFinished);
    t.equal(condition(ended, "Failed"), "BackoffLimitExceeded");
    t.equal(condition(ended, "FailureTarget"), "BackoffLimitExceeded");
    const pods = await hand.podsOf(job);
    t.equal(pods.length, 1);
    t.equal(pods[0]?.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 3);
  });

  testWithProcesses("a deadline: FailureTarget, the pods go while their log can still be read, then Failed", async (t, hand) => {
    const activeDeadlineSeconds = Math.max(1, (it.outlasts ?? 4) - 1);
    const job = await hand.createJob("late", COMMANDS.lastWords, { activeDeadlineSeconds });
    const target = await hand.untilJob("FailureTarget", "late", (it) => condition(it, "FailureTarget") !== undefined);
    t.equal(condition(target, "FailureTarget"), "DeadlineExceeded");
    const [pod] = await hand.untilPods("its pod under deletion", job, ([it]) => it !== undefined && isDeleting(it));
    t.match((await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log`)).body, /running/);
    t.notOk(isFinished(await hand.job("late")), "not Failed while its pod still ends");
    const failed = await hand.untilJob("its end", "late", isFinished);
    t.equal(condition(failed, "Failed"), "DeadlineExceeded");
    await hand.untilPods("its pods gone", job, none);
  });

  test("a deadline also ends a Job whose pod never got a node", async (t, hand) => {
    const job = await hand.createUnplaced("late", { activeDeadlineSeconds: 2 });
    const failed = await hand.untilJob("its end", "late", isFinished);
    t.equal(condition(failed, "FailureTarget"), "DeadlineExceeded");
    t.equal(condition(failed, "Failed"), "DeadlineExceeded");
    t.equal(failed.status?.active, undefined);
    await hand.untilPods("its pods gone", job, none);
  });

  test("a pod that others delete before it had a node: its Job fails", async (t, hand) => {
    const job = await hand.createUnplaced("robbed");
    const [pod] = await hand.podsOf(job);
    t.equal((await hand.send("DELETE", `${hand.pods}/${pod?.metadata.name}`)).status, 200);
    const failed = await hand.untilJob("its end", "robbed", isFinished);
    t.equal(condition(failed, "Failed"), "BackoffLimitExceeded");
    await hand.untilPods("its pods gone", job, none);
  });

  testWithProcesses("a pod that others delete while it runs: its Job fails", async (t, hand) => {
    const job = await hand.createJob("robbed", COMMANDS.runOn);
    const [pod] = await hand.untilPods("its pod running", job, ([it]) => it?.status?.phase === "Running");
    t.equal((await hand.send("DELETE", `${hand.pods}/${pod?.metadata.name}`)).status, 200);
    const failed = await hand.untilJob("its end", "robbed", isFinished);
    t.equal(condition(failed, "Failed"), "BackoffLimitExceeded");
  });

  testWithProcesses(
    "an image that cannot be pulled leaves the pod waiting and the Job without a condition",
    async (t, _, cluster) => {
      const hand = clientOf(cluster, { image: "registry.invalid/nothing:1" });
      const job = await hand.createJob("no-image", COMMANDS.succeed);
      const waits = (it: Raw | undefined): string => it?.status?.containerStatuses?.[0]?.state?.waiting?.reason ?? "";
      const [pod] = await hand.untilPods("its image missed", job, ([it]) => /^(ErrImagePull|ImagePullBackOff)$/.test(waits(it)));
      t.equal(pod?.status?.phase, "Pending");
      t.notOk(isFinished(await hand.job("no-image")));
      const { metadata } = await hand.list(hand.pods);
      const { events } = await hand.watch(hand.pods, `resourceVersion=${metadata.resourceVersion}&timeoutSeconds=60`);
      await hand.deleteJob("no-image", "Foreground");
      let last: Raw | undefined;
      for await (const { type, object } of events) {
        last = object;
        if (type === "DELETED") break;
      }
      const ended = last?.status?.containerStatuses?.[0]?.state?.terminated;
      t.match(ended, { exitCode: 137, reason: "ContainerStatusUnknown", startedAt: null }, "an end without a beginning");
      await hand.untilPods("its pods gone", job, none);
    },
  );
}

function released({ test }: ReturnType<typeof casesOf>, { image }: Conforming): void {
  test("ttlSecondsAfterFinished takes the pods; the Job stays with its condition until it is released", async (t, hand) => {
    const job = await hand.createJob("swept", COMMANDS.succeed, { ttlSecondsAfterFinished: 0 });
    await hand.untilJob("its deletion by the TTL controller", "swept", (it) => isDeleting(it) && finalizers(it).join() === HOLD);
    t.same(await hand.podsOf(job), []);
    t.ok(isFinished(await hand.job("swept")));
    t.equal((await hand.release("swept")).status, 200);
    await hand.untilJobGone("swept");
  });

  test("a release is one write: the hold off, the time to live on, a foreign finalizer left alone", async (t, hand) => {
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

  test("a release with a time to live of none takes the Job and its pods away", async (t, hand) => {
    const job = await hand.createJob("brief", COMMANDS.succeed);
    await hand.untilJob("its end", "brief", isFinished);
    await hand.release("brief", { spec: { ttlSecondsAfterFinished: 0 } });
    await hand.untilJobGone("brief");
    t.same(await hand.untilPods("its pods gone", job, none), []);
  });

  test("the release that removes a Job still answers with that Job", async (t, hand) => {
    const job = await hand.createUnplaced("leaving");
    await hand.deleteJob("leaving", "Background");
    const { status, body } = await hand.release("leaving");
    t.equal(status, 200);
    t.match(body, { kind: "Job", metadata: { name: "leaving", uid: job.metadata.uid } });
    t.same(finalizers(body as Raw), []);
    await hand.untilJobGone("leaving");
    await hand.untilPods("its pods collected", job, none);
  });
}

function suspended({ test }: ReturnType<typeof casesOf>, { image }: Conforming): void {
  test("an occupant stands without pods, and holds its name", async (t, hand) => {
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

  test("a suspended Job has no pods and no start until it is resumed", async (t, hand) => {
    const job = await hand.createJob("later", COMMANDS.succeed, { suspend: true });
    const stands = await hand.untilJob("Suspended", "later", (it) => condition(it, "Suspended") === "JobSuspended");
    t.equal(stands.status?.startTime, undefined);
    t.same(await hand.podsOf(job), []);
    t.equal((await suspend(hand, "later", false)).status, 200);
    const ended = await hand.untilJob("its end", "later", isFinished);
    t.match(ended, { status: { startTime: String, succeeded: 1 } });
    t.match(
      ended.status?.conditions?.find((it) => it.type === "Suspended"),
      { status: "False", reason: "JobResumed" },
    );
  });

  test("suspending a Job takes its pods, which count neither way; resumed, it makes new ones and starts anew", async (t, hand) => {
    const job = await hand.createUnplaced("paused");
    const [first] = await hand.podsOf(job);
    t.equal((await suspend(hand, "paused", true)).status, 200);
    await hand.untilPods("its pods gone", job, none);
    const stands = await hand.untilJob(
      "Suspended, without pods",
      "paused",
      (it) => condition(it, "Suspended") === "JobSuspended" && it.status?.active === undefined,
    );
    t.equal(stands.status?.failed, undefined);
    await hand.letOthersWork();
    await suspend(hand, "paused", false);
    const [second] = await hand.untilPods("a new pod", job, (pods) => pods.length === 1);
    t.not(second?.metadata.uid, first?.metadata.uid);
    const resumed = await hand.untilJob("its new start", "paused", (it) => it.status?.active === 1);
    const at = (it: Raw): number => Date.parse(it.status?.startTime ?? "");
    t.ok(at(resumed) >= at(job));
    t.equal(resumed.status?.failed, undefined);
  });
}

const suspend = (hand: ReturnType<typeof clientOf>, name: string, to: boolean) =>
  hand.send("PATCH", `${hand.jobs}/${name}`, { contentType: STRATEGIC, body: { spec: { suspend: to } } });

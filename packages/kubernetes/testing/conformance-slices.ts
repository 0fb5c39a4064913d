/** How an Indexed Job counts its indexes, with retries for each of them: what slices of a step are made of. */
import type { Test } from "tap";
import {
  COMMANDS, type Conforming, casesOf, type Client, condition, isFinished, onlyHeld, type Raw,
} from "./conformance-parts.ts"; // biome-ignore format: a list of names

const INDEX = "batch.kubernetes.io/job-completion-index";
const FAILURES = "batch.kubernetes.io/job-index-failure-count";

/** Each index has its own retries: the Job's own limit would count the failures of all. */
const indexed = (completions: number, more: object = {}): object => ({
  completionMode: "Indexed",
  completions,
  parallelism: completions,
  backoffLimit: undefined,
  backoffLimitPerIndex: 0,
  ...more,
});

const byIndex = (script: string): readonly string[] => ["sh", "-c", `case $JOB_COMPLETION_INDEX in ${script} esac`];
const indexOf = ({ metadata }: Raw): string | undefined => metadata.annotations?.[INDEX];
const ended = (hand: Client, name: string): Promise<Raw> => hand.untilJob("its end", name, isFinished);

export async function slices(t: Test, it: Conforming): Promise<void> {
  const { test, testWithProcesses, settled } = casesOf(t, it);

  test("all indexes succeed, two at a time: Complete, and the indexes are told as intervals", async (t, hand) => {
    const job = await hand.createJob("all", COMMANDS.succeed, indexed(5, { parallelism: 2, maxFailedIndexes: 0 }));
    const whole = await ended(hand, "all");
    t.equal(condition(whole, "Complete"), "CompletionsReached");
    t.match(whole, { status: { succeeded: 5, completedIndexes: "0-4", failedIndexes: "" } });
    const pods = await hand.podsOf(job);
    t.same(new Set(pods.map(indexOf)), new Set(["0", "1", "2", "3", "4"]));
    for (const { metadata } of pods) {
      t.equal(metadata.labels?.[INDEX], metadata.annotations?.[INDEX]);
      t.equal(metadata.annotations?.[FAILURES], "0");
      t.ok(metadata.name.startsWith(`all-${metadata.annotations?.[INDEX]}-`));
    }
  });

  test("no index at all: Complete, without a pod", async (t, hand) => {
    const job = await hand.createJob("none", COMMANDS.succeed, indexed(0, { parallelism: 1, maxFailedIndexes: 0 }));
    t.equal(condition(await ended(hand, "none"), "Complete"), "CompletionsReached");
    t.same(await hand.podsOf(job), []);
  });

  test("limits of indexes: what is refused", async (t, hand) => {
    const refused = async (name: string, spec: object, field: string) => {
      const answer = await hand.send("POST", hand.jobs, { body: bodyOf(name, it.image, spec) });
      t.match(answer, { status: 422, body: { details: { causes: [{ field }] } } }, name);
    };
    await refused("more-than-all", indexed(2, { maxFailedIndexes: 3 }), "spec.maxFailedIndexes");
    await refused("no-limit", indexed(2, { backoffLimitPerIndex: undefined, maxFailedIndexes: 1 }), "spec.backoffLimitPerIndex");
    await refused("not-indexed", { backoffLimitPerIndex: 0 }, "spec.backoffLimitPerIndex");
  });

  testWithProcesses(
    "as many indexes fail as may: Failed, with the reason FailedIndexes, once all have ended",
    async (t, hand) => {
      const job = await hand.createJob("some", byIndex("1) exit 3;; *) sleep 2;;"), indexed(3, { maxFailedIndexes: 1 }));
      const failed = await ended(hand, "some");
      t.equal(condition(failed, "Failed"), "FailedIndexes");
      t.equal(condition(failed, "FailureTarget"), "FailedIndexes");
      t.equal(condition(failed, "Complete"), undefined);
      t.match(failed, { status: { succeeded: 2, failed: 1, completedIndexes: "0,2", failedIndexes: "1" } });
      const phases = (await hand.podsOf(job)).map((pod) => `${indexOf(pod)} ${pod.status?.phase}`);
      t.same(phases.sort(), ["0 Succeeded", "1 Failed", "2 Succeeded"]);
    },
  );

  testWithProcesses(
    "one index too many fails: MaxFailedIndexesExceeded, and those that are ended have not failed",
    async (t, hand) => {
      const job = await hand.createJob("many", byIndex("0) exit 3;; *) exec sleep 600;;"), indexed(3, { maxFailedIndexes: 0 }));
      const failed = await ended(hand, "many");
      t.equal(condition(failed, "Failed"), "MaxFailedIndexesExceeded");
      t.equal(condition(failed, "FailureTarget"), "MaxFailedIndexesExceeded");
      t.match(failed, { status: { failedIndexes: "0" } });
      t.equal(failed.status?.completedIndexes ?? "", "");
      const left = await hand.untilPods("the others gone", job, (pods) => pods.length === 1);
      t.same(left.map(indexOf), ["0"]);
    },
  );

  testWithProcesses("an index is tried again by itself, and the pod says how often it failed before", async (t, hand) => {
    const job = await hand.createJob(
      "again",
      byIndex("1) exit 4;; *) exit 0;;"),
      indexed(2, { backoffLimitPerIndex: 1, maxFailedIndexes: 1 }),
    );
    const failed = await ended(hand, "again");
    t.equal(condition(failed, "Failed"), "FailedIndexes");
    t.match(failed, { status: { failed: 2, completedIndexes: "0", failedIndexes: "1" } });
    const pods = await hand.podsOf(job);
    t.same(pods.map((pod) => `${indexOf(pod)} ${pod.metadata.annotations?.[FAILURES]}`).sort(), ["0 0", "1 0", "1 1"]);
  });

  testWithProcesses("a deletion while indexes run: none of them counts as failed, and there is no condition", async (t, hand) => {
    const job = await hand.createJob("gone", byIndex("0) exit 3;; *) exec sleep 600;;"), indexed(3, { maxFailedIndexes: 2 }));
    await hand.untilJob("its first failure", "gone", ({ status }) => status?.failedIndexes === "0");
    await hand.deleteJob("gone", "Foreground");
    await hand.untilPods("its pods gone", job, (pods) => pods.length === 0);
    const left = await hand.untilJob("only our hold", "gone", onlyHeld);
    t.notOk(isFinished(left));
    t.equal(left.status?.failedIndexes, "0");
    await hand.letOthersWork();
    t.notOk(isFinished(await hand.job("gone")), "also not later");
  });

  testWithProcesses("a pod's program reads its index, and a list from a file", async (t, hand) => {
    const field = (name: string) => ({ fieldRef: { fieldPath: `metadata.annotations['${name}']` } });
    const command = ["sh", "-c", 'cat /longshore/items.json; echo " $SLICE $JOB_COMPLETION_INDEX"'];
    const containers = [
      {
        name: "main",
        image: it.image,
        command,
        env: [{ name: "SLICE", valueFrom: field(INDEX) }],
        volumeMounts: [{ name: "items", mountPath: "/longshore", readOnly: true }],
      },
    ];
    const volumes = [{ name: "items", downwardAPI: { items: [{ path: "items.json", ...field("example.org/items") }] } }];
    const metadata = { annotations: { "example.org/items": '["a","$(HOME)"]' } };
    const template = { metadata, spec: { restartPolicy: "Never", containers, volumes } };
    const job = await hand.createJob("reads", [], indexed(2, { template }));
    await ended(hand, "reads");
    const pod = (await hand.podsOf(job)).find((it) => indexOf(it) === "1");
    const { body } = await hand.send("GET", `${hand.pods}/${pod?.metadata.name}/log?container=main`);
    t.equal(String(body).trim(), '["a","$(HOME)"] 1 1');
  });

  await settled();
}

const bodyOf = (name: string, image: string, spec: object): object => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name },
  spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image }] } }, ...spec },
});

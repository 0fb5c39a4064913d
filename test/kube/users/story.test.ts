/**
 * The README's promises on a node that runs real containers. A run's log and exit code come back; a Job that is deleted while
 * it runs ends with its pod; no hold of ours is left.
 */
// needs kubernetes, rabbitmq, node
// runs at most 10 min
import t from "tap";
import { HOLD } from "@longshore/domain/run/marks.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { jobOf, kubectl, podsOf, sent } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "real", shared: true });
const cluster = only(cloud.clusters);
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [cluster] });
const { site } = system;
await using _watcher = await system.watcher();
await using launcher = await system.launcher();

const sh = (text: string): object => ({ image: BUSYBOX, command: ["sh", "-c", text] });
const dataOf = (event: { readonly data: unknown }) =>
  event.data as {
    readonly log?: { readonly state: string; readonly tail: string };
    readonly outputs?: object;
    readonly exitCode?: number;
    readonly diagnosis?: { readonly code: string; readonly sentence: string };
  };

await t.test("a container's words and its outputs are in the run's end", async (t) => {
  await sent(system, ["story/greets"], sh(`echo "hello from a container"; printf '{"rows":3}' > /dev/termination-log`));
  const { log, outputs } = dataOf(await system.heard("run.succeeded", "story/greets", 120_000));
  t.match(log, { state: "complete", tail: /hello from a container/ });
  t.same(outputs, { rows: 3 });
  t.same(await system.faults(["story/greets"]), []);
});

await t.test("a value reaches the program as it was written, and shows no variable", async (t) => {
  await sent(system, ["story/values"], {
    image: BUSYBOX,
    parameters: { said: "$(SECRET) $$(SECRET) $", secret: "s3cret" },
    env: { SECRET: "${{ parameters.secret }}", SAID: "${{ parameters.said }}" },
    command: ["sh", "-c", 'echo "$0|$1|$2|$SAID"'],
    args: ["${{ parameters.said }}", "${{ parameters.said }}(SECRET)", "$(SECRET)"],
  });
  const { log } = dataOf(await system.heard("run.succeeded", "story/values", 120_000));
  const said = "$(SECRET) $$(SECRET) $";
  t.equal(log?.tail, `${said}|${said}(SECRET)|s3cret|${said}\n`);
});

await t.test("an output decides what runs next and how; init containers and scratch space are there before", async (t) => {
  await sent(system, ["story/steps"], {
    parameters: { tidy: false },
    outputs: { rows: "${{ steps.use.outputs.rows }}", none: "${{ steps.tidy.outputs.left }}" },
    steps: [
      {
        name: "load",
        ...sh(`printf '{"rows":%s,"more":true}' "$(cat /scratch/rows)" > /dev/termination-log`),
        init: [{ name: "prepare", ...sh("echo 3 > /scratch/rows") }],
        scratch: [{ path: "/scratch", size: "1Mi" }],
        outputs: ["rows", "more"],
      },
      { name: "tidy", ...sh("exit 9"), if: "${{ parameters.tidy }}", outputs: ["left"] },
      {
        name: "use",
        needs: ["load", "tidy"],
        if: "${{ steps.load.outputs.more }}",
        image: BUSYBOX,
        env: { ROWS: "${{ steps.load.outputs.rows }}", LEFT: "${{ steps.tidy.outputs.left }}" },
        command: ["sh", "-c", `test -z "\${LEFT+set}" && printf '{"rows":%s}' $ROWS > /dev/termination-log`],
        outputs: ["rows"],
      },
    ],
  });
  t.same(dataOf(await system.heard("run.succeeded", "story/steps", 180_000)).outputs, { rows: 3, none: null });
  t.same(await system.faults(["story/steps"]), []);
});

await t.test("an annotation that is written on the pod is an output; one that is not written fails the step", async (t) => {
  const outputs = { annotations: ["project_id", "example.org/readme"] };
  for (const [run, written] of [
    ["story/annotated", ["project_id=p-1", "example.org/readme=with spaces"]],
    ["story/half-annotated", ["project_id=p-1"]],
  ] as const) {
    await sent(system, [run], { ...sh("sleep 15"), outputs });
    await system.heard("run.started", run, 120_000);
    const of = `job-name=${await jobOf(system, run)}`;
    await kubectl(cluster, site, "annotate", "pod", "-l", of, ...written);
  }
  t.same(dataOf(await system.heard("run.succeeded", "story/annotated", 120_000)).outputs, {
    project_id: "p-1",
    "example.org/readme": "with spaces",
  });
  t.match(dataOf(await system.heard("run.failed", "story/half-annotated", 120_000)).diagnosis, {
    code: "OutputsLost",
    sentence: '"example.org/readme"',
  });
});

await t.test("a program that fails: its exit code and its last words", async (t) => {
  await sent(system, ["story/fails"], sh("echo 'no such order' >&2; exit 7"));
  const { log, exitCode, diagnosis } = dataOf(await system.heard("run.failed", "story/fails", 120_000));
  t.match({ log, exitCode, code: diagnosis?.code }, { log: { tail: /no such order/ }, exitCode: 7, code: "ExitCode" });
  t.same(await system.faults(["story/fails"]), []);
});

await t.test(
  "kubectl delete job while it runs, as kubectl does unless told: pod and Job end, the run fails with DeletedExternally",
  async (t) => {
    await sent(system, ["story/deleted"], sh("echo working; trap 'exit 0' TERM; sleep 600 & wait"));
    await system.heard("run.started", "story/deleted", 120_000);
    const job = await jobOf(system, "story/deleted");
    await kubectl(cluster, site, "delete", "job", job, "--wait=true", "--timeout=60s");
    const { diagnosis } = dataOf(await system.heard("run.failed", "story/deleted"));
    t.equal(diagnosis?.code, "DeletedExternally");
    t.same(await podsOf(site, job), [], "its pod is gone");
    t.same(await system.faults(["story/deleted"]), []);
  },
);

await t.test("a cancel while it runs: cancelled when the container is gone, not before", async (t) => {
  await sent(system, ["story/cancelled"], sh("trap 'sleep 2; exit 0' TERM; echo working; sleep 600 & wait"));
  await system.heard("run.started", "story/cancelled", 120_000);
  await system.command("run.cancel", { run: "story/cancelled", reason: "changed my mind" });
  const { log } = dataOf(await system.heard("run.cancelled", "story/cancelled"));
  t.match(log, { tail: /working/ }, "what it had printed when the cancel came is told");
  t.same(await podsOf(site, await jobOf(system, "story/cancelled")), [], "its pod is gone");
  t.same(await system.faults(["story/cancelled"]), []);
});

await t.test("a deadline: what the program had printed by then, and how long it was allowed", async (t) => {
  await sent(system, ["story/slow"], { ...sh("echo 'still counting'; exec sleep 600"), deadline: "3s", grace: "1s" });
  const { log, diagnosis } = dataOf(await system.heard("run.failed", "story/slow", 120_000));
  t.match(log, { tail: /still counting/ });
  t.match(diagnosis, { code: "DeadlineExceeded", sentence: "It ran longer than its deadline of 3s." });
  t.same(await system.faults(["story/slow"]), []);
});

await t.test("kill -9 of the launcher while a container runs: another tells how it ended", async (t) => {
  await sent(system, ["story/survives"], sh("sleep 4; echo survived"));
  await system.heard("run.started", "story/survives", 120_000);
  launcher.signal("SIGKILL");
  await launcher.ended;
  await using _other = await system.launcher();
  t.match(dataOf(await system.heard("run.succeeded", "story/survives", 120_000)).log, { tail: /survived/ });
  t.same(await system.faults(["story/survives"]), []);
});

await t.test("no hold of ours is left on any Job", async (t) => {
  const { items } = JSON.parse(await kubectl(cluster, site, "get", "jobs", "-o", "json")) as {
    items: { metadata: { name: string; finalizers?: string[] } }[];
  };
  t.same(
    items.filter(({ metadata }) => metadata.finalizers?.includes(HOLD)).map(({ metadata }) => metadata.name),
    [],
  );
});

/**
 * People with kubectl, and controllers, act on our Jobs: deletions of every kind, stripped holds, suspensions, conditions that
 * we do not know, copies and restores. On a real control plane; the recorded history is judged. (Faults 11, 39–42, 44 in
 * GUARANTEES.md.)
 */
// needs kubernetes, rabbitmq
// runs at most 10 min
import t from "tap";
import { ANNOTATIONS, HOLD } from "@longshore/domain/run/marks.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { attemptOf, jobOf, kubectl, lasting, podsOf, quick, sent, type Shown, shown, stripped } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "simulated", shared: true });
const cluster = only(cloud.clusters);
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [cluster] });
const { site } = system;
await using _launcher = await system.launcher();

const codeOf = (data: unknown): unknown => (data as { diagnosis?: { code?: string } }).diagnosis?.code;

for (const cascade of ["background", "foreground", "orphan"]) {
  for (const watched of [true, false]) {
    const when = watched ? "while it runs" : "while it runs and nobody watches";
    await t.test(
      `kubectl delete job --cascade=${cascade} ${when}: pod and Job go, and the run fails with DeletedExternally`,
      async (t) => {
        const run = `deleted/${cascade}-${watched}`;
        await using early = await system.watcher();
        await sent(system, [run], lasting("300s"));
        await system.heard("run.started", run);
        if (!watched) await early.stop();
        const job = await jobOf(system, run);
        await kubectl(cluster, site, "delete", "job", job, `--cascade=${cascade}`, "--wait=false");
        await using _late = watched ? undefined : await system.watcher();
        t.equal(codeOf((await system.heard("run.failed", run)).data), "DeletedExternally");
        await system.until(
          "the Job to go",
          async () => !(await shown(site, "jobs")).some(({ metadata }) => metadata.name === job),
        );
        t.same(await podsOf(site, job), [], "no pod is left");
        t.same(await system.faults([run]), []);
      },
    );
  }
}

await using _watcher = await system.watcher();

await t.test("an administrator strips the hold of a Job that runs: it is put back, and the outcome is recorded", async (t) => {
  const run = "stripped/once";
  await sent(system, [run], lasting("12s"));
  await system.heard("run.started", run);
  const job = await jobOf(system, run);
  await site.ask("PATCH", `jobs/${job}`, stripped);
  const isHeld = async (): Promise<boolean> =>
    ((await site.ask("GET", `jobs/${job}`)) as Shown).metadata.finalizers?.includes(HOLD) === true;
  await system.until("the hold to be back", isHeld);
  t.equal((await system.heard("run.succeeded", run)).type, "run.succeeded");
  t.same(await system.faults([run]), []);
});

await t.test(
  "an administrator strips the hold and deletes the Job while it runs: the run ends as what it is, and nothing runs on",
  async (t) => {
    const run = "stripped/deleted";
    await sent(system, [run], lasting("300s"));
    await system.heard("run.started", run);
    const job = await jobOf(system, run);
    await site.ask("PATCH", `jobs/${job}`, stripped);
    await kubectl(cluster, site, "delete", "job", job, "--wait=false");
    await system.ended([run]);
    const { outcome } = await attemptOf(system, run);
    t.match(outcome?.result, /deleted|lost/, "nobody says that it succeeded, or failed by itself");
    t.same(await podsOf(site, job), [], "no pod is left");
    t.same(await system.faults([run]), []);
  },
);

await t.test("a Job is suspended and resumed five times: its run goes on and succeeds", async (t) => {
  const run = "flapping/one";
  await sent(system, [run], lasting("4s"));
  await system.heard("run.started", run);
  const job = await jobOf(system, run);
  for (let times = 0; times < 5; times++) {
    await site.ask("PATCH", `jobs/${job}`, { spec: { suspend: true } });
    await system.until("its pod to go", async () => (await podsOf(site, job)).length === 0);
    await site.ask("PATCH", `jobs/${job}`, { spec: { suspend: false } });
    await system.until("a pod", async () => (await podsOf(site, job)).length === 1);
  }
  t.equal((await system.heard("run.succeeded", run)).type, "run.succeeded");
  t.same(await system.faults([run]), []);
});

await t.test("a condition that nobody knows is no end: the run ends when its Job does", async (t) => {
  const run = "unknown/condition";
  await sent(system, [run], lasting("4s"));
  await system.heard("run.started", run);
  const condition = { type: "example.org/Sparkling", status: "True", reason: "Because", message: "It sparkles." };
  await site.ask("PATCH", `jobs/${await jobOf(system, run)}/status`, { status: { conditions: [condition] } });
  t.equal((await system.heard("run.succeeded", run)).type, "run.succeeded");
  t.same(await system.faults([run]), []);
});

/** Copies a Job as a person with kubectl does: without the fields that the API server set. */
function copyOf({ metadata, spec }: Shown, name = metadata.name): object {
  const { selector: _selector, template, ...rest } = spec as { selector: object; template: { metadata: { labels: object } } };
  const own = /controller-uid|job-name/;
  const labels = Object.fromEntries(Object.entries(template.metadata.labels).filter(([key]) => !own.test(key)));
  const { labels: marks = {}, annotations = {}, finalizers = [] } = metadata;
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: {
      name,
      annotations,
      finalizers,
      labels: Object.fromEntries(Object.entries(marks).filter(([key]) => !own.test(key))),
    },
    spec: { ...rest, template: { ...template, metadata: { ...template.metadata, labels } } },
  };
}

await t.test(
  "copies of a Job under other names: with its proof it is deleted on sight, with our labels alone never touched",
  async (t) => {
    const run = "copied/one";
    await sent(system, [run], lasting("6s", 3));
    await system.heard("run.started", run);
    const job = (await site.ask("GET", `jobs/${await jobOf(system, run)}`)) as Shown;
    await site.ask("POST", "jobs", copyOf(job, "with-proof"));
    const { [ANNOTATIONS.proof]: _proof, ...annotations } = job.metadata.annotations ?? {};
    await site.ask("POST", "jobs", copyOf({ ...job, metadata: { ...job.metadata, annotations } }, "without-proof"));
    t.equal((await system.heard("run.failed", run)).data["exitCode"], 3, "the run's own end was told");
    await system.until(
      "the copy with the proof to go",
      async () => !(await shown(site, "jobs")).some(({ metadata }) => metadata.name === "with-proof"),
    );
    t.same(await system.faults([run]), []);
    const touched = (await site.asked()).filter(
      (it) => it.name === "without-proof" && it.user === site.launcher && it.verb !== "get",
    );
    t.same(touched, [], "we did nothing to the copy that only has our labels");
  },
);

await t.test("a Job is restored from a backup after its run is done: deleted on sight, and no event follows", async (t) => {
  const run = "restored/one";
  await sent(system, [run], lasting("1s"));
  await system.heard("run.succeeded", run);
  await system.until("the end of all work on it", async () => (await attemptOf(system, run)).state === "done");
  const name = await jobOf(system, run);
  const job = (await site.ask("GET", `jobs/${name}`)) as Shown;
  await kubectl(cluster, site, "delete", "job", name, "--wait=true");
  await site.ask("POST", "jobs", copyOf({ ...job, metadata: { ...job.metadata, finalizers: [HOLD] } }));
  await system.until(
    "the restored Job to go",
    async () => !(await shown(site, "jobs")).some(({ metadata }) => metadata.name === name),
  );
  t.same(await podsOf(site, name), [], "no pod of it is left");
  t.same(await system.faults([run]), []);
});

await t.test("quick runs go on beside all this", async (t) => {
  await sent(system, ["beside/1", "beside/2"], quick);
  t.same(await system.faults(["beside/1", "beside/2"]), []);
});

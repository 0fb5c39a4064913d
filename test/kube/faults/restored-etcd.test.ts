/**
 * A cluster's memory is put back to an earlier moment. Jobs made since then are gone, others are back as they were, and
 * versions count up again from their old values. No end that is told is false, and the watcher goes on. (Fault 19 in
 * GUARANTEES.md.)
 */
// needs kubernetes, rabbitmq
// runs at most 10 min
import t from "tap";
import { only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { openSystem } from "../../harness/system.ts";
import { attemptOf, jobOf, lasting, names, quick, sent, shown } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "simulated" });
const cluster = only(cloud.clusters);
await using system = await openSystem({ brokerUrl: rabbit.url, clusters: [cluster] });
const { site } = system;
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

await t.test("etcd is restored from an older snapshot while runs are at every stage: what is told is true", async (t) => {
  const [done, running, since, vanishing] = [names("done", 5), names("running", 5), names("since", 5), names("vanishing", 5)];
  await sent(system, done, quick);
  await Promise.all(done.map((run) => system.heard("run.succeeded", run)));
  await sent(system, running, lasting("45s"));
  await Promise.all(running.map((run) => system.heard("run.started", run)));
  const then = await cluster.snapshot();
  await sent(system, since, quick);
  await Promise.all(since.map((run) => system.heard("run.succeeded", run)));
  await sent(system, vanishing, lasting("300s"));
  await Promise.all(vanishing.map((run) => system.heard("run.started", run)));
  for (let n = 0; n < 300; n++)
    await site.ask("PATCH", "serviceaccounts/default", { metadata: { annotations: { times: String(n) } } });
  system.restored(site.group);
  await cluster.restore(then);

  await system.ended(vanishing, 120_000);
  // If the watcher tells of the missing Job first, the outcome is "deleted"; if the tally finds it first, the outcome is
  // "lost".
  t.ok(
    (await outcomes(vanishing)).every((it) => it === "deleted" || it === "lost"),
    "of what vanished nobody says that it ended by itself",
  );
  await sent(system, ["after/1", "after/2"], lasting("1s"));
  for (const run of ["after/1", "after/2"])
    t.equal((await system.heard("run.succeeded", run, 120_000)).type, "run.succeeded", "a new run is seen");
  await Promise.all(running.map((run) => system.heard("run.succeeded", run, 120_000)));
  t.same(await outcomes(since), Array(5).fill("succeeded"), "what had succeeded has");
  t.same(await system.faults([...done, ...running, ...since, ...vanishing, "after/1", "after/2"]), []);
});

await t.test(
  "Jobs come back with their holds after their runs were done: they are let go again, and nothing is told twice",
  async (t) => {
    const runs = names("back", 5);
    await sent(system, runs, lasting("6s"));
    await Promise.all(runs.map((run) => system.heard("run.started", run)));
    const then = await cluster.snapshot();
    await Promise.all(runs.map((run) => system.heard("run.succeeded", run)));
    const isDone = async (): Promise<boolean> =>
      (await Promise.all(runs.map((run) => attemptOf(system, run)))).every(({ state }) => state === "done");
    await system.until("the end of all work on them", isDone);
    await cluster.restore(then);
    const ours = new Set(await Promise.all(runs.map((run) => jobOf(system, run))));
    const isLetGo = async (): Promise<boolean> =>
      (await shown(site, "jobs").catch(() => undefined))?.every(
        ({ metadata }) => !ours.has(metadata.name) || metadata.finalizers === undefined,
      ) === true;
    await system.until("their holds to be taken off again", isLetGo, 120_000);
    t.same(await system.faults(runs), []);
  },
);

async function outcomes(runs: readonly string[]): Promise<readonly unknown[]> {
  return await Promise.all(runs.map(async (run) => (await attemptOf(system, run)).outcome?.result));
}

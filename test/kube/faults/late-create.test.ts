/**
 * A create arrives late: after the run was cancelled, before or after an occupant takes its name, or after the Job of a later
 * claim has ended and was taken away. On a real API server, through a proxy that holds the create. (Fault 6 in GUARANTEES.md.)
 */
// needs kubernetes, rabbitmq
// runs at most 10 min
import t from "tap";
import { LABELS } from "@longshore/domain/run/marks.ts";
import { isCreate, wiredByTls } from "../../chaos/bodies/reply-lost.ts";
import { only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { rabbitmq } from "../../harness/rabbitmq/server.ts";
import { attemptOf, jobOf, kubectl, lasting, podsOf, quick, sent, type Shown, shown, stripped } from "../person.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using cloud = await kubernetes({ nodes: "simulated", shared: true });
const cluster = only(cloud.clusters);
await using it = await wiredByTls({ brokerUrl: rabbit.url, clusters: [cluster] });
const { system, proxy } = it;
const { site } = system;
await using _watcher = await system.watcher();
await using _launcher = await system.launcher();

const jobs = async (name: string): Promise<readonly Shown[]> =>
  (await shown(site, "jobs")).filter(({ metadata }) => metadata.name === name);
const occupantOf = async (name: string): Promise<Shown | undefined> =>
  (await jobs(name)).find(({ metadata }) => metadata.labels?.[LABELS.occupant] === "true");
const answers = async (name: string, status: number): Promise<number> =>
  (await system.created(status)).filter((made) => made.name === name).length;

await t.test("a create lands after the cancel, on the occupant of its name: 409, and nothing runs", async (t) => {
  const run = "late/occupied";
  const gate = Promise.withResolvers<void>();
  const held = proxy.cause(isCreate, { kind: "held", until: gate.promise });
  await sent(system, [run], quick);
  await held;
  await system.command("run.cancel", { run, reason: "changed my mind" });
  await system.heard("run.cancelled", run);
  const name = await jobOf(system, run);
  t.ok(await occupantOf(name), "an occupant stands there");
  gate.resolve();
  await system.until("the late create's answer", async () => (await answers(name, 409)) > 0);
  t.same(await podsOf(site, name), [], "no pod of it");
  t.same(await system.faults([run]), []);
});

await t.test(
  "a create lands after the cancel and before the occupant: its Job is deleted, and then the run is cancelled",
  async (t) => {
    const run = "late/first";
    const gate = Promise.withResolvers<void>();
    const held = proxy.cause(isCreate, { kind: "held", until: gate.promise });
    await sent(system, [run], lasting("300s"));
    await held;
    const occupant = Promise.withResolvers<void>();
    const second = proxy.cause(isCreate, { kind: "held", until: occupant.promise });
    await system.command("run.cancel", { run, reason: "changed my mind" });
    await second; // the create of the occupant or of the next claim has been sent, but has not arrived
    const name = await jobOf(system, run);
    gate.resolve();
    await system.until("the late Job", async () => (await answers(name, 201)) > 0);
    occupant.resolve();
    await system.heard("run.cancelled", run);
    t.same(await podsOf(site, name), [], "no pod of it is left");
    t.same(await system.faults([run]), []);
  },
);

await t.test(
  "a create lands when its Job has ended and was deleted: the hold still has the name, and nothing runs again",
  async (t) => {
    const run = "late/ended";
    const gate = Promise.withResolvers<void>();
    const held = proxy.cause(isCreate, { kind: "held", until: gate.promise });
    await sent(system, [run], quick);
    await held;
    await system.heard("run.succeeded", run); // the next claim's create made the Job
    const { name, state } = await attemptOf(system, run);
    t.equal(state, "ended", "it is not done, since a create of it may land");
    await kubectl(cluster, site, "delete", "job", name, "--wait=false");
    const before = (await podsOf(site, name)).map(({ metadata }) => metadata.uid);
    gate.resolve();
    await system.until("the late create's answer", async () => (await answers(name, 409)) > 0);
    const others = (await podsOf(site, name)).filter(({ metadata }) => !before.includes(metadata.uid));
    t.same(others, [], "no other pod of it; the one that ended may be gone with its Job");
    t.same(await system.faults([run]), []);
  },
);

await t.test(
  "a create lands when its Job was taken away by force while it ran: an occupant has the name, and nothing runs again",
  async (t) => {
    const run = "late/forced";
    const gate = Promise.withResolvers<void>();
    const held = proxy.cause(isCreate, { kind: "held", until: gate.promise });
    await sent(system, [run], lasting("300s"));
    await held;
    await system.heard("run.started", run); // the next claim's create made the Job
    const { name, uid } = await attemptOf(system, run);
    // First the deletion: the launcher puts a stripped hold back, unless the Job is being deleted.
    await kubectl(cluster, site, "delete", "job", name, "--wait=false");
    await site.ask("PATCH", `jobs/${name}`, stripped);
    await system.until("an occupant", async () => (await occupantOf(name)) !== undefined);
    gate.resolve();
    await system.until("the late create's answer", async () => (await answers(name, 409)) > 0);
    t.notOk(
      (await jobs(name)).some(({ metadata }) => metadata.uid === uid),
      "the Job that ran is gone",
    );
    t.same(await podsOf(site, name), [], "no pod of it");
    t.same(await system.faults([run]), []);
  },
);

await t.test(
  "a create lands while the retry of its attempt runs, and somebody deleted its Job: the hold still has the name",
  async (t) => {
    const run = "late/retried";
    const gate = Promise.withResolvers<void>();
    const held = proxy.cause(isCreate, { kind: "held", until: gate.promise });
    const retries = { max: 1, on: ["failure"], backoff: { first: "1s", most: "1s" } };
    await sent(system, [run], { ...lasting("20s", 3), retries });
    await held;
    await system.heard("run.attempt.failed", run); // the next claim's create made the Job
    const { name } = await attemptOf(system, run, 0);
    const before = (await podsOf(site, name)).map(({ metadata }) => metadata.uid);
    await system.until("the retry's Job", async () => {
      const { n, uid } = await attemptOf(system, run);
      return n === 2 && uid !== undefined;
    });
    await kubectl(cluster, site, "delete", "job", name, "--wait=false");
    gate.resolve();
    await system.until("the late create's answer", async () => (await answers(name, 409)) > 0);
    t.match(await attemptOf(system, run), { n: 2, state: "live" }, "the retry runs");
    const others = (await podsOf(site, name)).filter(({ metadata }) => !before.includes(metadata.uid));
    t.same(others, [], "no other pod of the first attempt");
    t.same(await system.faults([run]), []);
  },
);

await t.test("the creates of ten runs are held, all of them land after their claims ran out: each ran once", async (t) => {
  const gate = Promise.withResolvers<void>();
  const runs = Array.from({ length: 10 }, (_, n) => `late/many-${n}`);
  const held = proxy.cause(isCreate, { kind: "held", until: gate.promise }, runs.length);
  await sent(system, runs, quick);
  await held;
  await system.ended(runs);
  gate.resolve();
  const late = async (): Promise<number> =>
    (await Promise.all(runs.map(async (run) => answers(await jobOf(system, run), 409)))).reduce((a, b) => a + b, 0);
  await system.until("ten late answers", async () => (await late()) >= runs.length);
  t.same(await system.faults(runs), []);
});

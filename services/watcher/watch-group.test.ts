import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Cluster } from "@longshore/kubernetes/clusters.ts";
import { openLog } from "@longshore/runtime/log.ts";
import { openMetrics } from "@longshore/runtime/metrics.ts";
import type { Parts } from "./parts.ts";

import t from "tap";
import { GROUP, isEnd, isOver, NAMESPACE, never, watching } from "./testing/watching.ts";

t.test("tells what a Job does, in order, and its end with log and exit code", async (t) => {
  const it = await watching(t, { startsAfterMs: 1_000, runsMs: 5_000, exitCode: 3, log: "one\ntwo\n" });
  const watch = it.watch();
  await it.create("a");
  await it.until(() => it.facts().some(isEnd));
  t.same(it.facts(), ["a job.started", "a job.ended"]);
  t.match(it.told.at(-1), {
    data: { condition: "Failed", evidence: { exitCode: 3, log: { state: "complete", tail: "one\ntwo\n" } } },
  });
  t.equal(await watch.stop(), "stopped");
});

t.test("an end that comes late is told with the log of a pod that is gone by then", async (t) => {
  const it = await watching(t, { startsAfterMs: 1_000, runsMs: 5_000, exitCode: 3, log: "one\ntwo\n" });
  let isPodGone = false;
  it.watch(
    {},
    {
      follow: async function* (asked) {
        for await (const change of it.cluster.follow(asked)) {
          if (asked.kind === "jobs" && change.kind === "seen" && isOver(change.object)) {
            await it.clock.sleep(5_000);
            isPodGone = true;
          }
          yield change;
        }
      },
      tailLog: async (asked, signal) =>
        isPodGone ? { state: "unavailable", lines: 0, tail: "" } : await it.cluster.tailLog(asked, signal),
    },
  );
  await it.create("a");
  await it.until(() => it.facts().some(isEnd));
  t.match(it.told.at(-1), { data: { evidence: { log: { state: "complete", tail: "one\ntwo\n" } } } });
});

t.test("a pod that ended without having started, and went while a fact was on its way, still says so", async (t) => {
  const it = await watching(t, { waits: { reason: "ErrImagePull", message: "not found" } });
  const onItsWay = Promise.withResolvers<void>();
  it.watch({ fail: () => onItsWay.promise });
  const job = await it.create("a");
  await it.clock.sleep(5_000);
  const path = `/api/v1/namespaces/${NAMESPACE}/pods`;
  const pods = await it.cluster.read.podsOf(job, never);
  for (const pod of pods.kind === "listed" ? pods.items : []) {
    const { metadata } = pod as { readonly metadata: { readonly name: string } };
    await it.pocket.transport().send({ method: "DELETE", path: `${path}/${metadata.name}` }, never);
  }
  await it.clock.sleep(30_000);
  t.same(await it.cluster.read.podsOf(job, never), { kind: "listed", items: [] });
  onItsWay.resolve();
  await it.until(() => it.facts().some(isEnd));
  t.match(it.told.at(-1), { type: "job.ended", data: { condition: "Failed", evidence: { started: "no" } } });
});

t.test("repeats an end while the hold stands, and is silent when it is released", async (t) => {
  const it = await watching(t);
  it.watch();
  await it.create("a");
  await it.until(() => it.facts().filter(isEnd).length === 3);
  await it.release("a");
  await it.clock.sleep(1_000);
  const before = it.facts().length;
  await it.clock.sleep(30 * 60_000);
  t.equal(it.facts().length, before, "also when the Job is gone");
});

t.test(
  "a group that is polled is told of in the same words, without a single watch, and its heartbeats stay young",
  async (t) => {
    const it = await watching(t, { startsAfterMs: 1_000, runsMs: 30_000, exitCode: 3, log: "one\n" }, 10_000);
    it.watch();
    await it.create("a");
    await it.until(() => it.facts().some(isEnd));
    t.same(it.facts(), ["a job.started", "a job.ended"]);
    t.match(it.told.at(-1), { data: { condition: "Failed", evidence: { exitCode: 3, log: { tail: "one\n" } } } });
    await it.release("a");
    await it.clock.sleep(120_000);
    t.equal(it.facts().length, 2, "also when the Job is gone");
    t.same(it.pocket.requests().filter(({ path }) => path.includes("watch=true")), []); // biome-ignore format: one call
    const stale = it.told.flatMap(({ type, data }) => (type === "group.watched" ? [Number(data["staleSeconds"])] : []));
    t.ok(stale.length > 5 && stale.every((seconds) => seconds <= 11), stale.join(" "));
  },
);

t.test("logs a failure once, with its cause and nothing that the program wrote, and no success", async (t) => {
  const lines: string[] = [];
  const log = openLog("watcher", { level: "info", format: "json" }, { write: (line) => lines.push(line) });
  for (const exitCode of [0, 3]) {
    const it = await watching(t, { startsAfterMs: 1_000, runsMs: 5_000, exitCode, log: "CANARY\n", message: "CANARY" });
    it.watch({ log });
    await it.create(`exits-${exitCode}`);
    await it.until(() => it.facts().filter(isEnd).length === 3);
  }
  const said = lines.map((line) => JSON.parse(line) as object).filter((it) => "msg" in it && it.msg === "attempt.failed");
  t.match(said, [
    { level: "warn", run: "exits-3", step: "main", attempt: 1, group: GROUP, code: "ExitCode", sentence: /exit code 3/ },
  ]);
  t.equal(said.length, 1, "the end was published three times");
  t.notMatch(lines.join(""), "CANARY");
});

t.test("logs once that it sees the group, after its first whole view", async (t) => {
  const lines: string[] = [];
  const log = openLog("watcher", { level: "info", format: "json" }, { write: (line) => lines.push(line) });
  const it = await watching(t);
  it.watch({ log });
  await it.until(() => it.told.filter(({ type }) => type === "group.watched").length === 2);
  t.match(lines.map((line) => JSON.parse(line) as object), [{ level: "info", group: GROUP, msg: "the watcher sees a group" }]); // biome-ignore format: one line
});

t.test("asks the cluster nothing about a Job whose end was told and whose hold was taken off", async (t) => {
  const it = await watching(t);
  it.watch();
  await it.create("a");
  await it.until(() => it.facts().some(isEnd));
  const reads = () => it.pocket.requests().filter(({ path }) => /\/(pods|log)/.test(path) && !path.includes("watch=true")).length;
  const before = reads();
  await it.release("a");
  await it.clock.sleep(30_000);
  t.equal(reads(), before);
});

t.test("a Job whose label somebody removed runs on, and is not called deleted", async (t) => {
  const it = await watching(t, { startsAfterMs: 100 });
  it.watch();
  await it.create("a");
  await it.until(() => it.facts().length === 1);
  it.pocket.meddle({ kind: "remove label", namespace: NAMESPACE, name: "job-of-a", label: "longshore.dev/installation" });
  await it.clock.sleep(10 * 60_000);
  t.same(it.facts(), ["a job.started"]);
});

t.test("a Job that was deleted, hold and all, is told as deleted", async (t) => {
  const it = await watching(t, { startsAfterMs: 100 });
  it.watch();
  await it.create("a");
  await it.until(() => it.facts().length === 1);
  it.pocket.meddle({ kind: "strip finalizers", namespace: NAMESPACE, name: "job-of-a" });
  it.pocket.meddle({ kind: "delete Job", namespace: NAMESPACE, name: "job-of-a", propagation: "Background" });
  await it.until(() => it.facts().includes("a job.deleted"));
});

t.test("a Job that went in a gap of the watch is missed in the next listing", async (t) => {
  const it = await watching(t, { startsAfterMs: 100 });
  it.watch();
  await it.create("a");
  await it.until(() => it.facts().length === 1);
  for (const on of ["list", "watch"] as const) it.pocket.cause({ on, trouble: { kind: "status", status: 503 } });
  it.pocket.meddle({ kind: "cut streams" });
  it.pocket.meddle({ kind: "strip finalizers", namespace: NAMESPACE, name: "job-of-a" });
  it.pocket.meddle({ kind: "delete Job", namespace: NAMESPACE, name: "job-of-a", propagation: "Background" });
  await it.clock.sleep(30_000);
  it.pocket.meddle({ kind: "compact" });
  it.pocket.heal();
  await it.until(() => it.facts().includes("a job.deleted"));
});

t.test("a log that cannot be had does not hold up the outcome", async (t) => {
  const it = await watching(t);
  it.pocket.cause({ on: "log", trouble: { kind: "lost before writing" } });
  it.watch();
  await it.create("a");
  await it.until(() => it.facts().some(isEnd));
  t.match(
    it.told.findLast(({ type }) => type === "job.ended"),
    { data: { evidence: { log: { state: "unavailable" } } } },
  );
});

for (const { name, healMs, evidence } of [
  { name: "are read a little later", healMs: 10_000, evidence: { exitCode: 3 } },
  { name: "cannot be read are not waited for for ever", healMs: 120_000, evidence: { exitCode: undefined } },
])
  t.test(`an end whose pods ${name}`, async (t) => {
    const it = await watching(t, { startsAfterMs: 1_000, runsMs: 5_000, exitCode: 3 });
    it.pocket.cause({ on: "watch", resource: "pods", trouble: { kind: "silent", afterMs: 0 } });
    it.watch();
    await it.create("a");
    await it.clock.sleep(2_000);
    it.pocket.cause({ on: "list", resource: "pods", trouble: { kind: "status", status: 503 } });
    await it.clock.sleep(healMs);
    t.equal(it.facts().some(isEnd), healMs > 90_000);
    it.pocket.heal();
    await it.until(() => it.facts().some(isEnd));
    t.match(
      it.told.find(({ type }) => type === "job.ended"),
      { data: { condition: "Failed", evidence } },
    );
  });

/** A watch that shows no annotation of a program, and a listing that does. */
const annotatedLate = ({ read }: Cluster, annotations: object): Partial<Parts["clusters"][number]> => ({
  read: {
    ...read,
    podsOf: async (uid, signal) => {
      const listed = await read.podsOf(uid, signal);
      if (listed.kind !== "listed") return listed;
      const items = listed.items.map((it) => {
        const { metadata, ...pod } = it as { readonly metadata: { readonly annotations?: object } };
        return { ...pod, metadata: { ...metadata, annotations: { ...metadata.annotations, ...annotations } } };
      });
      return { ...listed, items };
    },
  },
});

t.test("an output that a program wrote as an annotation is read from the API server itself, if the watch lacks it", async (t) => {
  const it = await watching(t, { startsAfterMs: 1_000, runsMs: 5_000, log: "done" });
  it.watch({}, annotatedLate(it.cluster, { project_id: "p-1", other: "not declared" }));
  const outputs = { annotations: ["project_id", "readme_file_id"] };
  await it.create("a", { outputs });
  await it.until(() => it.facts().some(isEnd));
  const { evidence } = (it.told.find(({ type }) => type === "job.ended")?.data ?? {}) as {
    readonly evidence?: { readonly annotations?: object };
  };
  t.match(evidence, { exitCode: 0, log: { tail: "done" } });
  t.same(evidence?.annotations, { project_id: "p-1" });
});

t.test("tells everything again after a restart: only the process remembers what it told", async (t) => {
  const it = await watching(t, { startsAfterMs: 100 });
  const first = it.watch();
  await it.create("a");
  await it.until(() => it.facts().length === 1);
  await first.stop();
  it.watch();
  await it.until(() => it.facts().length === 2);
  t.same(it.facts(), ["a job.started", "a job.started"]);
});

for (const { name, answer } of [
  {
    name: "a fact that the broker refused is told again before the next one",
    answer: new Failure("retry", "BrokerUnavailable", "It is away."),
  },
  { name: "a fact for which the broker had no queue is told again before the next one", answer: "unrouted" as const },
]) {
  t.test(name, async (t) => {
    const it = await watching(t);
    it.answer = (n) => (n % 3 === 0 ? "stored" : answer);
    it.watch();
    await it.create("a");
    await it.until(() => it.facts().some(isEnd));
    t.same(it.facts().slice(0, 2), ["a job.started", "a job.ended"]);
  });
}

t.test("a bug while a Job is considered ends the loop, and does not leave it silent", async (t) => {
  const it = await watching(t);
  const bug = new TypeError("a bug");
  it.answer = () => bug;
  const watch = it.watch();
  t.match(await watch.ended, { message: /a bug/ });
});

t.test(
  "many Jobs, some of which the cluster says nothing more about: each is told once while its hold is taken off",
  async (t) => {
    const it = await watching(t);
    it.watch();
    const runs = Array.from({ length: 60 }, (_, n) => `r${n}`);
    for (const run of runs) await it.create(run);
    await it.until(() => runs.every((run) => it.facts(run).some(isEnd)));
    t.ok(runs.every((run) => it.facts(run).findIndex(isEnd) === 1 && it.facts(run)[0] === `${run} job.started`));
  },
);

t.test("the heartbeat comes with the first sync, and grows old while the cluster is silent", async (t) => {
  const it = await watching(t);
  it.pocket.cause({ on: "list", trouble: { kind: "status", status: 503 } });
  it.watch();
  await it.clock.sleep(60_000);
  t.same(it.told, [], "nobody watches what was never listed");
  it.pocket.heal();
  await it.until(() => it.told.length === 1);
  t.match(it.told, [{ type: "group.watched", data: { group: GROUP } }]);
  it.pocket.cause({ on: "any", trouble: { kind: "unsent" } });
  it.pocket.meddle({ kind: "cut streams" });
  await it.clock.sleep(120_000);
  t.ok(Number(it.told.at(-1)?.data["staleSeconds"]) > 60, JSON.stringify(it.told.at(-1)));
});

t.test("its staleness grows also before the first sync, and while the broker takes no heartbeat", async (t) => {
  const it = await watching(t);
  it.pocket.cause({ on: "list", trouble: { kind: "status", status: 503 } });
  const metrics = openMetrics("watcher", "test");
  const stale = async () => Number(/^longshore_watch_staleness_seconds\{.*\} (.+)$/m.exec(await metrics.text())?.[1]);
  it.watch({ metrics });
  await it.clock.sleep(60_000);
  t.ok((await stale()) >= 40, "never synced");
  it.pocket.heal();
  await it.until(() => it.told.length === 1);
  it.answer = () => new Failure("retry", "BrokerUnavailable", "It is away.");
  await it.clock.sleep(60_000);
  t.ok((await stale()) < 60, "it sees its cluster, whatever the broker does");
  it.pocket.cause({ on: "any", trouble: { kind: "unsent" } });
  it.pocket.meddle({ kind: "cut streams" });
  await it.clock.sleep(120_000);
  t.ok((await stale()) > 60, "and says so when it does not");
});

t.test("a listing that never gets to its end is no proof of freshness", async (t) => {
  const it = await watching(t);
  await it.create("a");
  const follow: Parts["clusters"][number]["follow"] = async function* ({ kind, signal }) {
    const seen = { kind: "seen", object: it.pocket.jobs(NAMESPACE)[0], listed: true } as const;
    const broken = { kind: "broken", reason: "unreachable", message: "the second page cannot be had", retryInMs: 1_000 } as const;
    yield { kind: "listing", reason: "start", atMs: it.clock.now() };
    yield { kind: "listed", resourceVersion: "1", asOfMs: it.clock.now() };
    while (!signal.aborted) {
      yield { kind: "listing", reason: "expired", atMs: it.clock.now() };
      if (kind === "jobs") yield seen;
      yield broken;
      await it.clock.sleep(1_000, signal);
    }
  };
  it.watch({}, { follow });
  await it.clock.sleep(120_000);
  t.ok(Number(it.told.at(-1)?.data["staleSeconds"]) > 60, JSON.stringify(it.told.at(-1)));
});

/**
 * Runs this whole package against the pocket: over HTTPS with real processes, and against the pocket's model with every kind of
 * trouble.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import { startProcesses } from "@longshore/pocket/pods/processes.ts";
import { serveHttp } from "@longshore/pocket/server/http.ts";
import { createModel } from "@longshore/pocket/testing/model.ts";
import { scriptedPods } from "@longshore/pocket/testing/scripted.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import t, { type Test } from "tap";
import { type Cluster, openClusters } from "./clusters.ts";
import { connect } from "./access/connect.ts";
import { openTransport } from "./request/exchange.ts";
import { type Change, follow } from "./follow/follow.ts";
import { member } from "./objects.ts";
import { preflight } from "./preflight/preflight.ts";
import { authority, serverCertificate, serverKey } from "./testing/certificates.ts";
import { never } from "./testing/loopback.ts";
import { virtualClock } from "./testing/virtual-clock.ts";
import { openWrites } from "./request/write.ts";

const HOLD = "longshore.dev/unrecorded";
const selector = "app=test";

function job(name: string, command: readonly string[]): object {
  const template = {
    metadata: { labels: { app: "test" } },
    spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox", command }] },
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, labels: { app: "test" }, finalizers: [HOLD] },
    spec: { backoffLimit: 0, podReplacementPolicy: "Failed", template },
  };
}

async function pocket(t: Test) {
  const dataDir = await mkdtemp(join(tmpdir(), "longshore-pocket-"));
  const kubelet = startProcesses({ clock: systemClock, dataDir });
  const model = createModel({ clock: systemClock, kubelet, namespaces: ["batch"] });
  const credentials = new Map([["the-token", { user: "admin" }]]);
  const served = await serveHttp({ cluster: model, credentials, tls: { key: serverKey, cert: serverCertificate } });
  await writeFile(join(dataDir, "token"), "the-token\n");
  const cluster = { server: served.url, ca: authority };
  const connected = await connect({ cluster, credential: { tokenFile: join(dataDir, "token") }, clock: systemClock });
  if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
  const transport = openTransport(connected.connection);
  const clusters = openClusters([{ name: "pocket", namespace: "batch", transport }], { clock: systemClock });
  t.teardown(async () => {
    await clusters[Symbol.asyncDispose]();
    await served[Symbol.asyncDispose]();
    await model[Symbol.asyncDispose]();
    await kubelet[Symbol.asyncDispose]();
    await rm(dataDir, { recursive: true, force: true });
  });
  const it = clusters.cluster("pocket");
  return { model, connection: connected.connection, cluster: it, writes: openWrites(it) };
}

/** The objects that a follower knows, by UID. If a complete listing does not show a UID, its object is dropped. */
function book() {
  const known = new Map<string, unknown>();
  const reasons: string[] = [];
  let listed: Set<string> | undefined;
  const uidOf = (object: unknown) => String(member(member(object, "metadata"), "uid"));
  return {
    known,
    reasons,
    note(change: Change): void {
      if (change.kind === "listing") listed = new Set();
      if (change.kind === "seen") {
        known.set(uidOf(change.object), change.object);
        if (change.listed) listed?.add(uidOf(change.object));
      }
      if (change.kind === "gone") known.delete(uidOf(change.object));
      if (change.kind === "listed") for (const uid of known.keys()) if (!listed?.has(uid)) known.delete(uid);
      if (change.kind === "broken") reasons.push(change.reason);
    },
  };
}

const conditions = (object: unknown) => {
  const list = member(member(object, "status"), "conditions");
  return Array.isArray(list) ? list.filter((it) => member(it, "status") === "True").map((it) => String(member(it, "type"))) : [];
};

/** Follows until the known objects satisfy `done`. */
async function until(
  cluster: Cluster,
  kind: "jobs" | "pods",
  done: (objects: readonly unknown[]) => boolean,
): Promise<readonly unknown[]> {
  const stop = new AbortController();
  const view = book();
  const { known } = view;
  for await (const change of cluster.follow({ kind, selector, signal: stop.signal })) {
    view.note(change);
    if (change.kind !== "listing" && done([...known.values()])) stop.abort();
  }
  return [...known.values()];
}

t.test("a Job's life over HTTPS: created, followed to its end, its log read, released, gone", async (t) => {
  const { cluster, writes, model } = await pocket(t);
  const gone = until(
    cluster,
    "jobs",
    (() => {
      let seen = false;
      return (jobs: readonly unknown[]) => (seen ||= jobs.length > 0) && jobs.length === 0;
    })(),
  );
  const created = await writes.createJob(job("a", ["sh", "-c", "echo one; echo two; exit 3"]), never);
  t.match(created, { kind: "created", finalizers: [HOLD] });
  if (created.kind !== "created") throw new Error(JSON.stringify(created));

  const [pod] = await until(cluster, "pods", (pods) => pods.some((it) => member(member(it, "status"), "phase") === "Failed"));
  const tail = await cluster.tailLog({ pod: String(member(member(pod, "metadata"), "name")), container: "main" }, never);
  t.same(tail, { state: "complete", lines: 2, tail: "one\ntwo\n" });
  await until(cluster, "jobs", (jobs) => jobs.some((it) => conditions(it).includes("Failed")));

  t.match(await cluster.read.podsOf(created.uid, never), { kind: "listed", items: [{ metadata: { name: String } }] });
  t.match(await cluster.read.getNamespace(never), { kind: "found", object: { name: "batch", uid: String } });
  t.match(await writes.createJob(job("a", ["true"]), never), {
    kind: "answered",
    status: 409,
    body: { reason: "AlreadyExists" },
  });
  t.same(await writes.releaseJob("a", "another-uid", HOLD, {}, never), { kind: "foreign" });
  t.same(await writes.deleteJob("a", "another-uid", { propagation: "Foreground" }, never), { kind: "foreign" });
  t.match(await writes.releaseJob("a", created.uid, HOLD, { ttlSeconds: 0 }, never), {
    kind: "done",
    object: { finalizers: [] },
  });
  await gone;
  t.same(await cluster.read.getJob("a", never), { kind: "missing" });
  t.same(await writes.releaseJob("a", created.uid, HOLD, {}, never), { kind: "missing" });
  t.equal(model.countCreated("a"), 1);
});

t.test("a Job under deletion keeps our hold, takes no new one, and goes when it is released", async (t) => {
  const { cluster, writes } = await pocket(t);
  const created = await writes.createJob(job("b", ["sleep", "600"]), never);
  if (created.kind !== "created") throw new Error(JSON.stringify(created));
  await until(cluster, "pods", (pods) => pods.some((it) => member(member(it, "status"), "phase") === "Running"));
  t.match(await writes.holdAgain("b", created.uid, "example.org/another", never), {
    kind: "done",
    object: { finalizers: [HOLD, "example.org/another"] },
  });
  t.match(await writes.releaseJob("b", created.uid, "example.org/another", {}, never), {
    kind: "done",
    object: { finalizers: [HOLD] },
  });
  t.match(await writes.deleteJob("b", created.uid, { propagation: "Foreground", graceSeconds: 1 }, never), { kind: "done" });
  await until(cluster, "pods", (pods) => pods.length === 0);
  t.match(await cluster.read.getJob("b", never), { kind: "found", object: { deleting: true } });
  t.match(await writes.holdAgain("b", created.uid, "example.org/late", never), { kind: "answered", status: 422 });
  t.match(await writes.releaseJob("b", created.uid, HOLD, {}, never), { kind: "done" });
  await until(cluster, "jobs", (jobs) => jobs.length === 0);
  t.same(await cluster.read.getJob("b", never), { kind: "missing" });
});

t.test("follows 100 Jobs through cut streams and compaction, over HTTPS", async (t) => {
  const { cluster, writes, model } = await pocket(t);
  const stop = new AbortController();
  const view = book();
  const { known, reasons } = view;
  let created = 0;
  const creating = (async () => {
    for (let i = 0; i < 100; i++) {
      const made = await writes.createJob(
        {
          ...job(`j${i}`, ["true"]),
          spec: {
            suspend: true,
            backoffLimit: 0,
            template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "x" }] } },
          },
        },
        never,
      );
      if (made.kind === "created") created++;
      if (i % 10 === 5) model.meddle({ kind: "cut streams" });
      if (i % 25 === 20) model.meddle({ kind: "compact" });
      if (i % 7 === 3 && made.kind === "created") await writes.deleteJob(`j${i}`, made.uid, { propagation: "Background" }, never);
      if (i % 7 === 3 && made.kind === "created") await writes.releaseJob(`j${i}`, made.uid, HOLD, {}, never);
    }
  })();
  const end = () =>
    known.size === model.jobs("batch").length &&
    [...known.keys()].every((uid) => model.jobs("batch").some((it) => it.metadata.uid === uid));
  let over = false;
  void creating.then(() => (over = true));
  for await (const change of cluster.follow({
    kind: "jobs",
    selector,
    signal: stop.signal,
    pageSize: 7,
    backOff: { firstMs: 1, mostMs: 10 },
  })) {
    view.note(change);
    if (over && end()) stop.abort();
    // If all changes are reported before the last create is answered, no further change would end this loop: cutting the
    // streams makes one.
    else if (created === 100) model.meddle({ kind: "cut streams" });
  }
  await creating;
  t.equal(created, 100);
  t.ok(end(), `${known.size} known of ${model.jobs("batch").length}`);
  t.ok(reasons.length > 0, "streams were cut");
});

t.test("finds out that a watch over HTTPS went silent, and misses nothing", async (t) => {
  const { cluster, writes, model } = await pocket(t);
  const stop = new AbortController();
  const view = book();
  for await (const change of cluster.follow({
    kind: "jobs",
    selector,
    signal: stop.signal,
    stallMs: 200,
    backOff: { firstMs: 1, mostMs: 10 },
  })) {
    view.note(change);
    if (change.kind === "listed" && view.known.size === 0) {
      await writes.createJob(job("first", ["sleep", "600"]), never);
    }
    if (change.kind === "seen" && !change.listed && view.known.size === 1 && model.jobs("batch").length === 1) {
      model.meddle({ kind: "silence streams" });
      await writes.createJob(job("second", ["sleep", "600"]), never);
    }
    if (view.known.size === 2) stop.abort();
  }
  t.equal(view.known.size, 2);
  t.ok(view.reasons.includes("silent"), view.reasons.join(" "));
});

t.test("preflight finds the pocket well", async (t) => {
  const { cluster, connection } = await pocket(t);
  const rows = await preflight(
    {
      connection,
      transport: cluster.transport,
      clock: systemClock,
      namespace: "batch",
      role: "launcher",
      manifest: job("dry", ["true"]),
      explain: (to) => ({ code: "Unknown", sentence: `${to} went wrong.`, hint: "" }),
    },
    never,
  );
  const bad = rows.filter((it) => it.state === "failed");
  t.same(bad, []);
  t.match(await cluster.read.getJob("dry", never), { kind: "missing" }, "a dry run creates nothing");
});

/** A small random generator, so that a failure can be repeated from its seed. */
function chance(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const troubles: readonly Fault[] = [
  { on: "watch", chance: 0.3, trouble: { kind: "cut", afterMs: 3_000 } },
  { on: "watch", chance: 0.2, trouble: { kind: "silent", afterMs: 2_000 } },
  { on: "watch", chance: 0.2, trouble: { kind: "garbage", afterMs: 1_000 } },
  { on: "watch", chance: 0.2, trouble: { kind: "expired", as: "stream", afterMs: 500 } },
  { on: "watch", chance: 0.2, trouble: { kind: "expired", as: "status" } },
  { on: "watch", chance: 0.1, trouble: { kind: "lost before writing" } },
  { on: "any", chance: 0.1, trouble: { kind: "unsent" } },
  { on: "list", chance: 0.2, trouble: { kind: "status", status: 503 } },
  { on: "list", chance: 0.1, trouble: { kind: "status", status: 429, retryAfterSeconds: 3 } },
  { on: "any", chance: 0.05, trouble: { kind: "status", status: 401 } },
  { on: "any", chance: 0.05, trouble: { kind: "status", status: 403 } },
  { on: "list", chance: 0.1, trouble: { kind: "slow", byMs: 40_000 } },
];

for (let seed = 1; seed <= 20; seed++) {
  t.test(`knows all objects after any trouble has healed (seed ${seed})`, async (t) => {
    const clock = virtualClock({ random: chance(seed) });
    await using kubelet = scriptedPods(clock, () => ({ startsAfterMs: 100, runsMs: 1_000 }));
    await using model = createModel({ clock, kubelet, namespaces: ["batch"], faults: troubles });
    const writes = openWrites({ transport: model.transport(), clock, namespace: "batch" });
    const stop = new AbortController();
    const view = book();
    const { known, reasons } = view;
    const following = (async () => {
      for await (const change of follow({
        transport: model.transport(),
        clock,
        kind: "jobs",
        namespace: "batch",
        selector,
        signal: stop.signal,
        pageSize: 5,
      }))
        view.note(change);
    })();
    for (let i = 0; i < 40; i++) {
      await writes.createJob(job(`j${i}`, ["true"]), never);
      if (clock.random() < 0.3) model.meddle({ kind: "compact" });
      if (clock.random() < 0.3)
        model.meddle({ kind: "strip finalizers", namespace: "batch", name: `j${Math.floor(clock.random() * i)}` });
      if (clock.random() < 0.3)
        model.meddle({
          kind: "delete Job",
          propagation: "Foreground",
          namespace: "batch",
          name: `j${Math.floor(clock.random() * i)}`,
        });
      await clock.sleep(20_000 * clock.random());
    }
    model.heal();
    await clock.sleep(300_000);
    const there = new Map(model.jobs("batch").map((it) => [it.metadata.uid, it.metadata.resourceVersion]));
    const seen = new Map([...known].map(([uid, object]) => [uid, String(member(member(object, "metadata"), "resourceVersion"))]));
    t.same(seen, there);
    t.ok(there.size > 0 && reasons.length > 0, `${there.size} Jobs, ${reasons.length} breaks`);
    stop.abort();
    await following;
  });
}

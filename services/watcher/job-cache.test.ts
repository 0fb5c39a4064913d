import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { randomBytes, randomUUID } from "node:crypto";
import { Uid } from "@longshore/contract/ids.ts";
import { ANNOTATIONS, CONTROLLER_UID, HOLD, LABELS } from "@longshore/domain/run/marks.ts";
import { facts } from "@longshore/domain/watch/facts.ts";
import { type JobSeen, type PodSeen, seeJob, seePod } from "@longshore/domain/watch/seen.ts";
import fc from "fast-check";
import t from "tap";
import { openJobCache } from "./job-cache.ts";
import { openPacking } from "./packed-values.ts";

const NOW_MS = 1_800_000_000_000;

/** A Job and its pod as an API server sends them: two Jobs share no object and no text. */
function running(n: number): { readonly job: JobSeen; readonly pod: PodSeen } {
  const name = `orders-8812-export-main-${n}-${randomBytes(5).toString("hex")}`;
  const uid = randomUUID();
  const at = "2026-11-21T12:00:01Z";
  const labels = {
    [LABELS.managedBy]: "longshore",
    [LABELS.installation]: "prod-1",
    [LABELS.step]: "main",
    [LABELS.attempt]: "1",
  };
  const proof = randomBytes(32).toString("hex");
  const annotations = { [ANNOTATIONS.runId]: `orders/${n}/export`, [ANNOTATIONS.group]: "prod-a", [ANNOTATIONS.proof]: proof };
  const metadata = { namespace: "longshore-jobs", creationTimestamp: at };
  const job = {
    kind: "Job",
    metadata: { ...metadata, name, uid, resourceVersion: String(1_000_000 + n), labels, annotations, finalizers: [HOLD] },
    spec: { suspend: false },
    status: { active: 1, startTime: at },
  };
  const imageID = `registry.example.org/team/export@sha256:${"ab".repeat(32)}`;
  const pod = {
    kind: "Pod",
    metadata: {
      ...metadata,
      name: `${name}-abcde`,
      uid: randomUUID(),
      resourceVersion: String(2_000_000 + n),
      labels: { [CONTROLLER_UID]: uid },
    },
    spec: {
      nodeName: `ip-10-0-13-${n % 200}.eu-central-1.compute.internal`,
      containers: [
        { name: "main", image: "registry.example.org/team/export:2026-11-20", resources: { limits: { memory: "512Mi" } } },
      ],
    },
    status: {
      phase: "Running",
      conditions: [{ type: "PodScheduled", status: "True", lastTransitionTime: at }],
      containerStatuses: [{ name: "main", imageID, restartCount: 0, state: { running: { startedAt: at } } }],
    },
  };
  const [seen, seenPod] = [seeJob(JSON.parse(JSON.stringify(job))), seePod(JSON.parse(JSON.stringify(pod)))];
  if (seen === undefined || seenPod === undefined) throw new Error("a Job or a pod that cannot be seen");
  return { job: seen, pod: seenPod };
}

t.test("returns each Job as it was put in, however many others came after it", (t) => {
  const cache = openJobCache();
  const all = Array.from({ length: 1_000 }, (_, n) => running(n));
  for (const { job, pod } of all) {
    cache.change(job.uid, (known) => {
      known.job = job;
      known.pods.set(pod.uid, pod);
      known.said = facts(undefined, { job, pods: [pod] }, NOW_MS).said;
    });
  }
  for (const { job, pod } of all) {
    const said = facts(undefined, { job, pods: [pod] }, NOW_MS).said;
    const known = cache.peek(job.uid);
    if (JSON.stringify(known?.said) !== JSON.stringify(said)) t.same(known?.said, said);
    if (JSON.stringify(known?.job) !== JSON.stringify(job)) t.same(known?.job, job);
    if (JSON.stringify(known?.pods.get(pod.uid)) !== JSON.stringify(pod)) t.same(known?.pods.get(pod.uid), pod);
  }
  t.equal(cache.size, 1_000);
  t.equal(new Set(cache.uids()).size, 1_000);
  t.end();
});

t.test("a Job that is being worked on is one value for everyone, even if a thousand others change meanwhile", (t) => {
  const cache = openJobCache();
  const { job, pod } = running(0);
  cache.change(job.uid, (known) => void (known.job = job));
  const open = cache.open(job.uid);
  for (let n = 1; n <= 1_000; n++) {
    const other = running(n);
    cache.change(other.job.uid, (known) => void (known.job = other.job));
  }
  cache.change(job.uid, ({ pods }) => void pods.set(pod.uid, pod));
  t.equal(open?.pods.size, 1);
  if (open) open.vanished = true;
  cache.close(job.uid);
  t.match(cache.peek(job.uid), { vanished: true });
  t.end();
});

t.test("forgets an empty entry, and when it was due", (t) => {
  const cache = openJobCache();
  const { pod } = running(0);
  const uid = Uid.parse(pod.jobUid);
  cache.change(uid, ({ pods }) => void pods.set(pod.uid, pod));
  cache.due(uid, 5);
  t.same(cache.dueUntil(4), []);
  t.same(cache.dueUntil(5), [uid]);
  cache.change(uid, ({ pods }) => void pods.delete(pod.uid));
  t.notOk(cache.has(uid));
  t.same(cache.dueUntil(5), []);
  cache.change(uid, () => undefined);
  t.equal(cache.size, 0, "a change of nothing brings nothing");
  t.end();
});

t.test("takes less than 1 kB for a Job that runs, with its pod and what was said of it", (t) => {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") throw new Error("this Node cannot be told to collect garbage");
  collect();
  const before = process.memoryUsage().heapUsed;
  const cache = openJobCache();
  for (let n = 0; n < 20_000; n++) {
    const { job, pod } = running(n);
    cache.change(job.uid, (known) => {
      known.job = job;
      known.pods.set(pod.uid, pod);
      known.said = facts(undefined, { job, pods: [pod] }, NOW_MS).said;
    });
  }
  collect();
  const each = (process.memoryUsage().heapUsed - before) / 20_000;
  t.comment(`${Math.round(each)} bytes for each of ${cache.size} Jobs`);
  t.ok(each < 1_000, `${Math.round(each)} bytes`);
  t.end();
});

t.test("packs anything that JSON can hold, also when its dictionaries are full", (t) => {
  const value = fc.jsonValue({ maxDepth: 4 });
  const key = fc.string().filter((it) => it !== "__proto__");
  const packing = openPacking({ recurring: new Set(["image", "a", ""]), shapesMost: 50, wordsMost: 20 });
  fc.assert(
    fc.property(fc.dictionary(key, fc.oneof(value, fc.string(), fc.constant("\u0001"))), (record) => {
      const plain: unknown = JSON.parse(JSON.stringify(record));
      return JSON.stringify(packing.unpack(packing.pack(record))) === JSON.stringify(plain);
    }),
    { numRuns: 2_000 },
  );
  const odd = { gone: undefined, list: [undefined, null, true, -0.5, ""] };
  const fresh = openPacking({ recurring: new Set() });
  t.same(fresh.unpack(fresh.pack(odd)), odd);
  t.end();
});

/** Objects as API servers show them, and as they should not. */
import fc from "fast-check";
import t from "tap";
import { ANNOTATIONS, HOLD, LABELS } from "../run/marks.ts";
import { condition, event, job, pod, rawJob, rawPod, running, terminated, waiting } from "./testing/fixtures.ts";
import { finishedCondition, isUnfinished, isOnlyHoldLeft, seeEvent, seeJob, seeMarked, seePod } from "./seen.ts";

t.test("a Job of ours is read whole", async (t) => {
  const seen = job({ status: { startTime: "2026-03-01T10:00:01Z", conditions: [condition("Suspended", "x", "", "False")] } });
  t.match(seen, {
    uid: "uid-job",
    resourceVersion: "100",
    held: true,
    active: 1,
    suspended: false,
    mark: {
      installation: "demo",
      group: "prod-a",
      run: "orders/8812/export",
      step: "main",
      attempt: 1,
      proof: "proof-1",
      occupant: false,
    },
  });
  t.same(seen.conditions, [], "a condition whose status is False is none");
});

const unmarked: readonly (readonly [name: string, of: Parameters<typeof rawJob>[0]])[] = [
  ["the installation", { labels: { [LABELS.installation]: undefined } }],
  ["who manages it", { labels: { [LABELS.managedBy]: "helm" } }],
  ["the step", { labels: { [LABELS.step]: "" } }],
  ["the attempt", { labels: { [LABELS.attempt]: "0" } }],
  ["a readable attempt", { labels: { [LABELS.attempt]: "1e3" } }],
  ["the run", { annotations: { [ANNOTATIONS.runId]: undefined } }],
  ["a readable run", { annotations: { [ANNOTATIONS.runId]: "a\nb" } }],
  ["the proof", { annotations: { [ANNOTATIONS.proof]: undefined } }],
  ["the group", { annotations: { [ANNOTATIONS.group]: "No Group" } }],
];
for (const [name, of] of unmarked)
  t.test(`a Job that does not say ${name} carries no mark, and is still seen with its UID and its hold`, async (t) => {
    t.match(job(of), { mark: undefined, uid: "uid-job", held: true });
  });

t.test("a Job whose labels were removed still shows its proof", async (t) => {
  t.match(job({ metadata: { labels: {} } }), { mark: undefined, proof: "proof-1" });
});

for (const [name, raw] of [
  ["nothing", undefined],
  ["null", null],
  ["text", "Job"],
  ["a list", []],
  ["a pod", rawPod()],
  ["a Job without a UID", rawJob({ metadata: { uid: undefined } })],
  ["a Job whose UID is a number", rawJob({ metadata: { uid: 7 } })],
  ["metadata that is text", { kind: "Job", metadata: "x" }],
  ["a Status", { kind: "Status", status: "Failure", code: 404 }],
] as const)
  t.test(`${name} is not taken for a Job`, async (t) => {
    t.equal(seeJob(raw), undefined);
    t.equal(seeMarked(raw), undefined);
  });

t.test("metadata alone says whose a Job is, and never how it stands", async (t) => {
  const partial = { ...rawJob(), kind: "PartialObjectMetadata", spec: undefined, status: undefined };
  t.match(seeMarked(partial), { held: true, mark: { run: "orders/8812/export" } });
  t.equal(seeJob(partial), undefined);
});

t.test("an item of a list has no kind, and is read all the same", async (t) => {
  t.ok(seeJob({ ...rawJob(), kind: undefined }));
  t.ok(seePod({ ...rawPod(), kind: undefined }));
});

for (const [type, status, want] of [
  ["Complete", "True", "Complete"],
  ["Failed", "True", "Failed"],
  ["Complete", "False", undefined],
  ["Complete", "Unknown", undefined],
  ["SuccessCriteriaMet", "True", undefined],
  ["FailureTarget", "True", undefined],
  ["Suspended", "True", undefined],
  ["SomethingNew", "True", undefined],
] as const)
  t.test(`${type}=${status} ${want ? "ends a Job" : "does not end a Job"}`, async (t) => {
    t.equal(finishedCondition(job({ status: { conditions: [condition(type, "x", "", status)] } }))?.type, want);
  });

t.test("a Failed=False before a Complete=True does not hide it", async (t) => {
  const conditions = [condition("Failed", "x", "", "False"), condition("SuccessCriteriaMet", "x"), condition("Complete", "y")];
  t.equal(finishedCondition(job({ status: { conditions } }))?.type, "Complete");
});

for (const [name, metadata, want] of [
  ["is not being deleted", {}, false],
  [
    "is being deleted and waits for its pods",
    { deletionTimestamp: "2026-03-01T10:00:00Z", finalizers: [HOLD, "foregroundDeletion"] },
    false,
  ],
  ["is being deleted and only we hold it", { deletionTimestamp: "2026-03-01T10:00:00Z" }, true],
  ["is being deleted and nobody holds it", { deletionTimestamp: "2026-03-01T10:00:00Z", finalizers: [] }, false],
  ["is being deleted and held by others", { deletionTimestamp: "2026-03-01T10:00:00Z", finalizers: ["example.com/x"] }, false],
] as const)
  t.test(`a Job that ${name} is ${want ? "" : "not "}only held`, async (t) => {
    t.equal(isOnlyHoldLeft(job({ metadata })), want);
  });

t.test("a pod is read with its containers, whichever have a status yet", async (t) => {
  const seen = pod({
    spec: {
      initContainers: [
        { name: "prepare", image: "demo/prepare:1" },
        { name: "proxy", image: "demo/proxy:1", restartPolicy: "Always" },
      ],
    },
    status: { initContainerStatuses: [{ name: "prepare", state: terminated(0), restartCount: 2 }] },
    state: running,
  });
  t.match(
    seen.containers.map(({ name, role, memoryLimit, restarts }) => [name, role, memoryLimit, restarts]),
    [
      ["prepare", "init", undefined, 2],
      ["proxy", "sidecar", undefined, 0],
      ["main", "main", "64Mi", 0],
    ],
  );
  t.ok(seen.containers[2]?.running);
  t.equal(seen.containers[1]?.waiting, undefined, "what nobody said is not invented");
});

for (const [name, metadata, want] of [
  ["its owner", { labels: {} }, "uid-job"],
  ["its label, when it was orphaned", { ownerReferences: [] }, "uid-job"],
  ["its old label", { ownerReferences: undefined, labels: { "controller-uid": "uid-job" } }, "uid-job"],
  [
    "nothing, when something else than a Job owns it",
    { ownerReferences: [{ kind: "ReplicaSet", controller: true, uid: "x" }], labels: {} },
    undefined,
  ],
] as const)
  t.test(`a pod belongs to a Job by ${name}`, async (t) => {
    t.equal(seePod(rawPod({ metadata }))?.jobUid, want);
  });

for (const [phase, want] of [
  ["Pending", true],
  ["Running", true],
  ["Unknown", true],
  ["Succeeded", false],
  ["Failed", false],
] as const)
  t.test(`a pod in phase ${phase} is ${want ? "unfinished" : "finished"}, also while it is deleted`, async (t) => {
    t.equal(isUnfinished(pod({ status: { phase }, metadata: { deletionTimestamp: "2026-03-01T10:00:00Z" } })), want);
  });

t.test("a text that the ledger could not store is made one that it can", async (t) => {
  const [container] = pod({ state: terminated(1, { message: "a\0b\ud800" }) }).containers;
  t.equal(container?.terminated?.message, "a\uFFFDb\uFFFD");
});

t.test("a message without end takes bounded memory", async (t) => {
  const [container] = pod({ state: waiting("ErrImagePull", "x".repeat(1_000_000)) }).containers;
  t.ok((container?.waiting?.message?.length ?? 0) <= 4096);
  t.ok(job({ status: { conditions: Array.from({ length: 10_000 }, () => condition("A", "b")) } }).conditions.length <= 100);
});

t.test("an Event's time is the last that it names", async (t) => {
  t.equal(seeEvent(event("u", "FailedCreate", "x"))?.at, "2026-03-01T10:00:05Z");
  t.equal(
    seeEvent({ ...event("u", "FailedCreate", "x"), lastTimestamp: null, eventTime: "2026-03-01T10:00:09.5Z" })?.at,
    "2026-03-01T10:00:09.5Z",
  );
  t.equal(seeEvent({ reason: "FailedCreate" }), undefined);
});

/** Replaces one value somewhere in the object by a value that does not belong there. */
const spoilt = (raw: object): fc.Arbitrary<unknown> =>
  fc.tuple(fc.nat(10_000), fc.oneof(fc.anything(), fc.constantFrom(null, "", 0, [], {}))).map(([where, what]) => {
    let left = where % Math.max(1, JSON.stringify(raw).length >> 4);
    const walk = (value: unknown): unknown => {
      if (left-- === 0) return what;
      if (Array.isArray(value)) return value.map(walk);
      if (typeof value !== "object" || value === null) return value;
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, walk(part)]));
    };
    return walk(raw);
  });

t.test("whatever an API server shows is read or passed over, and never the end of the watcher", async (t) => {
  const whole = rawPod({ state: terminated(1), status: { initContainerStatuses: [{ name: "a", state: running }] } });
  fc.assert(
    fc.property(fc.oneof(fc.anything(), spoilt(rawJob()), spoilt(whole)), (raw) => {
      for (const see of [seeJob, seePod, seeEvent, seeMarked]) {
        const seen = see(raw);
        if (seen !== undefined && !JSON.stringify(seen).isWellFormed()) return false;
      }
      return true;
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

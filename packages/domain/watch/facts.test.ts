/** The facts that are told of a Job, view by view: each row has the views, and the facts told at each. */
import fc from "fast-check";
import t from "tap";
import { LABELS } from "../run/marks.ts";
import { afterGet, type FactDraft, facts, type JobAndPods, type Said, type Telling, withLog } from "./facts.ts";
import { condition, event, job, pod, type RawJob, type RawPod, running, terminated, waiting } from "./testing/fixtures.ts";
import { seeEvent } from "./seen.ts";

const deletion = { deletionTimestamp: "2026-03-01T10:10:00Z", resourceVersion: "150" };
const complete: RawJob = { status: { active: 0, succeeded: 1, conditions: [condition("Complete", "CompletionsReached")] } };
const failed: RawJob = { status: { active: 0, failed: 1, conditions: [condition("Failed", "BackoffLimitExceeded")] } };
const notFound = 'failed to resolve reference "demo/export:1": not found';
const SECOND = 1000;
const MINUTE = 60 * SECOND;

const seen = (of: RawJob = {}, ...pods: readonly RawPod[]): JobAndPods => ({ job: job(of), pods: pods.map(pod) });
const withEvents = (of: JobAndPods, ...events: readonly object[]): JobAndPods => ({
  ...of,
  events: events.flatMap((it) => seeEvent(it) ?? []),
});
const short = ({ type, data }: FactDraft): string =>
  type === "job.stalled"
    ? `stalled ${data.diagnosis.code}`
    : type === "job.ended"
      ? `ended ${data.condition}`
      : type.slice("job.".length);

/** Shows one view after another, a second apart, and returns the facts told at each. */
function tell(...views: readonly JobAndPods[]): readonly string[] {
  let said: Said | undefined;
  return views.map((view, at) => {
    const telling = facts(said, view, at * SECOND);
    said = telling.said;
    return telling.facts.map(short).join(", ");
  });
}

interface Case {
  readonly name: string;
  readonly views: readonly JobAndPods[];
  readonly want: readonly string[];
}

const inBackOff = { state: waiting("ImagePullBackOff", 'Back-off pulling image "demo/export:1"') };
// biome-ignore format: rows are read side by side
const cases: readonly Case[] = [
  { name: "an ordinary life is told once, whatever else is seen of it",
    views: [seen(), seen({}, { spec: { nodeName: undefined } }), seen({}, {}), seen({}, { state: running }), seen({}, { state: running }), seen({}, { state: terminated(0), status: { phase: "Succeeded" } }), seen(complete, { state: terminated(0), status: { phase: "Succeeded" } })],
    want: ["", "", "", "started", "", "", "ended Complete"] },
  { name: "a Job that is first seen complete is told as ended, with its start in the evidence",
    views: [seen(complete, { state: terminated(0), status: { phase: "Succeeded" } })],
    want: ["ended Complete"] },
  { name: "a pod that ended is no end of its Job",
    views: [seen({}, { state: terminated(1), status: { phase: "Failed" } })],
    want: ["started"] },
  { name: "a Job that is about to fail has not failed",
    views: [seen({ status: { conditions: [condition("FailureTarget", "DeadlineExceeded")] } })],
    want: [""] },
  { name: "the same stall is told once, whichever of its two names the kubelet gives it",
    views: [seen({}, { state: waiting("ErrImagePull", notFound) }), seen({}, inBackOff), seen({}, { state: waiting("ErrImagePull", notFound) })],
    want: ["stalled ImageNotFound", "", ""] },
  { name: "a stall with another cause is told",
    views: [seen({}, { spec: { nodeName: undefined }, status: { conditions: [condition("PodScheduled", "Unschedulable", "0/3 nodes are available: 3 Insufficient cpu.", "False")] } }), seen({}, { state: waiting("ErrImagePull", notFound) })],
    want: ["stalled Unschedulable", "stalled ImageNotFound"] },
  { name: "a stall that passes is told as resumed, before the start",
    views: [seen({}, { state: waiting("ErrImagePull", notFound) }), seen({}, { state: running })],
    want: ["stalled ImageNotFound", "resumed, started"] },
  { name: "a pod that is missing from one view has not resumed",
    views: [seen({}, { state: waiting("ErrImagePull", notFound) }), seen(), seen({}, { state: waiting("ContainerCreating") })],
    want: ["stalled ImageNotFound", "", ""] },
  { name: "a node that was found is progress, and is told",
    views: [seen({}, { spec: { nodeName: undefined }, status: { conditions: [condition("PodScheduled", "Unschedulable", "no", "False")] } }), seen({}, { state: waiting("ContainerCreating") })],
    want: ["stalled Unschedulable", "resumed"] },
  { name: "a Job that gets no pods is told by its Events, once for all its pods' names",
    views: [seen(), withEvents(seen(), event("uid-job", "FailedCreate", 'Error creating: pods "x-abcde" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5')), withEvents(seen(), event("uid-job", "FailedCreate", 'Error creating: pods "x-fghjk" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5')), seen({}, {})],
    want: ["", "stalled QuotaExceeded", "", "resumed"] },
  { name: "old Events say nothing about a Job that has its pod now",
    views: [withEvents(seen({}, {}), event("uid-job", "FailedCreate", "exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5"))],
    want: [""] },
  { name: "a deletion is told, and again when nothing is left to wait for",
    views: [seen({}, { state: running }), seen({ metadata: { ...deletion, finalizers: ["longshore.dev/unrecorded", "foregroundDeletion"] } }, { state: running }), seen({ metadata: deletion }, { state: running }), seen({ metadata: deletion })],
    want: ["started", "deleting", "", "deleting"] },
  { name: "a view of the pods that lags behind does not tell a deletion again",
    views: [seen({ metadata: deletion }), seen({ metadata: deletion }, { state: running }), seen({ metadata: deletion })],
    want: ["deleting", "", ""] },
  { name: "an end beats a deletion",
    views: [seen({ metadata: deletion }), seen({ ...complete, metadata: deletion })],
    want: ["deleting", "ended Complete"] },
  { name: "an occupant is no news",
    views: [seen({ labels: { [LABELS.occupant]: "true" }, spec: { suspend: true } }), seen({ labels: { [LABELS.occupant]: "true" }, metadata: deletion })],
    want: ["", ""] },
  { name: "a Job without our marks is nobody's",
    views: [seen({ metadata: { labels: {} } }, { state: running })],
    want: [""] },
  { name: "a Job that we released is no news, also to a watcher that has just started",
    views: [seen({ ...complete, metadata: { finalizers: [] }, spec: { ttlSecondsAfterFinished: 3600 } })],
    want: [""] },
  { name: "an end whose hold somebody stripped is told, once",
    views: [seen({ ...failed, metadata: { finalizers: [] } }), seen({ ...failed, metadata: { finalizers: [] } })],
    want: ["ended Failed", ""] },
  { name: "a Job that lost its labels is told of as before",
    views: [seen({}, {}), seen({ metadata: { labels: {} }, ...complete })],
    want: ["", "ended Complete"] },
  { name: "another Job under the same name begins anew",
    views: [seen({}, { state: running }), seen({ metadata: { uid: "uid-2" } }, { state: running })],
    want: ["started", "started"] },
];

for (const { name, views, want } of cases) t.test(name, async (t) => t.same(tell(...views), want));

t.test("the cause that took a pod away is told, even if the pod is gone before its Job has failed", async (t) => {
  const evicted = { state: running, status: { conditions: [condition("DisruptionTarget", "EvictionByEvictionAPI")] } };
  const before = facts(undefined, seen({}, evicted), 0);
  const [end] = facts(before.said, seen(failed), SECOND).facts;
  t.match(end, { type: "job.ended", data: { condition: "Failed", evidence: { diagnosis: { code: "Evicted" } } } });
  t.match(
    facts(undefined, seen(failed), SECOND).facts,
    [{ data: { evidence: { diagnosis: { code: "Unknown" } } } }],
    "unless nobody saw it",
  );
});

t.test("while the hold stands, an end is told after 1, 2 and 5 minutes and then every 10", async (t) => {
  const view = seen(complete, { state: terminated(0), status: { phase: "Succeeded" } });
  let telling: Telling = facts(undefined, view, 0);
  const gaps: number[] = [];
  for (let nowMs = 0; gaps.length < 6; ) {
    const dueMs = telling.dueMs ?? Number.NaN;
    t.same(facts(telling.said, view, dueMs - 1).facts, [], "not a moment before");
    gaps.push((dueMs - nowMs) / MINUTE);
    nowMs = dueMs;
    telling = facts(telling.said, view, nowMs);
    t.same(telling.facts.map(short), ["ended Complete"]);
  }
  t.same(gaps, [1, 2, 5, 10, 10, 10]);
});

t.test("a fact that was not confirmed is told again: what was said is kept only after it", async (t) => {
  const view = seen({}, { state: running });
  t.same(facts(undefined, view, 0).facts, facts(undefined, view, 5 * SECOND).facts);
});

t.test("every fact says which Job, and the newest version that was seen of it or its pods", async (t) => {
  const [fact] = facts(undefined, seen({}, { state: running, metadata: { resourceVersion: "1000000000000000000001" } }), 0).facts;
  t.match(fact?.data.about, {
    run: "orders/8812/export",
    step: "main",
    attempt: 1,
    uid: "uid-job",
    proof: "proof-1",
    resourceVersion: "1000000000000000000001",
  });
  t.notOk(Object.hasOwn(fact?.data.about ?? {}, "occupant"));
});

t.test("an end comes with a wish for the log of the container that ran", async (t) => {
  const { want, facts: told } = facts(undefined, seen(failed, { state: terminated(1), status: { phase: "Failed" } }), 0);
  t.match(want, { kind: "logs", container: "main" });
  const log = { state: "complete", lines: 1, tail: "no such order\n" } as const;
  t.match(
    told.map((it) => withLog(it, log)),
    [{ data: { evidence: { log } } }],
  );
});

t.test("the log of a failed init container is wished for if nothing else ran", async (t) => {
  const view = seen(failed, {
    status: { phase: "Failed", initContainerStatuses: [{ name: "i", state: terminated(1) }] },
    spec: { initContainers: [{ name: "i" }] },
  });
  t.match(facts(undefined, view, 0).want, { kind: "logs", container: "i" });
});

t.test("the log of a pod that is over is wished for before its Job has ended, and not while it runs", async (t) => {
  const over = facts(undefined, seen({}, { state: terminated(1), status: { phase: "Failed" } }), 0);
  t.match(over, { facts: [{ type: "job.started" }], want: undefined, early: { kind: "logs", container: "main" } });
  t.equal(facts(undefined, seen({}, { state: running, status: { phase: "Running" } }), 0).early, undefined);
});

t.test("no log is wished for if nothing ran", async (t) => {
  t.equal(facts(undefined, seen(failed), 0).want, undefined);
});

t.test("Events are wished for if a Job has no pods after 5 s by our own clock, and every 30 s from then on", async (t) => {
  const first = facts(undefined, seen(), 0);
  t.equal(first.want, undefined);
  t.equal(first.dueMs, 5 * SECOND);
  const second = facts(first.said, seen(), 5 * SECOND);
  t.same(second.want, { kind: "events", uid: "uid-job" });
  t.equal(second.dueMs, 35 * SECOND);
  const answered = facts(second.said, withEvents(seen()), 5 * SECOND);
  t.equal(answered.want, undefined, "what was just asked for is not asked for again");
  t.equal(facts(answered.said, seen(), 34 * SECOND).want, undefined);
  t.same(facts(answered.said, seen(), 35 * SECOND).want, { kind: "events", uid: "uid-job" });
  const atOnce = facts(first.said, withEvents(seen()), 5 * SECOND);
  t.equal(atOnce.dueMs, 35 * SECOND, "also where the answer is told before the question was noted");
});

t.test("no Events are wished for of a suspended Job", async (t) => {
  t.match(facts(undefined, seen({ spec: { suspend: true } }), 60 * SECOND), { want: undefined, dueMs: undefined });
});

t.test("a back-off without a cause is asked about at once, and told with the cause that the Events say", async (t) => {
  const first = facts(undefined, seen({}, inBackOff), 0);
  t.same(first.want, { kind: "events", uid: "uid-pod" });
  const second = facts(
    first.said,
    withEvents(seen({}, inBackOff), event("uid-pod", "Failed", 'Failed to pull image "demo/export:1": not found')),
    0,
  );
  t.same(second.facts.map(short), ["stalled ImageNotFound"]);
  t.same(facts(second.said, seen({}, inBackOff), SECOND).facts, [], "and is remembered");
});

t.test("a scheduler that finds other causes in turns is told of once, and after 30 s with the cause of then", async (t) => {
  const unplaced = (message: string): JobAndPods =>
    seen(
      {},
      { spec: { nodeName: undefined }, status: { conditions: [condition("PodScheduled", "Unschedulable", message, "False")] } },
    );
  const views = [
    "0/3 nodes are available: 3 Insufficient cpu.",
    "0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient cpu.",
    "0/4 nodes are available: 4 Insufficient cpu.",
    "0/4 nodes are available: 4 Insufficient memory.",
  ].map(unplaced);
  let said: Said | undefined;
  const at = (ms: number, view: JobAndPods | undefined) => {
    if (view === undefined) throw new Error("no such view");
    const telling = facts(said, view, ms);
    said = telling.said;
    return { told: telling.facts.map(short), dueMs: telling.dueMs };
  };
  t.same(at(0, views[0]).told, ["stalled Unschedulable"]);
  t.match(at(20, views[1]), { told: [], dueMs: 30 * SECOND });
  t.match(at(40, views[2]), { told: [], dueMs: undefined }, "the cause that was told stands again");
  t.match(at(60, views[3]), { told: [], dueMs: 30 * SECOND });
  t.same(at(30 * SECOND, views[3]).told, ["stalled Unschedulable"]);
  t.match(at(31 * SECOND, views[1]), { told: [], dueMs: 60 * SECOND });
});

t.test("a pod that does not get beyond its creation is asked about", async (t) => {
  const creating = seen({}, { state: waiting("ContainerCreating") });
  const first = facts(undefined, creating, 0);
  t.match(first, { want: undefined, dueMs: 20 * SECOND });
  const second = facts(first.said, creating, 20 * SECOND);
  t.same(second.want, { kind: "events", uid: "uid-pod" });
  const third = facts(second.said, withEvents(creating, event("uid-pod", "FailedMount", 'secret "x" not found')), 20 * SECOND);
  t.same(third.facts.map(short), ["stalled ConfigMissing"]);
});

const said = facts(undefined, seen({}, { state: running }), 0).said;
for (const { name, before = said, found, want, forgotten } of [
  { name: "a Job that a GET does not find is deleted", found: undefined, want: ["deleted"], forgotten: true },
  {
    name: "a Job whose name is another's now is deleted",
    found: seen({ metadata: { uid: "uid-2" } }),
    want: ["deleted"],
    forgotten: true,
  },
  {
    name: "a Job that only lost its label is not deleted, and is read again in time",
    found: seen({ metadata: { labels: {} } }),
    want: [],
    forgotten: false,
  },
  {
    name: "a Job that ended after it lost its label is told as ended",
    found: seen({ metadata: { labels: {} }, ...failed }),
    want: ["ended Failed"],
    forgotten: false,
  },
  {
    name: "the deletion of a Job that we released is no news",
    before: facts(undefined, seen({ ...complete, metadata: { finalizers: [] }, spec: { ttlSecondsAfterFinished: 1 } }), 0).said,
    found: undefined,
    want: [],
    forgotten: true,
  },
] as const)
  t.test(name, async (t) => {
    const telling = afterGet(before, found, SECOND);
    t.same(telling.facts.map(short), want);
    t.equal(telling.said === undefined, forgotten);
    if (!forgotten) t.ok((telling.dueMs ?? Infinity) <= SECOND + MINUTE);
  });

t.test("a Job that nobody was told of and that is gone is no news", async (t) => {
  t.same(afterGet(undefined, undefined, 0).facts, []);
});

t.test("in any order of any views: an end only from a condition, and nothing told twice but what stands", async (t) => {
  const states = fc.constantFrom<NonNullable<RawPod["state"]>>(
    {},
    running,
    terminated(0),
    terminated(1),
    waiting("ErrImagePull", notFound),
    inBackOff.state,
    waiting("ContainerCreating"),
  );
  const pods = fc.array(
    fc.record({
      state: states,
      status: fc.constantFrom<NonNullable<RawPod["status"]>>({}, { phase: "Failed" }, { phase: "Succeeded" }),
    }),
    {
      maxLength: 2,
    },
  );
  const jobs = fc.constantFrom<RawJob>(
    {},
    complete,
    failed,
    { metadata: deletion },
    { metadata: { finalizers: [] } },
    { spec: { suspend: true } },
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(jobs, pods), { maxLength: 12 }), (views) => {
      let before: Said | undefined;
      let starts = 0;
      for (const [at, [of, its]] of views.entries()) {
        const view = seen(of, ...its);
        const telling = facts(before, view, at * SECOND);
        const told = telling.facts.map(short);
        starts += told.filter((it) => it === "started").length;
        if (told.some((it) => it.startsWith("ended")) && of !== complete && of !== failed) return false;
        if (facts(telling.said, view, at * SECOND).facts.length > 0) return false;
        before = telling.said;
      }
      return starts <= 1;
    }),
    { numRuns: 300 },
  );
  t.pass();
});

t.test("that nothing started outlives the pod that showed it", async (t) => {
  const neverMade = { terminated: { exitCode: 137, reason: "ContainerStatusUnknown", startedAt: null, finishedAt: null } };
  const before = facts(undefined, seen({}, { status: { phase: "Failed" }, state: neverMade, metadata: deletion }), 0);
  const [ended] = facts(before.said, seen(failed), SECOND).facts;
  t.match(ended, { type: "job.ended", data: { evidence: { started: "no" } } });
  const [blind] = facts(undefined, seen(failed), SECOND).facts;
  t.match(blind, { data: { evidence: { started: "unknown" } } }, "who saw no pod does not know");
});

t.test("without a hold, an end is told until it is recorded", async (t) => {
  const unheld = (hold: string, ttl?: number): RawJob => ({
    ...complete,
    metadata: { finalizers: [] },
    annotations: { "longshore.dev/hold": hold },
    ...(ttl !== undefined && { spec: { ttlSecondsAfterFinished: ttl } }),
  });
  const first = facts(undefined, seen(unheld("none")), 0);
  t.same(first.facts.map(short), ["ended Complete"]);
  t.same(facts(first.said, seen(unheld("none")), MINUTE).facts.map(short), ["ended Complete"], "and again");
  t.same(facts(first.said, seen(unheld("released", 60)), MINUTE).facts, [], "not once it was recorded");
});

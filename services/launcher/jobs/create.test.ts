import type { Fault } from "@longshore/pocket/testing/faults.ts";
import { HOLD } from "@longshore/domain/run/marks.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { createOrAdopt, occupy } from "./create.ts";
import { probeOne } from "../groups/probe.ts";
import { heard } from "../groups/views.ts";
import { look } from "./look.ts";
import { claimed, GROUP, NAMESPACE, never, type Stage } from "../testing/stage.ts";

const POST = { on: "create" } as const;
const answers = (status: 401 | 403 | 429 | 500 | 503, more: object = {}): Fault => ({
  ...POST,
  trouble: { kind: "status", status, ...more },
});

interface Case {
  readonly name: string;
  readonly faults?: readonly Fault[];
  /** Makes a Job that takes the attempt's name first. */
  readonly alreadyThere?: (it: Stage) => Promise<unknown>;
  readonly want: object;
  readonly jobs: number;
  readonly says?: RegExp;
}

const theirs = (it: Stage) => it.create({ proof: "somebody else's" });
const dead = (it: Stage) => it.create();

const cases: readonly Case[] = [
  { name: "creates the Job", want: { kind: "created", claimNo: 1, adopted: false, uid: String, group: GROUP }, jobs: 1 },
  {
    name: "has no answer if the reply to the create was lost",
    faults: [{ ...POST, trouble: { kind: "lost after writing" } }],
    want: { kind: "unanswered", claimNo: 1 },
    jobs: 1,
  },
  {
    name: "adopts the Job of a launcher that died before writing its UID down",
    alreadyThere: dead,
    want: { kind: "created", claimNo: 1, adopted: true },
    jobs: 1,
  },
  { name: "refuses a name that another run's Job holds", alreadyThere: theirs, want: { kind: "nameTaken", claimNo: 1 }, jobs: 1 },
  {
    name: "does not adopt its own occupant: nothing would ever run in it",
    alreadyThere: (it) => occupy(it.parts, it.cluster, workOf(it), never),
    want: { kind: "nameTaken", claimNo: 1 },
    jobs: 1,
  },
  {
    name: "keeps its claim when the create timed out and nothing is there yet",
    faults: [{ ...POST, trouble: { kind: "lost before writing" } }],
    want: { kind: "unanswered", claimNo: 1 },
    jobs: 0,
  },
  {
    name: "keeps its claim when the name is taken and the cluster went silent before it was read",
    alreadyThere: dead,
    faults: [{ on: "get", resource: "jobs", trouble: { kind: "lost before writing" } }],
    want: { kind: "unanswered", claimNo: 1 },
    jobs: 1,
  },
  {
    name: "goes back in line when nothing can have been sent",
    faults: [{ ...POST, trouble: { kind: "unsent" } }],
    want: { kind: "deferred", claimNo: 1, diagnosis: { code: "EndpointUnreachable" } },
    jobs: 0,
  },
  {
    name: "goes back in line when the cluster has too much to do",
    faults: [answers(429, { retryAfterSeconds: 7 })],
    want: { kind: "deferred", claimNo: 1 },
    jobs: 0,
  },
  {
    name: "takes a 500 for no answer: a proxy may have said it while the create behind it succeeded",
    faults: [answers(500)],
    want: { kind: "unanswered", claimNo: 1 },
    jobs: 0,
  },
  {
    name: "goes back in line, and tells a person, when the token is not accepted",
    faults: [answers(401)],
    want: { kind: "deferred", claimNo: 1, diagnosis: { code: "AuthRejected" } },
    jobs: 0,
    says: /refuses our writes/,
  },
  {
    name: "gives up at once when the cluster will never admit it",
    faults: [answers(403)],
    want: { kind: "refused", claimNo: 1, diagnosis: { code: "AdmissionDenied" } },
    jobs: 0,
  },
];

const quotaFull = {
  kind: "Status",
  apiVersion: "v1",
  reason: "Forbidden",
  message:
    'jobs.batch "x" is forbidden: exceeded quota: some, requested: count/jobs.batch=1, used: count/jobs.batch=5, limited: count/jobs.batch=5',
};

const workOf = (it: Stage) => (it as Stage & { readonly work: Parameters<typeof occupy>[2] }).work;

for (const { name, faults = [], alreadyThere, want, jobs, says } of cases) {
  t.test(name, async (t) => {
    const it = await claimed(t);
    await alreadyThere?.(it);
    for (const fault of faults) it.pocket.cause(fault);
    t.match(await createOrAdopt(it.parts, it.cluster, it.work, never), want);
    t.equal(it.pocket.jobs(NAMESPACE).length, jobs, "Jobs in the cluster");
    if (says === undefined) t.same(it.said, []);
    else t.match(it.said, [{ level: "warn", message: says }]);
  });
}

for (const [what, trouble] of [
  ["a full quota", { status: 403, body: quotaFull }],
  ["a token that is not accepted", { status: 401, body: {} }],
] as const)
  t.test(`${what} is an answer even if the ledger cannot be told of the group`, async (t) => {
    const it = await claimed(t);
    const away = () => Promise.reject(new Failure("retry", "LedgerUnreachable", "The ledger cannot be reached."));
    const parts = { ...it.parts, ledger: { ...it.parts.ledger, setGroup: away, lease: away } };
    const createJob = async () => ({ kind: "answered" as const, ...trouble });
    const cluster = { ...it.cluster, writes: { ...it.cluster.writes, createJob } };
    t.match(await createOrAdopt(parts, cluster, it.work, never), { kind: "deferred", claimNo: 1 });
    t.match(it.said.at(-1), { message: /could not be written down/ });
  });

t.test("a create that waited for its turn behind our own requests was held back by us, and the cluster is well", async (t) => {
  const it = await claimed(t);
  it.pocket.cause({ on: "get", resource: "jobs", trouble: { kind: "lost before writing" } });
  const before = Array.from({ length: 12 }, (_, n) => it.cluster.reads.getJob(`job-${n}`, never));
  const input = await createOrAdopt(it.parts, it.cluster, it.work, never);
  t.match(input, { kind: "deferred", claimNo: 1, reason: "Throttled", diagnosis: { sentence: /this one's turn did not come/ } });
  t.equal(it.pocket.countCreated(it.work.attempt.name), 0);
  await Promise.all(before);
});

t.test("sends nothing to a group that was never reached: no proof could be written on the Job", async (t) => {
  const it = await claimed(t);
  it.parts.views.delete(GROUP);
  t.match(await createOrAdopt(it.parts, it.cluster, it.work, never), { kind: "deferred", claimNo: 1 });
  t.equal(it.pocket.countCreated(it.work.attempt.name), 0);
});

t.test("sends nothing, not even an occupant, if another cluster answers now", async (t) => {
  const it = await claimed(t);
  const { parts, cluster, work } = it;
  it.pocket.meddle({ kind: "delete namespace", name: NAMESPACE });
  it.pocket.meddle({ kind: "create namespace", name: NAMESPACE });
  heard(parts, cluster, { kind: "answered", uid: "another", deleting: false });
  t.match(await createOrAdopt(parts, cluster, work, never), { kind: "deferred", claimNo: 1, diagnosis: { code: "GroupMoved" } });
  t.equal(await occupy(parts, cluster, work, never), undefined);
  t.same(it.pocket.jobs(NAMESPACE), []);
});

t.test("sends nothing after an outage before the namespace has answered: what answers now may be another one", async (t) => {
  const it = await claimed(t);
  const { parts, cluster, work } = it;
  it.pocket.cause({ on: "any", trouble: { kind: "unsent" } });
  await probeOne(parts, cluster, never);
  it.pocket.heal();
  t.match(await createOrAdopt(parts, cluster, work, never), { kind: "deferred", claimNo: 1, again: true });
  t.equal(await occupy(parts, cluster, work, never), undefined);
  t.match(await look(parts, cluster, work, never), { kind: "unseen" });
  t.same(it.pocket.jobs(NAMESPACE), []);
  await probeOne(parts, cluster, never);
  t.match(await createOrAdopt(parts, cluster, work, never), { kind: "created" });
});

t.test("sends nothing into a namespace that another launcher's groups file no longer names", async (t) => {
  const it = await claimed(t);
  const attempt = { ...it.work.attempt, notes: { ...it.work.attempt.notes, namespace: "new" } };
  const input = await createOrAdopt(it.parts, it.cluster, { ...it.work, attempt }, never);
  t.match(input, { kind: "deferred", claimNo: 1, diagnosis: { code: "GroupMoved", hint: /same groups file/ } });
  t.same(it.pocket.jobs(NAMESPACE), []);
});

t.test("two launchers create at once: one Job, and both record the same", async (t) => {
  const it = await claimed(t);
  const both = await Promise.all([1, 2].map(() => createOrAdopt(it.parts, it.cluster, it.work, never)));
  t.equal(it.pocket.jobs(NAMESPACE).length, 1);
  t.equal(it.pocket.countCreated(it.work.attempt.name), 1);
  t.same(
    new Set(both.map((input) => (input.kind === "created" ? input.uid : input.kind))),
    new Set(it.pocket.jobs(NAMESPACE).map(({ metadata }) => metadata.uid)),
  );
});

t.test("says so when a Job comes back without our hold", async (t) => {
  const it = await claimed(t);
  const { createJob } = it.cluster.writes;
  const stripping: typeof createJob = async (...args) => {
    const created = await createJob(...args);
    return created.kind === "created" ? { ...created, finalizers: [] } : created;
  };
  const cluster = { ...it.cluster, writes: { ...it.cluster.writes, createJob: stripping } };
  t.match(await createOrAdopt(it.parts, cluster, it.work, never), { kind: "created" });
  t.match(it.said, [{ message: /without our hold/ }]);
});

t.test("the occupant runs nothing, carries the hold, and is known as what it is", async (t) => {
  const it = await claimed(t);
  t.match(await occupy(it.parts, it.cluster, it.work, never), { kind: "occupied", uid: it.job()?.metadata.uid });
  t.match(it.job(), { spec: { suspend: true, parallelism: 0 }, metadata: { finalizers: [HOLD] } });
  t.same(it.pocket.pods(NAMESPACE), []);
});

type Work = Parameters<typeof createOrAdopt>[2];
const asking = (work: Work, request: object, run: object = {}): Work => ({
  ...work,
  request: { image: "busybox", ...request },
  run: { ...work.run, ...run },
});

t.test("the Job has the values of its expressions, those of a restart's corrections before the request's", async (t) => {
  const it = await claimed(t);
  const request = {
    parameters: { tag: "1", password: "$(LONGSHORE_RUN)" },
    image: "busybox:${{ parameters.tag }}",
    args: ["${{ parameters.password }}", "$(LONGSHORE_RUN)"],
    labels: { tag: "t${{ parameters.tag }}" },
  };
  const plan = { ...it.work.run.plan, withParameters: { tag: "2" } };
  t.match(await createOrAdopt(it.parts, it.cluster, asking(it.work, request, { plan }), never), { kind: "created" });
  t.match(it.job(), {
    metadata: { labels: { tag: "t2" } },
    spec: { template: { spec: { containers: [{ image: "busybox:2", args: ["$$(LONGSHORE_RUN)", "$(LONGSHORE_RUN)"] }] } } },
  });
});

t.test("values with which the step cannot run refuse it before anything is sent, and its name can still be taken", async (t) => {
  const it = await claimed(t);
  const work = asking(
    it.work,
    { image: "${{ steps.load.outputs.image }}" },
    { steps: { load: { state: "ended", n: 1, retries: 0, outputs: { image: [1] } } } },
  );
  const input = await createOrAdopt(it.parts, it.cluster, work, never);
  t.match(input, { kind: "refused", claimNo: 1, diagnosis: { code: "RequestInvalid", evidence: [/^\/image: /] } });
  t.same(it.pocket.jobs(NAMESPACE), []);
  t.match(await occupy(it.parts, it.cluster, work, never), { kind: "occupied" });
});

for (const request of [
  { image: "${{ steps.load.outputs.image }}" },
  { image: "allowed/app", init: [{ name: "first", image: "${{ steps.load.outputs.image }}" }] },
])
  t.test(`an output brings no forbidden image into ${"init" in request ? "an init container" : "the step"}`, async (t) => {
    const it = await claimed(t);
    const settings = { ...it.cluster.settings, policy: { images: ["allowed/*"] } };
    const work = asking(it.work, request, {
      steps: { load: { state: "ended", n: 1, retries: 0, outputs: { image: "evil/app" } } },
    });
    const input = await createOrAdopt(it.parts, { ...it.cluster, settings }, work, never);
    t.match(input, { kind: "refused", diagnosis: { code: "PolicyRefused", sentence: "does not allow the image evil/app" } });
    t.same(it.pocket.jobs(NAMESPACE), []);
  });

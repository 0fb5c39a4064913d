/** The faults of the model's network: their effects on requests, lists and watches. */
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { virtualClock } from "@longshore/kubernetes/testing/virtual-clock.ts";
import t from "tap";
import type { ApiAnswer, ApiRequest, Transport } from "../api.ts";
import { REAL_DELAYS } from "./delays.ts";
import type { Fault } from "./faults.ts";
import { createModel, type Model } from "./model.ts";
import { instantPods, type PodScript, scriptedPods } from "./scripted.ts";

const JOBS = "/apis/batch/v1/namespaces/default/jobs";
const forever = new AbortController().signal;
const body = (name: string) => ({
  metadata: { name, finalizers: ["longshore.dev/unrecorded"], labels: { ours: "yes" } },
  spec: { backoffLimit: 0, template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox" }] } } },
});
const post = (name: string): ApiRequest => ({ method: "POST", path: JOBS, body: body(name) });

function modelWith(faults: readonly Fault[] = [], script?: PodScript) {
  const clock = virtualClock();
  const kubelet = script === undefined ? instantPods(clock) : scriptedPods(clock, () => script);
  const model = createModel({ clock, kubelet, faults });
  return { clock, model, transport: model.transport() };
}

interface Case {
  readonly name: string;
  readonly fault: Fault;
  readonly want: { readonly status: number } | { readonly code: "unsent" | "unanswered" };
  /** The number of Jobs when the client has its answer, and at the end. */
  readonly jobs: readonly [then: number, finally_: number];
}

const cases: readonly Case[] = [
  {
    name: "a refused connection sends nothing",
    fault: { on: "create", trouble: { kind: "unsent" } },
    want: { code: "unsent" },
    jobs: [0, 0],
  },
  {
    name: "a request that is lost on its way writes nothing",
    fault: { on: "create", trouble: { kind: "lost before writing" } },
    want: { code: "unanswered" },
    jobs: [0, 0],
  },
  {
    name: "a lost answer leaves the Job written",
    fault: { on: "create", trouble: { kind: "lost after writing" } },
    want: { code: "unanswered" },
    jobs: [1, 1],
  },
  {
    name: "a delayed request lands after its sender gave up",
    fault: { on: "create", trouble: { kind: "delayed", byMs: 600_000 } },
    want: { code: "unanswered" },
    jobs: [0, 1],
  },
  {
    name: "a slow answer is an answer",
    fault: { on: "create", trouble: { kind: "slow", byMs: 3_000 } },
    want: { status: 201 },
    jobs: [1, 1],
  },
  {
    name: "too many requests write nothing",
    fault: { on: "create", trouble: { kind: "status", status: 429, retryAfterSeconds: 7 } },
    want: { status: 429 },
    jobs: [0, 0],
  },
  {
    name: "an internal error writes nothing",
    fault: { on: "any", trouble: { kind: "status", status: 500 } },
    want: { status: 500 },
    jobs: [0, 0],
  },
  {
    name: "a fault for another verb strikes nobody",
    fault: { on: "delete", trouble: { kind: "unsent" } },
    want: { status: 201 },
    jobs: [1, 1],
  },
  {
    name: "a fault about pods spares Jobs",
    fault: { on: "any", resource: "pods", trouble: { kind: "unsent" } },
    want: { status: 201 },
    jobs: [1, 1],
  },
  {
    name: "a fault whose time is over strikes nobody",
    fault: { on: "any", untilMs: 1, trouble: { kind: "unsent" } },
    want: { status: 201 },
    jobs: [1, 1],
  },
];

for (const { name, fault, want, jobs } of cases) {
  t.test(name, async (t) => {
    const { clock, model, transport } = modelWith([fault]);
    await using _ = model;
    t.match(await outcome(transport, post("one")), want);
    t.equal(model.jobs().length, jobs[0], "when the client knows");
    await clock.sleep(900_000);
    t.equal(model.jobs().length, jobs[1], "in the end");
    t.equal(model.countCreated("one"), jobs[1]);
  });
}

async function outcome(
  transport: Transport,
  request: ApiRequest,
  signal = forever,
): Promise<ApiAnswer | { readonly code: string }> {
  try {
    return await transport.send(request, signal);
  } catch (error) {
    if (isTransient(error)) return { code: error.code };
    throw error;
  }
}

t.test("a client that gives up early hears nothing, and its request lands all the same", async (t) => {
  const { clock, model, transport } = modelWith([{ on: "create", trouble: { kind: "delayed", byMs: 50 } }]);
  await using _ = model;
  const stop = new AbortController();
  const sent = outcome(transport, post("one"), stop.signal);
  stop.abort();
  t.match(await sent, { code: "unanswered" });
  await clock.sleep(100);
  t.equal(model.countCreated("one"), 1);
});

t.test("a fault strikes as often as it says, and healing takes it out", async (t) => {
  const { model, transport } = modelWith([{ on: "any", times: 2, trouble: { kind: "unsent" } }]);
  await using _ = model;
  t.match(
    [await outcome(transport, post("a")), await outcome(transport, post("a")), await outcome(transport, post("a"))],
    [{ code: "unsent" }, { code: "unsent" }, { status: 201 }],
  );
  model.cause({ on: "any", trouble: { kind: "unsent" } });
  t.match(await outcome(transport, post("b")), { code: "unsent" });
  model.heal();
  t.match(await outcome(transport, post("b")), { status: 201 });
});

t.test("a list is stale only if its version allows that, and a GET never is", async (t) => {
  const { model, transport } = modelWith();
  await using _ = model;
  await transport.send(post("old"), forever);
  const before = model.version();
  await transport.send(post("new"), forever);
  const names = async (query: string) =>
    (
      (await transport.send({ method: "GET", path: `${JOBS}?${query}` }, forever)).body as {
        readonly items: readonly { readonly metadata: { readonly name: string } }[];
      }
    ).items.map((it) => it.metadata.name);
  model.cause({ on: "any", trouble: { kind: "stale", versions: model.version() - before } });
  t.same(await names("resourceVersion=0"), ["old"]);
  t.same(await names(""), ["new", "old"], "a list without a version is authoritative");
  t.equal((await transport.send({ method: "GET", path: `${JOBS}/new` }, forever)).status, 200);
  model.heal();
  model.cause({ on: "list", trouble: { kind: "stale", versions: model.version() - before, always: true } });
  t.same(await names(""), ["old"], "unless the fault says so");
});

interface Broken {
  readonly name: string;
  readonly fault: Fault["trouble"];
  readonly ends: "throws" | "ends" | "hangs" | "is refused";
}

const broken: readonly Broken[] = [
  { name: "a watch that is cut throws", fault: { kind: "cut", afterMs: 5_000 }, ends: "throws" },
  { name: "a watch that falls silent never ends", fault: { kind: "silent", afterMs: 1 }, ends: "hangs" },
  { name: "garbage is a line like any other", fault: { kind: "garbage", afterMs: 5_000 }, ends: "ends" },
  { name: "410 in the stream ends it", fault: { kind: "expired", as: "stream", afterMs: 5_000 }, ends: "ends" },
  { name: "410 as a status opens nothing", fault: { kind: "expired", as: "status" }, ends: "is refused" },
];

for (const { name, fault, ends } of broken) {
  t.test(name, async (t) => {
    const { clock, model, transport } = modelWith([{ on: "watch", trouble: fault }]);
    await using _ = model;
    const stream = await transport.open({ method: "GET", path: `${JOBS}?watch=1&timeoutSeconds=60` }, forever);
    t.equal(stream.status, ends === "is refused" ? 410 : 200);
    const lines: string[] = [];
    const read = (async () => {
      try {
        for await (const line of stream.lines) lines.push(line);
        return ends === "is refused" ? "is refused" : "ends";
      } catch {
        return "throws";
      }
    })();
    await clock.sleep(1_000);
    await transport.send(post("one"), forever);
    t.equal(await Promise.race([read, clock.sleep(3_600_000).then(() => "hangs")]), ends);
    if (fault.kind === "garbage") t.throws(() => JSON.parse(lines.at(-1) ?? ""));
    if (ends === "hangs") t.same(lines, []);
    if (fault.kind === "expired" && fault.as === "stream")
      t.match(JSON.parse(lines.at(-1) ?? ""), { type: "ERROR", object: { code: 410 } });
  });
}

t.test("acts of others on a cluster happen, and change nothing for an object that is gone", async (t) => {
  const { clock, model, transport } = modelWith([], {});
  await using _ = model;
  const one = { namespace: "default", name: "one" };
  await transport.send(post("one"), forever);
  await clock.sleep(1_000);
  model.meddle({ kind: "remove label", label: "ours", ...one });
  t.equal(model.jobs()[0]?.metadata.labels?.["ours"], undefined);
  model.meddle({ kind: "delete Job", propagation: "Foreground", ...one });
  await clock.sleep(1_000);
  t.same(model.pods(), []);
  model.meddle({ kind: "strip finalizers", ...one });
  t.same(model.jobs(), []);
  for (const kind of ["strip finalizers", "delete pod"] as const) model.meddle({ kind, ...one });
  const before = model.namespace("default")?.metadata.uid;
  model.meddle({ kind: "delete namespace", name: "default" });
  await clock.sleep(1_000);
  model.meddle({ kind: "create namespace", name: "default" });
  t.not(model.namespace("default")?.metadata.uid, before, "the same name, another namespace");
});

t.test("a pod on a lost node keeps its Job from going until the node is back", async (t) => {
  const clock = virtualClock();
  const kubelet = scriptedPods(clock, () => ({ onStop: { kind: "stuck" } }));
  await using model = createModel({ clock, kubelet });
  const transport = model.transport();
  await transport.send(post("one"), forever);
  await clock.sleep(1_000);
  model.meddle({ kind: "delete Job", propagation: "Foreground", namespace: "default", name: "one" });
  await clock.sleep(3_600_000);
  t.match(model.pods(), [{ status: { phase: "Running" }, metadata: { deletionTimestamp: String } }]);
  t.match(model.jobs(), [{ metadata: { finalizers: ["longshore.dev/unrecorded", "foregroundDeletion"] } }]);
  kubelet.heal();
  await clock.sleep(10_000);
  t.same(model.pods(), []);
  t.match(model.jobs(), [{ metadata: { finalizers: ["longshore.dev/unrecorded"] } }]);
});

t.test("the same chance makes the same history", async (t) => {
  t.equal(await history(7), await history(7));
  t.not(await history(7), await history(8));
});

async function history(seed: number): Promise<string> {
  let state = seed;
  const random = (): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  const clock = virtualClock({ random });
  const kubelet = scriptedPods(clock, () => ({
    startsAfterMs: 100,
    runsMs: Math.floor(random() * 5_000),
    exitCode: random() < 0.3 ? 1 : 0,
  }));
  const faults: readonly Fault[] = [
    { on: "create", chance: 0.3, trouble: { kind: "delayed", byMs: 20_000 } },
    { on: "any", chance: 0.2, trouble: { kind: "lost after writing" } },
  ];
  await using model: Model = createModel({ clock, kubelet, faults, delays: REAL_DELAYS });
  const transport = model.transport();
  await Promise.all(Array.from({ length: 20 }, (_, n) => outcome(transport, post(`job-${n}`))));
  await clock.sleep(60_000);
  return JSON.stringify([model.jobs(), model.pods(), model.requests()]);
}

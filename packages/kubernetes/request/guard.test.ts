import { Failure } from "@longshore/contract/problems/problem.ts";
import t from "tap";
import { openClusters } from "../clusters.ts";
import { type GuardOptions, guard } from "./guard.ts";
import { type ClusterRequest, PURPOSES, sendInTime, within } from "./purpose.ts";
import { networkCode, silence } from "./silence.ts";
import { type Play, scripted } from "../testing/scripted.ts";
import { standingClock, type VirtualClock, virtualClock } from "../testing/virtual-clock.ts";
import type { ApiAnswer, Transport } from "../transport.ts";

const never = new AbortController().signal;
const get: ClusterRequest = { purpose: "read", method: "GET", path: "/apis/batch/v1/namespaces/batch/jobs/a" };
const post: ClusterRequest = { purpose: "create", method: "POST", path: "/apis/batch/v1/namespaces/batch/jobs", body: {} };
const release: ClusterRequest = { purpose: "release", method: "PATCH", path: "/apis/batch/v1/namespaces/batch/jobs/a", body: {} };
const watch: ClusterRequest = { purpose: "watch", method: "GET", path: "/apis/batch/v1/namespaces/batch/jobs?watch=true" };
const ok: Play = { answer: 200, body: {} };
const lost: Play = { fails: "unanswered" };

function guarded(plays: readonly Play[], options: Partial<GuardOptions> = {}) {
  const clock = virtualClock();
  const transport = scripted(plays);
  return { clock, transport, cluster: guard(transport, { name: "prod-a", clock, ...options }) };
}

async function outcome(promise: Promise<ApiAnswer>): Promise<string> {
  try {
    return String((await promise).status);
  } catch (error) {
    return error instanceof Failure ? error.code : "a bug";
  }
}

t.test("opens after failures in a row, sends nothing while open, then one probe that decides", async (t) => {
  const { clock, transport, cluster } = guarded([lost, lost, lost, lost, ok, ok], {
    breaker: { failuresMax: 3, firstMs: 1_000 },
  });
  const said: string[] = [];
  for (let i = 0; i < 5; i++) said.push(await outcome(cluster.send(get, never)));
  t.same(said, ["unanswered", "unanswered", "unanswered", "unsent", "unsent"]);
  t.equal(transport.requests.length, 3, "the last two went nowhere");
  await t.rejects(cluster.send(get, never), { message: /tried again in 1 s. It was unanswered/ });

  await clock.sleep(1_100);
  t.same(
    await Promise.all([outcome(cluster.send(get, never)), outcome(cluster.send(get, never))]),
    ["unanswered", "unsent"],
    "one probe",
  );
  await clock.sleep(1_100);
  t.equal(await outcome(cluster.send(get, never)), "unsent", "longer, after a probe that failed");
  await clock.sleep(1_100);
  t.equal(await outcome(cluster.send(get, never)), "200");
  t.equal(await outcome(cluster.send(get, never)), "200");
});

t.test("a gateway without an API server behind it opens the breaker; refusals do not", async (t) => {
  const refusals: Play[] = [403, 404, 409, 422, 429, 500].map((answer) => ({ answer, body: {} }));
  const refusing = guarded(refusals, { breaker: { failuresMax: 2 } });
  for (const _ of refusals) await outcome(refusing.cluster.send(get, never));
  t.equal(refusing.transport.requests.length, refusals.length, "all were sent");
  const gateway = guarded([{ answer: 503, body: "" }, { answer: 502, body: "" }, ok], { breaker: { failuresMax: 2 } });
  await outcome(gateway.cluster.send(get, never));
  await outcome(gateway.cluster.send(get, never));
  t.equal(await outcome(gateway.cluster.send(get, never)), "unsent");
});

t.test(
  "a cluster that says nothing is given up in time, and blamed; a caller that stops is not the cluster's fault",
  async (t) => {
    const silent = guarded([{ hangs: true }], { breaker: { failuresMax: 1 } });
    t.equal(await outcome(sendInTime({ transport: silent.cluster, clock: silent.clock }, get, never)), "unanswered");
    t.same(silent.clock.slept, [PURPOSES.read.withinMs]);
    t.equal(await outcome(silent.cluster.send(get, never)), "unsent");

    const shorter = guarded([{ hangs: true }], { breaker: { failuresMax: 1 } });
    await outcome(within(shorter.clock, 10, never, (signal) => shorter.cluster.send(get, signal)));
    t.equal(await outcome(shorter.cluster.send(get, never)), "unsent", "the caller's own bound counts as well");

    const stopping = guarded([{ hangs: true }, ok], { breaker: { failuresMax: 1 } });
    const stop = new AbortController();
    const waiting = outcome(stopping.cluster.send(get, stop.signal));
    stop.abort();
    await waiting;
    t.equal(await outcome(stopping.cluster.send(get, never)), "200");
  },
);

t.test("after a 429 nothing is sent for as long as it asked", async (t) => {
  const { clock, transport, cluster } = guarded([{ answer: 429, headers: { "retry-after": "2" }, body: {} }, ok]);
  const begun = clock.now();
  await cluster.send(get, never);
  t.equal(await outcome(cluster.send(get, never)), "200");
  t.ok(clock.now() - begun >= 2_000, `${clock.now() - begun} ms`);
  t.equal(transport.requests.length, 2);
});

t.test("after a 429 that asks for a long pause, requests are told so instead of waiting", async (t) => {
  const { transport, cluster } = guarded([{ answer: 429, headers: { "retry-after": "60" }, body: {} }, ok]);
  await cluster.send(get, never);
  t.equal(await outcome(cluster.send(get, never)), "unsent");
  t.equal(transport.requests.length, 1);
});

t.test("a 429 holds back those too who stood in line already", async (t) => {
  const throttled = Array.from({ length: 500 }, (): Play => ({ answer: 429, headers: { "retry-after": "1" }, body: "later" }));
  const { clock, transport, cluster } = guarded(throttled, { inFlightMax: 4 });
  const begun = clock.now();
  const all = await Promise.all(Array.from({ length: 500 }, () => outcome(cluster.send(post, never))));
  const seconds = Math.ceil((clock.now() - begun) / 1_000);
  t.ok(seconds <= 6, `those in line were told after ${seconds} s`);
  t.ok(transport.requests.length <= 4 + 3 * seconds, `${transport.requests.length} requests in ${seconds} s`);
  t.equal(all.filter((it) => it === "unsent").length, 500 - transport.requests.length, "the others were not sent");
});

t.test("a watch that is refused with 429 keeps requests back as well, for as long as its header asks", async (t) => {
  const { clock, cluster } = guarded([{ refuses: 429, headers: { "retry-after": "4" }, body: "Too many requests." }, ok]);
  const begun = clock.now();
  await cluster.open(watch, never);
  t.equal(await outcome(cluster.send(get, never)), "200");
  t.ok(clock.now() - begun >= 4_000, `${clock.now() - begun} ms`);
});

/** A cluster that answers when the test says so. */
function manual(clock: VirtualClock) {
  const inFlight: ((status: number) => void)[] = [];
  const transport: Transport = {
    ...scripted([]),
    send: () =>
      new Promise((resolve) => inFlight.push((status) => resolve({ status, headers: { "retry-after": "0" }, body: {} }))),
  };
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const frozen = standingClock(clock.now());
  return { inFlight, transport, turn, frozen };
}

t.test("at most so many requests are with the cluster; it shrinks by a 429 and grows again", async (t) => {
  const { inFlight, transport, turn, frozen } = manual(virtualClock());
  const cluster = guard(transport, { name: "prod-a", clock: frozen, inFlightMax: 8 });
  const all = Array.from({ length: 100 }, () => outcome(cluster.send(get, never)));
  await turn();
  t.equal(inFlight.length, 8);
  t.same(cluster.load(), { window: 8, inFlight: 8, waiting: 92 });
  inFlight.shift()?.(429);
  await turn();
  t.equal(cluster.load().window, 4);
  t.equal(inFlight.length, 7, "those that are out stay out, no new one goes");
  let most = 0;
  while (inFlight.length > 0) {
    inFlight.shift()?.(200);
    await turn();
    most = Math.max(most, cluster.load().inFlight);
  }
  t.equal((await Promise.all(all)).length, 100);
  t.equal(cluster.load().window, 8);
  t.ok(most <= 8);
});

t.test("creates pass releases that wait, and every fourth place is a release's", async (t) => {
  const { inFlight, transport, turn, frozen } = manual(virtualClock());
  const cluster = guard(transport, { name: "prod-a", clock: frozen, inFlightMax: 1 });
  const sent: string[] = [];
  const said = (request: ClusterRequest) => outcome(cluster.send(request, never)).then(() => sent.push(request.purpose));
  const all = [get, ...Array<ClusterRequest>(3).fill(release), ...Array<ClusterRequest>(5).fill(post)].map(said);
  await turn();
  for (const _ of all) {
    inFlight.shift()?.(200);
    await turn();
  }
  await Promise.all(all);
  t.same(sent, ["read", "create", "create", "create", "release", "create", "create", "release", "release"]);
});

t.test("requests beyond the line's length are sent away, and one that gives up leaves the line", async (t) => {
  const { inFlight, transport, turn, frozen } = manual(virtualClock());
  const cluster = guard(transport, { name: "prod-a", clock: frozen, inFlightMax: 1, waitingMax: 2 });
  const stop = new AbortController();
  const first = outcome(cluster.send(get, never));
  const second = outcome(cluster.send(get, stop.signal));
  const third = outcome(cluster.send(get, never));
  await turn();
  t.equal(await outcome(cluster.send(get, never)), "unsent", "the line is full");
  stop.abort();
  t.equal(await second, "unsent");
  inFlight.shift()?.(200);
  await turn();
  inFlight.shift()?.(200);
  t.same(await Promise.all([first, third]), ["200", "200"]);
  t.same(cluster.load(), { window: 1, inFlight: 0, waiting: 0 });
});

t.test("a request that waits too long for its turn is told so, and nothing of it was sent", async (t) => {
  const clock = virtualClock();
  const cluster = guard(scripted([]), { name: "prod-a", clock, inFlightMax: 1, waitMaxMs: 5_000 });
  const first = outcome(sendInTime({ transport: cluster, clock }, get, never));
  t.equal(await outcome(cluster.send(get, never)), "unsent");
  t.equal(cluster.load().inFlight, 1, "the first one is still out");
  t.equal(await first, "unanswered");

  const paced = guarded(
    Array.from({ length: 20 }, () => ok),
    { createsPerSecond: 1 },
  );
  const results = await Promise.all(Array.from({ length: 10 }, () => outcome(paced.cluster.send(post, never))));
  t.same(results, [..."200 200 200 200 200 200".split(" "), ..."unsent unsent unsent unsent".split(" ")]);
});

t.test("a request that we hold back ourselves says so: it is no word about the cluster", async (t) => {
  const frozen = manual(virtualClock());
  const full = guard(frozen.transport, { name: "prod-a", clock: virtualClock(), inFlightMax: 1, waitingMax: 1 });
  const [, waits, tooMany] = [1, 2, 3].map(() => full.send(get, never).catch((error: unknown) => error));
  const paused = guarded([{ answer: 429, headers: { "retry-after": "60" }, body: {} }]).cluster;
  await paused.send(get, never);
  for (const held of [waits, tooMany, paused.send(get, never).catch((error: unknown) => error)])
    t.match(await held, { code: "unsent", cause: { code: "Throttled" } });
});

t.test("a probe does not wait behind the requests that are in line", async (t) => {
  const { inFlight, transport, turn, frozen } = manual(virtualClock());
  const cluster = guard(transport, { name: "prod-a", clock: frozen, inFlightMax: 1 });
  const busy = [outcome(cluster.send(post, never)), outcome(cluster.send(post, never))];
  const probe = outcome(cluster.send({ purpose: "probe", method: "GET", path: "/api/v1/namespaces/batch" }, never));
  await turn();
  t.equal(inFlight.length, 2, "the first create, and the probe");
  for (let sent = 0; sent < 3; sent++) {
    inFlight.shift()?.(200);
    await turn();
  }
  t.equal(await probe, "200");
  t.same(await Promise.all(busy), ["200", "200"]);
});

const log: ClusterRequest = { purpose: "log", method: "GET", path: "/api/v1/namespaces/batch/pods/a-xyz/log?container=main" };

t.test("nodes that do not answer for their logs are no word about their cluster", async (t) => {
  const plays: Play[] = [lost, lost, { answer: 503, body: "" }, { answer: 502, body: "" }, ok];
  const { cluster, transport } = guarded(plays, { breaker: { failuresMax: 2 }, inFlightMax: 8 });
  for (let i = 0; i < 4; i++) await outcome(cluster.send(log, never));
  t.equal(cluster.load().window, 8);
  t.equal(await outcome(cluster.send(get, never)), "200");
  t.equal(transport.requests.length, plays.length);
  const away = guarded([{ fails: "unsent" }, { fails: "unsent" }], { breaker: { failuresMax: 2 } });
  for (let i = 0; i < 2; i++) await outcome(away.cluster.send(log, never));
  t.equal(await outcome(away.cluster.send(get, never)), "unsent", "an API server that cannot be reached for them is away");
  t.equal(away.transport.requests.length, 2);
});

t.test("logs that hang keep nothing else waiting, and are given up without blame", async (t) => {
  const clock = virtualClock();
  const cluster = guard(scripted([]), { name: "prod-a", clock, inFlightMax: 4, breaker: { failuresMax: 1 } });
  const logs = Array.from({ length: 8 }, () => outcome(sendInTime({ transport: cluster, clock }, log, never)));
  await clock.sleep(1_000);
  t.same(cluster.load(), { window: 4, inFlight: 0, waiting: 0 });
  await Promise.all(logs);
  t.equal(await outcome(within(clock, 1_000, never, (inner) => cluster.send(get, inner))), "unanswered", "it was sent");
});

t.test("an open breaker keeps saying why", async (t) => {
  const clock = virtualClock();
  const cause = Object.assign(new Error("self-signed certificate"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" });
  const untrusted = guard(
    { ...scripted([]), send: () => Promise.reject(silence("it", false, cause)) },
    { name: "prod-a", clock, breaker: { failuresMax: 1 } },
  );
  t.equal(await outcome(untrusted.send(get, never)), "unsent");
  const failure = await untrusted.send(get, never).then(
    () => undefined,
    (error: unknown) => error,
  );
  t.match(failure, { code: "unsent", message: /tried again in 1 s.*signed by itself/ });
  t.equal(networkCode(failure), "DEPTH_ZERO_SELF_SIGNED_CERT");
});

t.test("paces creates, and nothing else", async (t) => {
  const { clock, cluster } = guarded(
    Array.from({ length: 30 }, () => ok),
    { createsPerSecond: 5, inFlightMax: 20 },
  );
  const begun = clock.now();
  const dryRun: ClusterRequest = { ...post, purpose: "inquire", path: `${post.path}?dryRun=All` };
  await Promise.all(Array.from({ length: 10 }, (_, n) => cluster.send(n % 2 === 0 ? get : dryRun, never)));
  t.equal(clock.now(), begun, "reads and dry runs do not wait");
  await Promise.all(Array.from({ length: 11 }, () => cluster.send(post, never)));
  t.equal(clock.now() - begun, 2_000);
});

t.test("a dead cluster costs the others nothing", async (t) => {
  const clock = virtualClock();
  const dead = scripted([]); // takes every request and never answers
  const transports = Array.from({ length: 20 }, (_, i) => (i === 7 ? dead : scripted(Array.from({ length: 50 }, () => ok))));
  const clusters = openClusters(
    transports.map((transport, i) => ({ name: `g${i}`, namespace: "batch", transport })),
    { clock },
  );
  const begun = clock.now();
  const doomed = Promise.all(Array.from({ length: 50 }, () => outcome(sendInTime(clusters.cluster("g7"), get, never))));
  const others = transports
    .keys()
    .map((i) => `g${i}`)
    .filter((it) => it !== "g7")
    .toArray();
  const answers = await Promise.all(
    others.flatMap((name) => Array.from({ length: 50 }, () => outcome(clusters.cluster(name).transport.send(get, never)))),
  );
  t.ok(answers.every((it) => it === "200"));
  t.equal(clock.now(), begun, "none of them waited");
  t.ok((await doomed).every((it) => it === "unanswered" || it === "unsent"));
  t.ok(dead.requests.length <= 13, `${dead.requests.length} requests were spent on the dead one`);
  t.equal(await outcome(clusters.cluster("g7").transport.send(get, never)), "unsent", "and it is sent nothing more");
  t.throws(() => clusters.cluster("g99"), /g99/);
});

t.test("counts requests and their outcomes", async (t) => {
  const seen: string[] = [];
  const { cluster } = guarded([ok, lost, { lines: [], then: "ends" }], {
    onRequest: (_group, purpose, code) => seen.push(`${purpose} ${code}`),
  });
  await outcome(cluster.send(get, never));
  await outcome(cluster.send(post, never));
  await cluster.open(watch, never);
  t.same(seen, ["read 200", "create unanswered", "watch 200"]);
});

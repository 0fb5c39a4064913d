/** Health, readiness and metrics, as a probe and a scraper see them. */
import { once } from "node:events";
import { connect } from "node:net";
import t from "tap";
import { address, type HealthOptions, serveHealth } from "./health.ts";
import { openMetrics } from "./metrics.ts";
import { stepsClock } from "./testing/steps-clock.ts";

async function served(t: { teardown(end: () => unknown): void }, options: Partial<HealthOptions>) {
  const health = await serveHealth({ listen: "127.0.0.1:0", parts: {}, metrics: openMetrics("launcher", "1.2.3"), ...options });
  t.teardown(() => health[Symbol.asyncDispose]());
  return async (path: string) => {
    const answer = await fetch(health.url + path);
    return { status: answer.status, text: await answer.text() };
  };
}

/** The broker is ready, and the ledger does not answer until its time is up. */
async function answeredWhileLedgerHangs(t: Parameters<typeof served>[0], path: string) {
  const clock = stepsClock();
  const asked = Promise.withResolvers<void>();
  const ledger = (): Promise<never> => {
    asked.resolve();
    return new Promise(() => {});
  };
  const get = await served(t, { clock, parts: { broker: () => ({ ready: true, says: "connected" }), ledger } });
  const answer = get(path);
  await asked.promise;
  await clock.pass(2_000);
  return await answer;
}

t.test("is healthy while a part is away, and not ready, naming it", async (t) => {
  const get = await served(t, {
    parts: {
      ledger: () => ({ ready: true, says: "connected" }),
      broker: () => ({ ready: false, says: "reconnecting: ECONNREFUSED" }),
      cluster: () => {
        throw new Error("no such group");
      },
    },
  });
  t.equal((await get("/healthz")).status, 200);
  const { status, text } = await get("/readyz");
  t.equal(status, 503);
  t.same(text.trimEnd().split("\n"), [
    "ready      ledger  connected",
    "not ready  broker  reconnecting: ECONNREFUSED",
    "not ready  cluster  no such group",
  ]);
});

t.test("is ready when all parts are", async (t) => {
  const get = await served(t, { parts: { ledger: async () => ({ ready: true, says: "connected" }) } });
  t.equal((await get("/readyz")).status, 200);
  t.equal((await get("/else")).status, 404);
});

t.test("a part that does not answer is not ready; the probe does not hang with it", async (t) => {
  const { status, text } = await answeredWhileLedgerHangs(t, "/readyz");
  t.equal(status, 503);
  t.match(text, "asking it took longer than 2000 ms");
});

t.test("metrics appear when they are first set, and a replaced gauge forgets what is gone", async (t) => {
  const metrics = openMetrics("launcher", "1.2.3");
  const get = await served(t, { metrics, refresh: async () => metrics.set("longshore_outbox_events", {}, 4) });
  t.notMatch(await metrics.text(), "longshore_unaccounted", "not measured is not 0");

  metrics.count("longshore_commands_total", { type: "run.requested", outcome: "recorded" });
  metrics.replace("longshore_holds", [{ labels: { group: "a", job_state: "running" }, value: 2 }]);
  metrics.replace("longshore_holds", [{ labels: { group: "b", job_state: "running" }, value: 1 }]);
  metrics.observe("longshore_run_phase_duration_seconds", { group: "a", phase: "waited" }, 3);
  const { status, text } = await get("/metrics");
  t.equal(status, 200);
  for (const line of [
    'longshore_build_info{service="launcher",version="1.2.3",node=',
    'longshore_commands_total{type="run.requested",outcome="recorded"} 1',
    'longshore_holds{group="b",job_state="running"} 1',
    'longshore_run_phase_duration_seconds_bucket{le="5",group="a",phase="waited"} 1',
    "longshore_outbox_events 4",
  ]) {
    t.match(text, line);
  }
  t.notMatch(text, 'longshore_holds{group="a"');
});

t.test("a gauge that could not be measured is no longer told, with labels or without", async (t) => {
  const metrics = openMetrics("launcher", "1.2.3");
  metrics.set("longshore_outbox_events", {}, 4);
  metrics.set("longshore_group_slots", { group: "a" }, 9);
  metrics.forget(["longshore_outbox_events", "longshore_group_slots"]);
  t.notMatch(await metrics.text(), /^longshore_(outbox_events|group_slots)/m);
  metrics.set("longshore_outbox_events", {}, 0);
  t.match(await metrics.text(), /^longshore_outbox_events 0$/m);
});

t.test("a scraper is told which part is ready, and a part that hangs does not keep the others' numbers from it", async (t) => {
  const { status, text } = await answeredWhileLedgerHangs(t, "/metrics");
  t.equal(status, 200);
  t.match(text, 'longshore_part_up{part="broker"} 1');
  t.match(text, 'longshore_part_up{part="ledger"} 0');
  t.match(text, "longshore_build_info");
});

t.test("a path that is not served, a huge head, and a client that never ends its request", async (t) => {
  const health = await serveHealth({ listen: "127.0.0.1:0", parts: {}, metrics: openMetrics("launcher", "1.2.3") });
  t.teardown(() => health[Symbol.asyncDispose]());
  const { port } = new URL(health.url);
  /** Sends these bytes; returns the answer once the server has closed the connection. */
  const answerTo = async (bytes: string): Promise<string> => {
    const socket = connect(Number(port), "127.0.0.1");
    socket.write(bytes);
    let heard = "";
    socket.on("data", (chunk) => (heard += chunk));
    socket.on("error", () => undefined); // a server that will not read the rest resets the connection
    await once(socket, "close");
    return heard;
  };
  t.match(await (await fetch(`${health.url}/../etc/passwd`)).text(), "here are /healthz, /readyz and /metrics");
  const [huge, slow] = await Promise.all([
    answerTo(`GET /healthz HTTP/1.1\r\nhost: here\r\nx: ${"x".repeat(20_000)}\r\n\r\n`),
    answerTo("GET /healthz HTTP/1.1\r\nhost: he"),
  ]);
  t.match(huge, "431 Request Header Fields Too Large");
  t.match(slow, "408 Request Timeout");
  t.equal((await fetch(`${health.url}/healthz`)).status, 200, "others are served on");
});

t.test("two programs in one process do not share their numbers", async (t) => {
  const [one, other] = [openMetrics("launcher", "1"), openMetrics("watcher", "1")];
  one.set("longshore_unaccounted", {}, 7);
  t.notMatch(await other.text(), "longshore_unaccounted");
});

t.test("addresses", async (t) => {
  t.same(address("0.0.0.0:9090"), { host: "0.0.0.0", port: 9090 });
  t.same(address(":9090"), { host: "0.0.0.0", port: 9090 });
  t.same(address("[::1]:80"), { host: "::1", port: 80 });
  for (const wrong of ["9090", "localhost", "a:99999", "a:b"]) t.throws(() => address(wrong), /is no address to listen on/);
});

t.test("a port that is taken is said in a sentence", async (t) => {
  const first = await serveHealth({ listen: "127.0.0.1:0", parts: {}, metrics: openMetrics("a", "1") });
  t.teardown(() => first[Symbol.asyncDispose]());
  const listen = first.url.replace("http://", "");
  await t.rejects(serveHealth({ listen, parts: {}, metrics: openMetrics("b", "1") }), {
    name: "ConfigProblems",
    message:
      /http\.listen: cannot listen on 127\.0\.0\.1:\d+ for health: another program listens there already.* set another port\./,
  });
});

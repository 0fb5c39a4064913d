/**
 * A probe's effect on a group's health: an outage changes the health; a request that was held back, by us or by the server
 * (429), does not.
 */
import { GroupName } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Got } from "@longshore/kubernetes/request/read.ts";
import type { Fault } from "@longshore/pocket/testing/faults.ts";
import t, { type Test } from "tap";
import type { Cluster } from "../parts.ts";
import { probe, probeOne } from "./probe.ts";
import { viewOf } from "./views.ts";
import { GROUP, NAMESPACE, never, settingsFor, stage, type Stage } from "../testing/stage.ts";

const FRESH = GroupName.parse("prod-b");
const busy: Fault = { on: "any", times: 1, trouble: { kind: "status", status: 429, retryAfterSeconds: 30 } };
const down: Fault = { on: "any", trouble: { kind: "unsent" } };

/** Two groups on one cluster: one was found healthy, the other was never reached. */
async function staged(t: Test): Promise<Stage & { readonly fresh: Cluster }> {
  const it = await stage(t);
  await it.parts.ledger.putGroups([GROUP, FRESH].map((name) => ({ name, namespace: NAMESPACE, settings: settingsFor(10) })));
  return { ...it, fresh: { ...it.cluster, name: FRESH } };
}

const healthOf = async ({ parts }: Stage, name: GroupName) =>
  (await parts.ledger.groups()).find((it) => it.name === name)?.health;

for (const asked of ["the probe", "a request before it"]) {
  t.test(`a Retry-After of 30 s, said to ${asked}, leaves a healthy group healthy and an unknown one unknown`, async (t) => {
    const it = await staged(t);
    it.pocket.cause(busy);
    if (asked !== "the probe") await it.cluster.reads.getJob("any", never);
    for (let probes = 0; probes < 2; probes++)
      for (const cluster of [it.cluster, it.fresh]) await probeOne(it.parts, cluster, never);

    t.equal(await healthOf(it, GROUP), "healthy");
    t.equal(viewOf(it.parts, GROUP).state, "healthy");
    t.equal(await healthOf(it, FRESH), "unknown");
    t.equal(viewOf(it.parts, FRESH).state, "unverified");
    t.same(it.said, [], "nobody is told of a cluster that cannot be reached");

    await it.clock.sleep(40_000);
    await probeOne(it.parts, it.fresh, never);
    t.equal(await healthOf(it, FRESH), "healthy", "asked again when the pause was over");
  });
}

t.test("an outage turns a group unhealthy at once if it was never reached, and else after two silences", async (t) => {
  const it = await staged(t);
  it.pocket.cause(down);
  const begun = it.clock.now();
  for (const cluster of [it.cluster, it.fresh]) await probeOne(it.parts, cluster, never);
  for (const name of [GROUP, FRESH]) {
    t.equal(await healthOf(it, name), "unhealthy", name);
    t.match(viewOf(it.parts, name), { state: "away", diagnosis: { code: "EndpointUnreachable" } });
  }
  t.ok(it.clock.now() > begun, "the healthy one was asked again a little later");
});

t.test("a pause that was asked for does not make an unhealthy group healthy", async (t) => {
  const it = await staged(t);
  it.pocket.cause({ ...down, times: 2 });
  await probeOne(it.parts, it.cluster, never);
  it.pocket.cause(busy);
  await probeOne(it.parts, it.cluster, never);
  t.equal(await healthOf(it, GROUP), "unhealthy");
});

// ── Two launchers ────────────────────────────────────────────────────────────────────────────────────────────────────

/** A second launcher, whose probes always get this answer. */
function another(it: Stage, got: Got): (atMs?: number) => Promise<void> {
  const parts = { ...it.parts, owner: "launcher-2", views: new Map() };
  const cluster: Cluster = { ...it.cluster, reads: { ...it.cluster.reads, getNamespace: async () => got } };
  return async () => void (await probeOne(parts, cluster, never));
}

const untrusted: Got = { kind: "unsent", failure: new Failure("retry", "unsent", "The certificate is not trusted.") };
const forbidden: Got = { kind: "answered", status: 401, body: {} };

t.test("a launcher without a way to a group does not contradict one that reaches it, as long as that one says so", async (t) => {
  const it = await stage(t);
  const cutOff = another(it, untrusted);
  for (let turns = 0; turns < 5; turns++) {
    await cutOff();
    t.equal(await healthOf(it, GROUP), "healthy");
    await it.clock.sleep(it.parts.timing.probeMs);
    await probeOne(it.parts, it.cluster, never);
  }
  await it.clock.sleep(4 * it.parts.timing.probeMs);
  await cutOff();
  t.equal(await healthOf(it, GROUP), "unhealthy", "the other one is gone");
});

t.test("of two reasons for which a group is unhealthy the first stays, as long as its launcher says so", async (t) => {
  const it = await stage(t);
  const code = async () => (await it.parts.ledger.groups())[0]?.diagnosis?.code;
  const refused = another(it, forbidden);
  it.pocket.cause(down);
  await probeOne(it.parts, it.cluster, never);
  for (let turns = 0; turns < 5; turns++) {
    await refused();
    t.equal(await code(), "EndpointUnreachable");
    await it.clock.sleep(it.parts.timing.probeMs);
    await probeOne(it.parts, it.cluster, never);
  }
  await it.clock.sleep(4 * it.parts.timing.probeMs);
  await refused();
  t.equal(await code(), "AuthRejected", "the other one is gone");
});

t.test("a pause and a resume are one line of the log each", async (t) => {
  const it = await stage(t);
  const said: string[] = [];
  const log = { ...it.parts.log, info: (message: string) => void said.push(message) };
  const stop = new AbortController();
  const probing = probe({ ...it.parts, log }, it.cluster)(stop.signal);
  for (const paused of [false, true, true, false]) {
    await it.parts.ledger.setGroup(GROUP, { paused });
    await it.clock.sleep(3 * it.parts.timing.probeMs);
  }
  stop.abort();
  await it.clock.sleep(1);
  await probing;
  t.match(said, [/^a group is paused/, /^a group is resumed/]);
  t.equal(said.length, 2);
});

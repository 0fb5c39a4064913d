import { writeFact } from "@longshore/contract/messages/envelope.ts";
import { GroupName, Uid } from "@longshore/contract/ids.ts";
import t from "tap";
import { look } from "../jobs/look.ts";
import { observe } from "./observe.ts";
import { claimed, deliveryOf, GROUP, INSTALLATION, live, NAMESPACE, never, RUN, type Stage, stage } from "../testing/stage.ts";
import { probeOne, writeRefused } from "../groups/probe.ts";
import { heard, viewOf } from "../groups/views.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";

function about(it: Stage) {
  const { step, n: attempt, name, uid } = it.attempt();
  const namespaceUid = it.model.tables.groups.get(GROUP)?.namespaceUid ?? "";
  const proof = it.parts.keys.prove({ run: RUN, step, attempt }, { group: GROUP, namespaceUid });
  return {
    installation: INSTALLATION, group: GROUP, namespace: NAMESPACE, name, resourceVersion: "50", proof, run: RUN, step, attempt,
    uid: uid ?? Uid.parse("uid-of-none"),
  }; // biome-ignore format: one value
}

const started = (of: ReturnType<typeof about> & { readonly occupant?: boolean }): Uint8Array =>
  writeFact({ id: "f1", source: "/watcher", type: "job.started", data: { about: of, evidence: { started: "yes" } } } as Parameters<typeof writeFact>[0]); // biome-ignore format: one line

interface Case {
  readonly name: string;
  readonly change?: Partial<ReturnType<typeof about> & { readonly occupant: boolean }>;
  readonly last: string;
  readonly says?: RegExp;
}

const cases: readonly Case[] = [
  { name: "a fact of our Job is applied", last: "run.started" },
  { name: "one with a proof that is not ours is not believed", change: { proof: "copied" }, last: "run.launched", says: /not believed/ },
  { name: "one of another installation's Job is not believed", change: { installation: "other" as never }, last: "run.launched", says: /not believed/ },
  { name: "one of an attempt that the proof does not name is not believed", change: { attempt: 2 }, last: "run.launched", says: /not believed/ },
  { name: "one of another group is not believed", change: { group: GroupName.parse("prod-b") }, last: "run.launched", says: /not believed/ },
  { name: "one of our occupant is not believed", change: { occupant: true }, last: "run.launched", says: /not believed/ },
  { name: "one of a copy of our Job, proof and all, starts nothing: its UID is another", change: { uid: Uid.parse("uid-copy") }, last: "run.launched" },
]; // biome-ignore format: a table is read down its columns

for (const { name, change = {}, last, says } of cases) {
  t.test(name, async (t) => {
    const it = await live(t);
    t.match(await observe(it.parts)(deliveryOf(started({ ...about(it), ...change }))), { kind: "recorded" });
    t.equal(it.events().at(-1), last);
    if (says !== undefined) t.match(it.said, [{ message: says }]);
  });
}

t.test("a message that is no fact goes to quarantine", async (t) => {
  const it = await stage(t);
  t.match(await observe(it.parts)(deliveryOf("[]")), { kind: "unreadable" });
});

t.test("a launcher that never reached the group believes facts of a Job that another one started there", async (t) => {
  const it = await live(t);
  it.parts.views.delete(GROUP);
  await observe(it.parts)(deliveryOf(started(about(it))));
  t.equal(it.events().at(-1), "run.started");
  t.same(it.said, []);
});

t.test("a heartbeat is noted by the ledger's clock, whatever ours says", async (t) => {
  const it = await stage(t);
  const data = { group: GROUP, watcher: "w", staleSeconds: 3 };
  const clock = { ...it.clock, now: () => it.clock.now() - 3_600_000 };
  await observe({ ...it.parts, clock })(deliveryOf(writeFact({ id: "f1", source: "/watcher", type: "group.watched", data })));
  t.equal(it.model.tables.groups.get(GROUP)?.watchedAtMs, it.clock.now() - 3_000);
});

// ── A group's health ─────────────────────────────────────────────────────────────────────────────────────────────────

const recorded = (it: Stage) => it.model.tables.groups.get(GROUP);
const forbidden = diagnose("Forbidden", "Longshore may not create jobs.");

t.test("one lost answer does not give a group up; two do, and the next answer takes it back", async (t) => {
  const it = await stage(t);
  it.pocket.cause({ on: "any", times: 1, trouble: { kind: "unsent" } });
  await probeOne(it.parts, it.cluster, never);
  t.equal(recorded(it)?.health, "healthy");
  it.pocket.cause({ on: "any", trouble: { kind: "unsent" } });
  await probeOne(it.parts, it.cluster, never);
  t.match(recorded(it), { health: "unhealthy", diagnosis: { code: "EndpointUnreachable" } });
  it.pocket.heal();
  await probeOne(it.parts, it.cluster, never);
  t.equal(recorded(it)?.health, "healthy");
});

t.test("a group that a launcher gave up before it died is taken back by the launcher that reaches it", async (t) => {
  const it = await stage(t);
  await it.parts.ledger.setGroup(GROUP, { health: "unhealthy", diagnosis: forbidden });
  await probeOne(it.parts, it.cluster, never);
  t.equal(recorded(it)?.health, "healthy");
});

t.test("another namespace of the same name is not used, also by a launcher that never saw the first one", async (t) => {
  const it = await stage(t);
  const known = recorded(it)?.namespaceUid;
  it.parts.views.delete(GROUP);
  it.pocket.meddle({ kind: "delete namespace", name: NAMESPACE });
  await it.clock.sleep(60_000);
  it.pocket.meddle({ kind: "create namespace", name: NAMESPACE });
  await probeOne(it.parts, it.cluster, never);
  t.match(recorded(it), { health: "unhealthy", diagnosis: { code: "GroupMoved" }, namespaceUid: known });
});

t.test("another namespace of the same name that is being deleted is another one, and nothing is missing from ours", async (t) => {
  const it = await claimed(t);
  const { getNamespace } = it.cluster.reads;
  const reads: typeof it.cluster.reads = {
    ...it.cluster.reads,
    getNamespace: async (signal) => {
      const got = await getNamespace(signal);
      return got.kind === "found" ? { ...got, object: { ...got.object, uid: "another", deleting: true } } : got;
    },
  };
  const cluster = { ...it.cluster, reads };
  await probeOne(it.parts, cluster, never);
  t.match(recorded(it), { health: "unhealthy", diagnosis: { code: "GroupMoved" } });
  t.equal(viewOf(it.parts, GROUP).state, "moved");
  t.match(await look(it.parts, cluster, it.work, never), { kind: "unseen" });
});

t.test("a group that refuses writes is not well again by answering a read, and rests longer each time", async (t) => {
  const it = await stage(t);
  const rests: number[] = [];
  for (let times = 0; times < 8; times++) {
    await writeRefused(it.parts, it.cluster, forbidden);
    const since = it.clock.now();
    for (
      await probeOne(it.parts, it.cluster, never);
      recorded(it)?.health !== "healthy";
      await probeOne(it.parts, it.cluster, never)
    )
      await it.clock.sleep(1_000);
    rests.push(Math.round((it.clock.now() - since) / 1_000));
  }
  t.same(rests, [10, 20, 40, 80, 160, 300, 300, 300], "seconds");
  heard(it.parts, it.cluster, { kind: "writeTaken" });
  await writeRefused(it.parts, it.cluster, forbidden);
  t.equal(viewOf(it.parts, GROUP).refusals?.times, 1, "after a create that worked it begins anew");
});

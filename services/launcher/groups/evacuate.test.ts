import { RunId } from "@longshore/contract/ids.ts";
import type { Attempt } from "@longshore/domain/run/record.ts";
import t, { type Test } from "tap";
import { closeOne } from "../loops/close.ts";
import { createOrAdopt } from "../jobs/create.ts";
import { evacuate } from "./evacuate.ts";
import { heard, viewOf } from "./views.ts";
import type { Cluster } from "../parts.ts";
import { sideBySide } from "../loops/retry-loop.ts";
import { GROUP, NAMESPACE, never, settingsFor, type Stage, stage } from "../testing/stage.ts";

/** Makes this many live Jobs in a namespace, and lets the launcher see that the namespace is being deleted. */
async function leaving(t: Test, many: number): Promise<Stage> {
  const it = await stage(t);
  const { ledger, owner, timing } = it.parts;
  await ledger.putGroups([{ name: GROUP, namespace: NAMESPACE, settings: settingsFor(many) }]);
  for (let n = 0; n < many; n++) await it.publish("run.requested", { run: RunId.parse(`many/${n}`), image: "busybox" });
  while (attempts(it).some(({ state }) => state !== "live")) {
    await it.place();
    await sideBySide(await ledger.claim({ group: GROUP, most: 10, by: owner, forMs: timing.claimMs }), async (work) => {
      const input = await createOrAdopt(it.parts, it.cluster, work, never);
      await it.parts.recording({ run: work.run.id, step: work.attempt.step, n: work.attempt.n, input });
    });
  }
  await it.clock.sleep(10_000);
  answers(it, true);
  return it;
}

const answers = (it: Stage, deleting: boolean) =>
  heard(it.parts, it.cluster, { kind: "answered", uid: viewOf(it.parts, GROUP).namespaceUid ?? "", deleting });
const attempts = (it: Stage): readonly Attempt[] => [...it.model.tables.runs.values()].flatMap(({ record }) => record.attempts);
const standing = (it: Stage) => it.pocket.jobs(NAMESPACE).filter(({ metadata }) => metadata.deletionTimestamp === undefined);

/** The same cluster. It counts the deletions of Jobs, and how many deletions ran at the same time. */
function counted({ cluster }: Stage): { readonly cluster: Cluster; readonly count: { asked: number; at: number; most: number } } {
  const count = { asked: 0, at: 0, most: 0 };
  const deleteJob: Cluster["writes"]["deleteJob"] = async (...given) => {
    count.asked++;
    count.most = Math.max(count.most, ++count.at);
    return await cluster.writes.deleteJob(...given).finally(() => count.at--);
  };
  return { cluster: { ...cluster, writes: { ...cluster.writes, deleteJob } }, count };
}

t.test("hundreds of Jobs are deleted several at a time, and each of them once", async (t) => {
  const it = await leaving(t, 300);
  it.pocket.cause({ on: "delete", trouble: { kind: "slow", byMs: 50 } });
  const { cluster, count } = counted(it);
  await evacuate(it.parts, cluster, never);
  t.equal(it.pocket.jobs(NAMESPACE).length, 300);
  t.same(standing(it), []);
  t.same(count, { asked: 300, at: 0, most: 8 });
  await evacuate(it.parts, cluster, never);
  t.equal(count.asked, 300, "no watcher told of any, and none is deleted again");
});

t.test("a Job that it deletes ends as one that others delete", async (t) => {
  const it = await leaving(t, 1);
  await evacuate(it.parts, it.cluster, never);
  t.match(attempts(it), [{ state: "closing", cause: "external" }]);
  for (let turns = 0; turns < 60 && attempts(it)[0]?.state === "closing"; turns++) {
    const work = await it.take("closing");
    if (work !== undefined) await closeOne(it.parts, it.cluster, work, never);
    await it.clock.sleep(1_000);
  }
  t.match(attempts(it), [{ state: "ended", outcome: { result: "deleted", diagnosis: { code: "DeletedExternally" } } }]);
});

t.test("a deletion that was refused is told, holds up no other, and is tried again at the next turn", async (t) => {
  const it = await leaving(t, 20);
  it.pocket.cause({ on: "delete", times: 1, trouble: { kind: "status", status: 403 } });
  const { cluster, count } = counted(it);
  await evacuate(it.parts, cluster, never);
  t.equal(standing(it).length, 1);
  const told = it.said.filter(({ message }) => message.includes("refuses a write"));
  t.match(told, [{ fields: { group: GROUP, status: 403 } }]);
  await evacuate(it.parts, cluster, never);
  t.same(standing(it), []);
  t.equal(count.asked, 21);
});

t.test("a launcher that is told to stop deletes no more", async (t) => {
  const it = await leaving(t, 20);
  const { cluster, count } = counted(it);
  await evacuate(it.parts, cluster, AbortSignal.abort());
  t.equal(count.asked, 0);
});

t.test("if no namespace is being deleted, no Job is", async (t) => {
  const it = await leaving(t, 2);
  answers(it, false);
  await evacuate(it.parts, it.cluster, never);
  t.equal(standing(it).length, 2);
});

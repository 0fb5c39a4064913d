/** A launcher that has just started: the ledger's record of a group may not fit the cluster that answers now. */
import t, { type Test } from "tap";
import { look } from "../jobs/look.ts";
import { launcherLoops } from "../loops.ts";
import type { Cluster, Parts } from "../parts.ts";
import { viewsOf } from "./views.ts";
import { claimed, GROUP, NAMESPACE, never, RUN, type Stage, stage } from "../testing/stage.ts";

/** The time that the group's first answer takes. */
const ANSWERS_AFTER_MS = 3_000;

/** The views of a launcher that has not asked any group yet. */
async function started(it: Stage): Promise<{ readonly parts: Parts; readonly cluster: Cluster }> {
  const cluster: Cluster = {
    ...it.cluster,
    reads: {
      ...it.cluster.reads,
      getNamespace: async (signal) => {
        await it.clock.sleep(ANSWERS_AFTER_MS, signal);
        return await it.cluster.reads.getNamespace(signal);
      },
    },
  };
  const views = viewsOf(await it.parts.ledger.groups());
  return { cluster, parts: { ...it.parts, views, clusters: new Map([[GROUP, cluster]]) } };
}

/** Runs the loops that place, launch and probe. For an hour only a wake-up wakes any of them. */
async function launching(t: Test, it: Stage): Promise<void> {
  const { parts } = await started(it);
  const stop = new AbortController();
  t.teardown(() => stop.abort());
  const loops = launcherLoops({ ...parts, timing: { ...parts.timing, pollMs: 3_600_000, lookMs: 3_600_000 } });
  for (const name of ["place", `launch ${GROUP}`, `probe ${GROUP}`]) void loops[name]?.(stop.signal);
}

t.test("nothing is created before the group has answered, and at once when it has", async (t) => {
  const it = await stage(t);
  await it.publish("run.requested", { run: RUN, image: "busybox" });
  await launching(t, it);
  await it.clock.sleep(ANSWERS_AFTER_MS - 100);
  t.same(it.pocket.jobs(NAMESPACE), []);
  t.equal(it.attempt().state, "ready", "another launcher, which has been there, may take it");
  await it.clock.sleep(1_000);
  t.equal(it.attempt().state, "live");
  t.equal(it.pocket.jobs(NAMESPACE).length, 1);
});

t.test("in a namespace that was made anew while no launcher ran nothing is ever created", async (t) => {
  const it = await stage(t);
  await it.publish("run.requested", { run: RUN, image: "busybox" });
  it.pocket.meddle({ kind: "delete namespace", name: NAMESPACE });
  await it.clock.sleep(10_000);
  it.pocket.meddle({ kind: "create namespace", name: NAMESPACE });
  await launching(t, it);
  await it.clock.sleep(60_000);
  t.same(it.pocket.jobs(NAMESPACE), []);
  t.match((await it.parts.ledger.groups())[0], { health: "unhealthy", diagnosis: { code: "GroupMoved" } });
});

t.test("in a namespace that was made anew no Job is declared missing", async (t) => {
  const it = await claimed(t);
  const { parts, cluster } = await started(it);
  t.match(await look(parts, cluster, it.work, never), { kind: "unseen", diagnosis: { code: "EndpointUnreachable" } });
  t.match(await look(it.parts, it.cluster, it.work, never), { kind: "missing" }, "by who has asked");
});

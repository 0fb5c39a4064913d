/** The watcher is away, dies with an unconfirmed fact, or runs twice. For any cluster. (Faults 11, 12, 24 in GUARANTEES.md.) */
import type { Test } from "tap";
import { annotated } from "../../harness/kubernetes/simulated-pods.ts";
import type { System } from "../../harness/system.ts";

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const names = (prefix: string, most: number): readonly string[] => Array.from({ length: most }, (_, n) => `${prefix}/${n}`);

export async function watcherIsAway(t: Test, system: System): Promise<void> {
  await using _launcher = await system.launcher();

  await nobodyWatches(t, system);

  for (const failpoint of ["beforeFact:kill:4", "afterFact:kill:4"]) {
    await t.test(`kill -9 of the watcher at ${failpoint}: another says the same, and the story has it once`, async (t) => {
      const run = `dies/${failpoint.slice(0, 6)}`;
      const runs = [run, `${run}-2`, `${run}-3`];
      const doomed = await system.watcher({ LONGSHORE_FAILPOINT: failpoint });
      await started(system, runs, quick);
      t.equal(await doomed.ended, "SIGKILL", "the watcher died where it should");
      await using _watcher = await system.watcher();
      t.same(await system.faults(runs), []);
      t.equal((await endings(system, runs)).length, runs.length, "all succeeded");
    });
  }

  await t.test("two watchers see the same Jobs, and one is stopped in between: each story is told once", async (t) => {
    await using one = await system.watcher();
    await using _other = await system.watcher();
    const runs = names("twice", 20);
    await started(system, runs, quick);
    await system.heard("run.succeeded", "twice/0");
    one.signal("SIGTERM");
    t.equal(await one.ended, 0, "it stopped in order");
    t.same(await system.faults(runs), []);
    t.equal((await endings(system, runs)).length, runs.length, "all succeeded");
  });
}

/** Needs a launcher, and a system without a watcher and without Jobs. */
export async function nobodyWatches(t: Test, system: System): Promise<void> {
  await t.test("Jobs finish and are deleted while nobody watches: their outcomes are told when somebody does", async (t) => {
    const runs = names("deleted", 10);
    await started(system, runs, quick);
    await system.until(
      "ten finished Jobs",
      async () => (await jobs(system)).filter(({ isOver }) => isOver).length === runs.length,
    );
    for (const { site, name } of await jobs(system)) await site.ask("DELETE", `jobs/${name}?propagationPolicy=Background`);
    await using _watcher = await system.watcher();
    t.same(await system.faults(runs), []);
    t.equal((await endings(system, runs)).length, runs.length, "all succeeded");
  });

  await t.test("nobody watches for longer than startWithin while 20 Jobs run: none is harmed", async (t) => {
    const runs = names("unseen", 20);
    await started(system, runs, {
      image: "demo/slow:1",
      command: ["sh", "-c", "sleep 25"],
      ...annotated({ runsFor: "25s" }),
      startWithin: "10s", // long enough for a busy machine to start 20 pods
    });
    // After `startWithin` the launcher looks by itself. It sees that the pods started: it must tell so, and end no run.
    await Promise.all(runs.map((run) => system.heard("run.started", run)));
    await using _watcher = await system.watcher();
    t.same(await system.faults(runs), []);
    t.equal((await endings(system, runs)).length, runs.length, "all succeeded");
  });
}

async function started(system: System, runs: readonly string[], data: object): Promise<void> {
  await Promise.all(runs.map((run) => system.command("run.requested", { run, ...data })));
}

const endings = (system: System, runs: readonly string[]): Promise<readonly string[]> =>
  Promise.all(runs.map(async (run) => (await system.heard("run.succeeded", run)).type));

async function jobs({ sites }: System) {
  const listed = sites.map(async (site) => {
    const { items } = (await site.ask("GET", "jobs")) as {
      items: { metadata: { name: string }; status: { completionTime?: string } }[];
    };
    return items.map(({ metadata: { name }, status }) => ({ site, name, isOver: status.completionTime !== undefined }));
  });
  return (await Promise.all(listed)).flat();
}

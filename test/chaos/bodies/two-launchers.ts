/**
 * Two launchers on one ledger: both work, one is frozen until after its claims' end, one is asked to stop. For any cluster.
 * (Faults 7, 8, 65 in GUARANTEES.md.)
 */
import type { Test } from "tap";
import { RunId } from "@longshore/contract/ids.ts";
import type { System } from "../../harness/system.ts";

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const names = (prefix: string, most: number): readonly string[] => Array.from({ length: most }, (_, n) => `${prefix}/${n}`);

export async function twoLaunchers(t: Test, system: System): Promise<void> {
  await using _watcher = await system.watcher();

  await t.test("two launchers share 40 runs: each has one Job and one story", async (t) => {
    await using _one = await system.launcher({}, { eager: true });
    await using _other = await system.launcher();
    const runs = names("shared", 40);
    await Promise.all(runs.map((run) => system.command("run.requested", { run, ...quick })));
    t.same(await system.faults(runs), []);
  });

  await launcherIsFrozen(t, system);

  await t.test("SIGTERM while 40 runs are under way: exit code 0, and another launcher ends them all", async (t) => {
    const stopped = await system.launcher();
    const runs = names("stopped", 40);
    const sent = runs.map((run) => system.command("run.requested", { run, ...quick }));
    await system.heard("run.launched", "stopped/0");
    stopped.signal("SIGTERM");
    t.equal(await stopped.ended, 0, "it stopped in order");
    await using _other = await system.launcher();
    await Promise.all(sent);
    t.same(await system.faults(runs), []);
  });
}

/** Needs a watcher, and a system without a launcher. */
export async function launcherIsFrozen(t: Test, system: System): Promise<void> {
  await t.test("a launcher frozen with a claim wakes when another has finished the run: still one Job", async (t) => {
    const met = (await system.created(409)).length;
    await using frozen = await system.launcher({ LONGSHORE_FAILPOINT: "beforePost:sleep:1000" });
    await system.command("run.requested", { run: "frozen/one", ...quick });
    const claimed = async (): Promise<boolean> =>
      (await system.ledger.find(RunId.parse("frozen/one")))?.record.attempts[0]?.state === "claimed";
    await system.until("the claim", claimed);
    frozen.signal("SIGSTOP");
    await using _other = await system.launcher();
    await system.heard("run.succeeded", "frozen/one");
    frozen.signal("SIGCONT");
    await system.until("the frozen launcher's create", async () => (await system.created(409)).length > met);
    t.same(await system.faults(["frozen/one"]), []);
  });
}

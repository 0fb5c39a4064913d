/**
 * The launcher dies at each dangerous line of its code, and another takes over. For any broker and any cluster. (Faults 2–4, 9,
 * 10 in GUARANTEES.md.)
 */
import { RunId } from "@longshore/contract/ids.ts";
import type { Test } from "tap";
import type { System } from "../../harness/system.ts";

const greet = { image: "demo/greet:1", command: ["sh", "-c", `printf '{"greeting":"hi"}' > /dev/termination-log`] };

interface Case {
  readonly name: string;
  readonly failpoint: string;
  /** Runs without a watcher: the commit of a fact would kill the launcher as well. */
  readonly unwatched?: boolean;
  readonly restarts?: boolean;
}

/** Here the launcher was about to tell the broker something. */
export const AT_THE_BROKER: readonly Case[] = [
  { name: "after the commit, before the ack of the command", failpoint: "afterCommit:kill", unwatched: true },
  { name: "after an event was published, before it was marked as sent", failpoint: "afterPublish:kill" },
];

/** Here the launcher was about to tell the cluster something, or had just done so. */
export const AT_THE_CLUSTER: readonly Case[] = [
  { name: "after the claim, before the create", failpoint: "beforePost:kill" },
  { name: "after the create, before its UID was stored", failpoint: "afterPost:kill" },
  { name: "after the outcome was recorded, before the hold was released", failpoint: "afterRecord:kill" },
  { name: "after the create of a restarted run, before its UID was stored", failpoint: "afterPost:kill", restarts: true },
];

export const EVERYWHERE: readonly Case[] = [
  ...AT_THE_BROKER,
  ...AT_THE_CLUSTER,
  { name: "after the commit, before the ack of a restart", failpoint: "afterCommit:kill", unwatched: true, restarts: true },
];

/** Ends a run before it has a Job, so that its restart creates one on any cluster. */
async function endedBefore(system: System, run: string): Promise<void> {
  await using _launcher = await system.launcher();
  await system.command("run.requested", { run, ...greet, notBefore: new Date(Date.now() + 3_600_000).toISOString() });
  await system.command("run.cancel", { run });
  await system.heard("run.cancelled", run);
}

export async function launcherIsKilled(t: Test, system: System, where: string, cases: readonly Case[]): Promise<void> {
  for (const { name, failpoint, unwatched = false, restarts = false } of cases) {
    await t.test(`${where}, kill -9 of the launcher ${name}: one Job, one story`, async (t) => {
      const run = `chaos/${failpoint.split(":")[0]}${restarts ? "/again" : ""}`;
      if (restarts) await endedBefore(system, run);
      const before = (await system.created()).length;
      await using _early = unwatched ? undefined : await system.watcher();
      const doomed = await system.launcher({ LONGSHORE_FAILPOINT: failpoint }, { eager: true });
      if (restarts) await system.command("run.restart", { run, from: "failed" });
      else await system.command("run.requested", { run, ...greet });
      t.equal(await doomed.ended, "SIGKILL", "the launcher died where it should");
      await using _late = unwatched ? await system.watcher() : undefined;
      await using _other = await system.launcher();
      await system.heard("run.succeeded", run);
      t.same(await system.faults([run]), []);
      t.equal((await system.created()).length, before + 1, "one Job was created");
    });
  }
}

/** The killed launcher's create is never answered, so the first attempt is fenced for ten minutes. */
export async function retryStartsInTime(t: Test, system: System, where: string): Promise<void> {
  await t.test(`${where}, kill -9 after the create: retry and restart start while that create may still land`, async (t) => {
    const run = "chaos/tried-again";
    const succeeds = async (times: number) =>
      system.until(`success ${times} of ${run}`, () => {
        const ends = system.received.filter(({ type, subject }) => type === "run.succeeded" && subject === run);
        return ends.length === times;
      });
    await using _watcher = await system.watcher();
    const doomed = await system.launcher({ LONGSHORE_FAILPOINT: "afterPost:kill" }, { eager: true });
    const second = { image: "demo/second:1", command: ["sh", "-c", 'test "$LONGSHORE_ATTEMPT" -gt 1'] };
    const retries = { max: 1, on: ["failure"], backoff: { first: "1s", most: "1s" } };
    await system.command("run.requested", { run, ...second, retries });
    t.equal(await doomed.ended, "SIGKILL");
    await using _other = await system.launcher();
    await succeeds(1);
    await system.command("run.restart", { run, from: "start" });
    await succeeds(2);
    const found = await system.ledger.find(RunId.parse(run));
    const attempts = found?.record.attempts ?? [];
    t.same(attempts.map(({ outcome }) => outcome?.result), ["failed", "succeeded", "succeeded"]); // biome-ignore format: one line
    t.match(attempts[0], { state: "ended", unanswered: [1] });
    t.ok((attempts[0]?.fenceUntilMs ?? 0) > (await system.ledger.now()), "the fence has not passed");
    t.notOk(
      system.received.some(({ type, subject }) => type === "run.waiting" && subject === run),
      "nobody waited",
    );
    t.same(await system.faults([run]), []);
  });
}

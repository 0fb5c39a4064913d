/**
 * The launcher dies at each of its dangerous lines; another takes over. (Faults 1–4, 9, 10.)
 */
import t from "tap";
import { openSystem } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const greet = { image: "demo/greet:1", command: ["sh", "-c", `printf '{"greeting":"hi"}' > /dev/termination-log`] };

const cases = [
  { name: "after the commit, before the ack of the command", failpoint: "afterCommit:kill" },
  { name: "after the claim, before the create", failpoint: "beforePost:kill" },
  { name: "after the create, before its UID was stored", failpoint: "afterPost:kill" },
  { name: "after the outcome was recorded, before the hold was released", failpoint: "afterRecord:kill" },
  { name: "after an event was published, before it was marked as sent", failpoint: "afterPublish:kill" },
];

for (const { name, failpoint } of cases) {
  t.test(`kill -9 of the launcher ${name}: one Job, one story`, async (t) => {
    await using system = await openSystem();
    await system.watcher();
    const doomed = await system.launcher({ LONGSHORE_FAILPOINT: failpoint });
    await system.command("run.requested", { run: "chaos/one", ...greet });
    t.equal(await doomed.ended, "SIGKILL", "the launcher died where it should");
    await system.launcher();
    t.same(await system.faults(["chaos/one"]), []);
    t.equal((await system.created()).length, 1, "one Job was created");
    t.equal((await system.heard("run.succeeded", "chaos/one")).type, "run.succeeded");
  });
}

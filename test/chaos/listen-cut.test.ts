/** The connection that tells the launcher of new work is cut again and again. (Fault 57 in GUARANTEES.md.) */
import pg from "pg";
import t from "tap";
import { openSystem, PACE } from "../harness/system.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const quick = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const CUT =
  "select pg_terminate_backend(pid) as cut from pg_stat_activity where query ilike 'listen longshore_ledger%' and backend_type = 'client backend'";

await t.test("LISTEN is cut before each of ten runs, and the launcher polls but once in ten minutes: all ten end", async (t) => {
  await using system = await openSystem({ instant: true, launcher: { pace: { ...PACE, poll: "10m" } } });
  await using _watcher = await system.watcher();
  await using _launcher = await system.launcher();
  await using closing = new AsyncDisposableStack();
  const database = new pg.Client(system.postgres.url);
  closing.defer(() => database.end());
  await database.connect();
  const runs = Array.from({ length: 10 }, (_, n) => `cut/${n}`);
  for (const run of runs) {
    await system.until("a listener to cut", async () => (await database.query(CUT)).rowCount !== 0);
    await system.command("run.requested", { run, ...quick });
    await system.heard("run.succeeded", run);
  }
  t.same(await system.faults(runs), []);
});

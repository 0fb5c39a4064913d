/**
 * How runs ended, row by row and added up.
 *
 * The failure this prevents: a count of hours that differs from the events, after a crash, a late commit or a restore.
 */
// runs with integration
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { RunId } from "@longshore/contract/ids.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import pg from "pg";
import t, { type Test } from "tap";
import { postgres } from "../../../../test/harness/servers/postgres.ts";
import { sqlAt } from "../../../../test/harness/servers/sql.ts";
import type { Ledger } from "../../port.ts";
import {
  cancelled, claimAll, claimed, complete, entry, failed, finish, first, placer, restarted, wanted,
} from "../../testing/conformance-parts.ts"; // biome-ignore format: a list of names
import { ledgerOn } from "../../testing/conformance-postgres.ts";
import { connectionOf } from "../connection.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

async function begun(t: Test) {
  const url = await server.database();
  const ledger = await ledgerOn(url);
  const client = new pg.Client(connectionOf(url));
  await client.connect();
  t.teardown(async () => {
    await client.end();
    await ledger[Symbol.asyncDispose]();
  });
  return { url, ledger, client };
}

async function end(ledger: Ledger, ...ids: readonly string[]): Promise<void> {
  for (const work of await claimed(ledger, ids.map((id) => wanted(id)))) // biome-ignore format: one call
    await finish(ledger, work, work.run.id.startsWith("bad") ? failed : complete);
}

async function countAll(ledger: Ledger): Promise<void> {
  while ((await ledger.countEnds(3)).more);
}

const HOURS = `select outcome || ' ' || code as how, sum(n)::integer as n from longshore.hour group by 1 order by 1`;
const EVENTS = `select substr(type, 5) || ' ' || coalesce(body->'diagnosis'->>'code', '') as how, count(*)::integer as n
  from longshore.event where type in ('run.succeeded', 'run.failed', 'run.cancelled', 'run.lost') group by 1 order by 1`;

/** The hours must say what the events say. */
async function agree(t: Test, url: string, ledger: Ledger, want: number): Promise<void> {
  const hours = await sqlAt<{ n: number }>(url, HOURS);
  t.same(hours, await sqlAt(url, EVENTS));
  t.equal(hours.reduce((sum, { n }) => sum + n, 0), want); // biome-ignore format: one call
  t.equal((await ledger.counts()).ends, want);
}

t.test("each generation's end is a row, and it counts while its generation and outcome are the run's", async (t) => {
  const { url, ledger } = await begun(t);
  const work = first(await claimed(ledger, [wanted("bad")]));
  const { evidence, ...input } = failed(work);
  const times = { startedAt: "2030-01-01T00:00:05Z", finishedAt: "2030-01-01T00:00:47Z" };
  await finish(ledger, work, () => ({ ...input, evidence: { ...evidence, ...times } }));
  await ledger.admit([wanted("stopped"), cancelled("stopped"), cancelled("early"), wanted("early")]);
  const rows = (having = "") =>
    sqlAt(
      url,
      `select r.id, n.generation, n.outcome, n.code, n.blame, g.name as "group", n.seconds, n.ended_at = e.at as is_told
       from longshore.ending n join longshore.run r on r.key = n.run_key left join longshore.cluster_group g on g.id = n.group_id
       join longshore.event e on e.run_key = n.run_key and e.generation = n.generation and substr(e.type, 5) = n.outcome
       ${having} order by r.key, n.generation`,
    );
  const none = { code: "", blame: "", group: null, seconds: null, is_told: true };
  const told = [
    { id: "bad", generation: 1, outcome: "failed", code: "ExitCode", blame: "request", group: "east", seconds: 42, is_told: true },
    { ...none, id: "early", generation: 1, outcome: "cancelled" },
    { ...none, id: "stopped", generation: 1, outcome: "cancelled" },
  ] as const; // biome-ignore format: a table
  const byId = (all: readonly object[]) => (all as readonly { id: string }[]).toSorted((a, b) => a.id.localeCompare(b.id));
  t.same(byId(await rows()), byId(told));
  await ledger.admit([restarted("bad")]);
  const counting = "where n.generation = r.generation and n.outcome = r.outcome";
  t.same(byId(await rows(counting)), byId(told.slice(1)), "the restarted run's does not count");
  await ledger.place({ most: 1, placer });
  const again = first(await claimAll(ledger));
  await finish(ledger, again, complete);
  t.match(await rows(`${counting} and r.id = 'bad'`), [{ generation: 2, outcome: "succeeded" }]);
  t.match(await rows("where r.id = 'bad'"), [{ generation: 1 }, { generation: 2 }], "and the first is kept");
});

t.test("an end and a restart in one batch are two generations", async (t) => {
  const { url, ledger } = await begun(t);
  await ledger.admit([wanted("a"), cancelled("a"), restarted("a"), cancelled("a", { command: "again" })]);
  t.same(await sqlAt(url, "select generation, outcome from longshore.ending order by generation"), [
    { generation: 1, outcome: "cancelled" },
    { generation: 2, outcome: "cancelled" },
  ]);
});

/** Waits until a statement that counts waits for the lock on the hours. Returns its backend. */
async function untilItWaits(url: string): Promise<number> {
  for (;;) {
    const [waiting] = await sqlAt<{ pid: number }>(
      url,
      "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query like '%hour_cursor%'",
    );
    if (waiting !== undefined) return waiting.pid;
    await systemClock.sleep(20);
  }
}

t.test("a connection that is lost in the middle of a count has counted nothing", async (t) => {
  const { url, ledger, client } = await begun(t);
  await end(ledger, "a", "bad/b", "c");
  await countAll(ledger);
  await end(ledger, "d", "bad/e");
  await client.query("begin; lock table hour in share row exclusive mode");
  const lost = t.rejects(ledger.countEnds(100), { code: "LedgerUnavailable", disposition: "retry" });
  await client.query("select pg_terminate_backend($1)", [await untilItWaits(url)]);
  await lost;
  await client.query("commit");
  t.equal((await ledger.counts()).ends, 3);
  await countAll(ledger);
  await agree(t, url, ledger, 5);
});

t.test("a launcher that is killed in the middle of a count has counted all of it or nothing", async (t) => {
  const { url, ledger, client } = await begun(t);
  let ended = 0;
  for (const round of [1, 2, 3]) {
    await end(ledger, `a/${round}`, `bad/${round}`);
    ended += 2;
    await client.query("begin; lock table hour in share row exclusive mode");
    const counting = spawn(process.execPath, [new URL("../../testing/count-ends-once.ts", import.meta.url).pathname, url], {
      stdio: "ignore",
    });
    const gone = once(counting, "exit");
    await untilItWaits(url);
    counting.kill("SIGKILL");
    await gone;
    // Another launcher counts while Postgres may not know yet that the first is gone.
    const other = countAll(ledger);
    await client.query("commit");
    await other;
    await countAll(ledger);
    await agree(t, url, ledger, ended);
  }
});

t.test("an end whose transaction began first and commits last is counted all the same", async (t) => {
  const { url, ledger, client } = await begun(t);
  await client.query("begin; select pg_current_xact_id()");
  await end(ledger, "a");
  await countAll(ledger);
  t.equal((await ledger.counts()).ends, 0, "it is not passed by");
  await client.query("commit");
  await countAll(ledger);
  await agree(t, url, ledger, 1);
});

const restores = [
  { name: "a cursor ahead of the server", as: "update longshore.hour_cursor set xid = '9000000000'" },
  { name: "a cursor of another server", as: "update longshore.hour_cursor set server = 'another', xid = '3'" },
  { name: "a cursor of another epoch", as: "update longshore.installation set epoch = 2" },
] as const;
for (const { name, as } of restores)
  t.test(`${name} starts over: what is there is counted once, and the feed goes on`, async (t) => {
    const { url, ledger } = await begun(t);
    await end(ledger, "a", "bad/b");
    await countAll(ledger);
    await end(ledger, "c");
    await sqlAt(url, as);
    await countAll(ledger);
    await agree(t, url, ledger, 3);
    await end(ledger, "d");
    // A restored ledger's events count the old server's transactions, which this one reaches one day.
    await sqlAt(url, "update longshore.event set xid = pg_current_xact_id() where run_key = 1");
    await countAll(ledger);
    await agree(t, url, ledger, 4);
    t.same(await ledger.countEnds(100), { ends: [], more: false }, "it starts over once");
  });

t.test("a late word of a run that has ended adds no ending", async (t) => {
  const { url, ledger } = await begun(t);
  const work = first(await claimed(ledger, [wanted("a")]));
  await finish(ledger, work, complete);
  await ledger.record([entry(work, complete(work)), entry(work, failed(work))]);
  await ledger.admit([cancelled("a" as RunId)]);
  t.match(await sqlAt(url, "select generation, outcome from longshore.ending"), [{ generation: 1, outcome: "succeeded" }]);
});

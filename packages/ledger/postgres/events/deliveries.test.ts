// runs with integration
import { silentLog } from "@longshore/runtime/log.ts";
import pg from "pg";
import t from "tap";
import { postgres } from "../../../../test/harness/servers/postgres.ts";
import { openDeliveries } from "../../open-deliveries.ts";
import { deliveriesConformance } from "../../testing/conformance-deliveries.ts";
import { claimed, complete, finish, first, HOUR_MS, INSTALLATION, wanted } from "../../testing/conformance-parts.ts";
import { ledgerOn, opened } from "../../testing/conformance-postgres.ts";
import { connectionOf } from "../connection.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

const open = (url: string) => openDeliveries({ url, installation: INSTALLATION, log: silentLog });

await deliveriesConformance(t, {
  name: "Postgres",
  open: async () => {
    const url = await server.database();
    const ledgers = opened(url);
    const ledger = await ledgers.connect();
    const deliveries = await open(url);
    return {
      ledger,
      deliveries,
      pass: ledgers.pass,
      [Symbol.asyncDispose]: async () => {
        await deliveries[Symbol.asyncDispose]();
        await ledgers[Symbol.asyncDispose]();
      },
    };
  },
});

async function connected(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(connectionOf(url));
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

const SINK = "shop";
const readAll = async (deliveries: Awaited<ReturnType<typeof open>>): Promise<readonly string[]> => {
  while (await deliveries.advance(SINK, "me", 100));
  return (await deliveries.due(SINK, { most: 100, busy: [] })).map(({ run, events }) => `${run} ${events.length}`).toSorted();
};

async function begun(url: string) {
  const ledger = await ledgerOn(url);
  const deliveries = await open(url);
  await deliveries.putSinks([SINK]);
  await deliveries.hold(SINK, "me", HOUR_MS);
  return { ledger, deliveries };
}

t.test("an open write in another database of the server holds the feed back, and the lag says so", async (t) => {
  const url = await server.database();
  const { ledger, deliveries } = await begun(url);
  await using elsewhere = await connected(await server.database());
  await elsewhere.query("create table public.theirs (it text)");
  await elsewhere.query("begin; insert into public.theirs values ('open')");
  await ledger.admit([wanted("a")]);
  t.same(await readAll(deliveries), []);
  t.ok(first(await deliveries.states()).behindMs > 0);
  await elsewhere.query("commit");
  t.same(await readAll(deliveries), ["a 1"]);
  t.equal(first(await deliveries.states()).behindMs, 0);
  await deliveries[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("an event whose transaction began first and commits last is read all the same", async (t) => {
  const url = await server.database();
  const { ledger, deliveries } = await begun(url);
  await ledger.admit([wanted("a")]);
  await readAll(deliveries);
  await using slow = await connected(url);
  // The transaction gets its number, and then writes the event only after a younger one has committed.
  await slow.query("begin; select pg_current_xact_id()");
  await ledger.admit([wanted("b")]);
  t.same(await readAll(deliveries), ["a 1"]);
  await slow.query(
    "insert into event select run_key, 2, 1, 1, null, 'run.cancelling', '{}', now() from event where seq = 1 order by run_key limit 1",
  );
  await slow.query("update run set seq = 2 where id = 'a'; commit");
  t.same(await readAll(deliveries), ["a 2", "b 1"]);
  await deliveries[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

const restores = [
  { name: "a cursor ahead of the server", as: "update sink set xid = '9000000000'" },
  { name: "a cursor of another server", as: "update sink set server = 'another', xid = '3'" },
  { name: "a cursor of another epoch", as: "update installation set epoch = 2" },
] as const;
for (const { name, as } of restores)
  t.test(`${name} starts over: each run goes on behind what was told of it, and nothing is told twice or left out`, async (t) => {
    const url = await server.database();
    const { ledger, deliveries } = await begun(url);
    const works = await claimed(ledger, [wanted("told"), wanted("half"), wanted("new")]);
    await readAll(deliveries);
    for (const line of await deliveries.due(SINK, { most: 10, busy: [] })) {
      if (line.run === "told" || line.run === "half")
        await deliveries.settle(SINK, "me", line, { kind: "told", sequence: 1, rule: 0 });
    }
    for (const work of works) if (work.run.id === "half") await finish(ledger, work, complete);
    // A restored ledger's events count the old server's transactions.
    await using client = await connected(url);
    await client.query("update event set xid = '8000000000'");
    await client.query("delete from sink_line where run_key = (select key from run where id = 'new')");
    await client.query(as);
    t.same(await readAll(deliveries), ["half 3", "new 1"]);
    await ledger.admit([wanted("after")]);
    t.same(await readAll(deliveries), ["after 1", "half 3", "new 1"], "and the feed goes on from here");
    t.equal(await deliveries.advance(SINK, "me", 100), false, "it starts over once");
    await deliveries[Symbol.asyncDispose]();
    await ledger[Symbol.asyncDispose]();
  });

t.test("a sink's feed is read by its index from the cursor on", async (t) => {
  const url = await server.database();
  const { ledger, deliveries } = await begun(url);
  await using client = await connected(url);
  const { rows } = await client.query<{ "QUERY PLAN": string }>(
    "explain select e.at from sink s, lateral (select e.at from event e where (e.xid, e.run_key, e.seq) > (s.xid, s.run_key, s.seq) order by e.xid, e.run_key, e.seq limit 1) e",
  );
  const plan = rows.map((it) => it["QUERY PLAN"]).join("\n");
  t.match(plan, /Index Scan using event_feed on event e[^\n]*\n\s*Index Cond: \(ROW\(xid, run_key, seq\) > ROW\(s\.xid, /);
  await deliveries[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

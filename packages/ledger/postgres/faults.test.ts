import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import pg from "pg";
import t from "tap";
import { type TcpProxy, tcpProxy } from "../../../test/harness/faults/proxy.ts";
import { postgres } from "../../../test/harness/servers/postgres.ts";
import type { Ledger } from "../port.ts";
import {
  claimAll,
  claimed,
  codesOf,
  complete,
  created,
  EAST,
  entry,
  first,
  groupsOf,
  MAIN,
  placer,
  released,
  runId,
  started,
  storyOf,
  wanted,
} from "../testing/conformance-parts.ts";
import { ledgerOn } from "../testing/conformance-postgres.ts";
import { connectionOf, openDatabase } from "./connection.ts";
import { lockRuns } from "./rows.ts";

// runs with integration

const server = await postgres();
t.teardown(() => server[Symbol.asyncDispose]());

async function client(url: string): Promise<pg.Client & AsyncDisposable> {
  const it = new pg.Client(connectionOf(url));
  it.on("error", () => undefined); // the test killed the server
  await it.connect();
  return Object.assign(it, { [Symbol.asyncDispose]: () => it.end() });
}

/** Tries again after "retry", as callers do. Returns how often it had to. */
async function stubborn<T>(work: () => Promise<T>, most = 200): Promise<{ readonly result: T; readonly failures: number }> {
  for (let failures = 0; ; failures++) {
    try {
      return { result: await work(), failures };
    } catch (error) {
      if (!isTransient(error) || failures === most) throw error;
    }
  }
}

/** Cuts the connection after the COMMIT and before its answer: the transaction is committed, and its caller does not know. */
async function loseCommit(
  t: { equal(a: unknown, b: unknown, m: string): void },
  proxy: TcpProxy,
  url: string,
  work: () => Promise<unknown>,
): Promise<void> {
  await using watching = await client(url);
  // A deferred trigger runs inside the COMMIT. It shows that the COMMIT has arrived, and waits until no answer can come
  // through.
  await watching.query("select pg_advisory_lock(1)");
  await watching.query(`
    create or replace function slow_commit() returns trigger language plpgsql as $$
      begin perform pg_advisory_xact_lock_shared(1); return null; end $$`);
  await watching.query(
    "create constraint trigger slow after insert on event initially deferred for each row execute function slow_commit()",
  );
  const lost = work().then(() => "answered", (error: unknown) => (error instanceof Failure ? error.disposition : error)); // biome-ignore format: one call
  for (let waiting = 0; waiting === 0; ) {
    const { rows } = await watching.query(
      "select count(*)::integer as n from pg_locks where locktype = 'advisory' and not granted",
    );
    waiting = rows[0].n;
  }
  proxy.dropReplies(true);
  await watching.query("select pg_advisory_unlock(1)");
  await watching.query("drop trigger slow on event"); // waits for that transaction to end
  proxy.cut();
  proxy.dropReplies(false);
  t.equal(await lost, "retry", "the caller is told to say it again");
}

t.test("an admission whose COMMIT was not answered is said again and is one run", async (t) => {
  const url = await server.database();
  await using proxy = await tcpProxy("127.0.0.1", server.port);
  await using ledger = await ledgerOn(proxy.url(url));
  await loseCommit(t, proxy, url, () => ledger.admit([wanted("a"), wanted("b")]));
  t.same(codesOf((await stubborn(() => ledger.admit([wanted("a"), wanted("b")]))).result), ["duplicate", "duplicate"]);
  t.same(await storyOf(ledger, "a"), ["accepted"]);
});

t.test("a fact whose COMMIT was not answered is said again and told once", async (t) => {
  const url = await server.database();
  await using proxy = await tcpProxy("127.0.0.1", server.port);
  await using ledger = await ledgerOn(proxy.url(url));
  const work = first(await claimed(ledger, [wanted("a")]));
  const inputs = [entry(work, created(work)), entry(work, complete(work))];
  await loseCommit(t, proxy, url, () => ledger.record(inputs));
  await stubborn(() => ledger.record(inputs));
  t.same(await storyOf(ledger, "a"), ["accepted", "launched", "started", "succeeded"]);
});

t.test("connections that die under every kind of call are made again", async (t) => {
  const url = await server.database();
  await using proxy = await tcpProxy("127.0.0.1", server.port);
  await using ledger = await ledgerOn(proxy.url(url));
  await ledger.putGroups(groupsOf(100));
  const calls: (() => Promise<unknown>)[] = [
    () => ledger.admit([wanted("a")]),
    () => ledger.place({ most: 10, placer }),
    () => claimAll(ledger),
    () => ledger.unsent({ partitions: [1], busy: [], most: 5 }),
    () => ledger.counts(),
    () => ledger.now(),
  ];
  for (const call of calls)
    for (const bytes of [1, 40, 200]) {
      proxy.cutAfterBytes("toClient", bytes);
      await stubborn(call);
    }
  t.same((await stubborn(() => storyOf(ledger, "a"))).result, ["accepted"]);
});

t.test("an entry that cannot be stored is refused alone, and the rest of its batch is not harmed", async (t) => {
  await using ledger = await ledgerOn(await server.database());
  const batch = [wanted("a"), wanted("too-urgent", { priority: 2 ** 40 }), wanted("b")];
  t.same(codesOf(await ledger.admit(batch)), ["recorded", "RequestInvalid", "recorded"]);
  t.match(await ledger.unsentNotices(9), [{ data: { run: "too-urgent", command: "request too-urgent" } }]);
  await ledger.putGroups(groupsOf(9));
  await ledger.place({ most: 9, placer });
  const never = { kind: "claimDue", by: "one", untilMs: 1e18 } as const;
  const soon = { kind: "claimDue", by: "one", untilMs: 1 } as const;
  const of = { step: MAIN, n: 1 };
  const recorded = await ledger.record([
    { run: runId("a"), ...of, input: never },
    { run: runId("b"), ...of, input: soon },
  ]);
  t.match(recorded, [{ kind: "unknown" }, { kind: "moved" }]);
  t.match(await ledger.find(runId("a")), { record: { attempts: [{ state: "ready" }] } });
  await t.rejects(ledger.record([{ run: runId("a"), ...of, input: never }]), { code: "LedgerRefused" });
});

t.test("a row of a lower number that commits later is found by the relay", async (t) => {
  const url = await server.database();
  await using ledger = await ledgerOn(url);
  await using slow = await client(url);
  await ledger.admit([wanted("first")]);
  const partitions = await ledger.leasePartitions("relay", 60_000);
  const sendAll = async (): Promise<readonly string[]> => {
    const events = await ledger.unsent({ partitions, busy: [], most: 100 });
    await ledger.sent(events);
    return events.map(({ run }) => run);
  };
  t.same(await sendAll(), ["first"]);
  // This is another launcher's transaction: its row has the lower key and is committed last.
  await slow.query("begin");
  await slow.query(`
    with born as (
      insert into run (id, tenant, source, digest, state, generation, seq, plan, steps, accepted_at)
      select 'slow', tenant, source, digest, state, 1, 1, plan, steps, now() from run where id = 'first' returning key
    ), told as (
      insert into event (run_key, seq, generation, epoch, type, body, at) select key, 1, 1, 1, 'run.accepted', '{}', now() from born
    )
    insert into outbox (part, run_key, seq) select key % 16, key, 1 from born`);
  await ledger.admit([wanted("quick")]);
  t.same(await sendAll(), ["quick"]);
  await slow.query("commit");
  t.same(await sendAll(), ["slow"]);
});

t.test("a LISTEN connection that is cut is made again, and hints at all that it may have missed", async (t) => {
  const url = await server.database();
  await using proxy = await tcpProxy("127.0.0.1", server.port);
  await using listening = await ledgerOn(proxy.url(url));
  await using writing = await ledgerOn(url);
  const stop = new AbortController();
  const kinds = listening.changes(stop.signal);
  const everything = async (): Promise<number> => {
    const heard = new Set<string>();
    while (heard.size < 7) heard.add((await kinds.next()).value);
    return heard.size;
  };
  t.equal(await everything(), 7);
  proxy.cut();
  await writing.admit([wanted("a")]);
  t.equal(await everything(), 7, "all of them again");
  await writing.admit([wanted("b")]);
  t.ok((await kinds.next()).value, "and it hears");
  stop.abort();
  t.same(await kinds.next(), { done: true, value: undefined });
});

t.test("a server that is killed and started again has all that it acknowledged, and the same ledger goes on", async (t) => {
  const url = await server.database();
  await using ledger = await ledgerOn(url);
  const acknowledged: string[] = [];
  let killed: Promise<void> | undefined;
  for (let n = 0; n < 60; n++) {
    if (n === 30) killed = server.kill().then(() => server.start());
    const { failures } = await stubborn(() => ledger.admit([wanted(`run-${n}`)]), 1_000_000);
    acknowledged.push(`run-${n}`);
    if (failures > 0) t.pass(`said ${failures} times more`);
  }
  await killed;
  for (const id of acknowledged) t.same(await storyOf(ledger, id), ["accepted"], id);
  t.equal((await ledger.counts()).attempts.waiting, 60);
});

t.test("a process that stands still inside a transaction loses it, and those that wait for its locks go on", async (t) => {
  const url = await server.database();
  await using ledger = await ledgerOn(url);
  const work = first(await claimed(ledger, [wanted("a")]));
  const frozen = openDatabase(url, { poolMax: 1, log: silentLog });
  const holding = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const lost = frozen.transaction(async (queries) => {
    await lockRuns(queries, [runId("a")]);
    holding.resolve();
    await over.promise;
    return await lockRuns(queries, [runId("a")]);
  });
  const ended = lost.then(() => "committed", (error: unknown) => error); // biome-ignore format: one call
  await holding.promise;
  t.match(await ledger.record([entry(work, created(work))]), [{ kind: "moved" }]);
  over.resolve();
  t.match(await ended, { name: "Failure", disposition: "retry" });
  await frozen.close();
});

t.test("two launchers doing everything at once meet no deadlock and leave every story whole", async (t) => {
  const url = await server.database();
  const launchers = await Promise.all([ledgerOn(url), ledgerOn(url)]);
  const ledger = first(launchers);
  await ledger.putGroups(groupsOf(10));
  const all = Array.from({ length: 120 }, (_, n) => `run-${(n * 37) % 120}`);
  let admitted = 0;

  const live = async (it: Ledger, offset: number): Promise<void> => {
    for (let rounds = 0; rounds < 2_000; rounds++) {
      const batch = all.slice(admitted, (admitted += 15)).map((id) => wanted(id, { retriesMax: 1 }));
      const partitions = await it.leasePartitions(`relay ${offset}`, 10_000);
      const [, , works, events] = await Promise.all([
        it.admit(batch),
        it.place({ most: 20, placer }),
        it.claim({ group: EAST, most: 7, by: `launcher ${offset}`, forMs: 30_000 }),
        it.unsent({ partitions, busy: [], most: 50 }),
      ]);
      await Promise.all([
        it.sent(events),
        it.record(works.flatMap((work) => [entry(work, started(work)), entry(work, created(work))])),
        ...works.map((work) => it.record([entry(work, complete(work)), entry(work, released)])),
      ]);
      const [{ outbox }, ended] = await Promise.all([it.counts(), it.list({ state: "ended", most: 120 })]);
      if (ended.length === 120 && outbox === 0) return;
    }
  };
  await Promise.all(launchers.map(live));

  for (const id of all) {
    const story = (await storyOf(ledger, id)).filter((type) => type !== "waiting");
    t.same(story, ["accepted", "launched", "started", "succeeded"], id);
  }
  await using watching = await client(url);
  const { rows } = await watching.query("select deadlocks::integer from pg_stat_database where datname = current_database()");
  t.same(rows, [{ deadlocks: 0 }]);
  for (const it of launchers) await it[Symbol.asyncDispose]();
});

// ── Which run gets a free slot, while other transactions hold locks ──────────────────────────────────────────────────

const LOCKED = "select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/** Waits until somebody waits for a lock, or `work` is done without one. */
async function untilOneWaits(watching: pg.Client, work: Promise<unknown>): Promise<void> {
  let isDone = false;
  void work.finally(() => (isDone = true)).catch(() => undefined);
  while (!isDone && (await watching.query(LOCKED)).rows.length === 0);
}

t.test("a slot waits for a more urgent run that another transaction holds for a moment", async (t) => {
  const url = await server.database();
  await using ledger = await ledgerOn(url);
  await using holding = await client(url);
  await using watching = await client(url);
  await ledger.putGroups(groupsOf(1));
  await ledger.admit([wanted("a", { priority: 9 }), wanted("urgent", { priority: 5 }), wanted("low")]);
  await ledger.place({ most: 10, placer });
  const work = first(await claimAll(ledger));
  await holding.query("begin");
  await holding.query("select from run where id = 'urgent' for no key update");
  await holding.query("select from attempt where run_key = (select key from run where id = 'urgent') for update");
  await ledger.record([entry(work, created(work)), entry(work, complete(work))]);
  const placed = ledger.place({ most: 10, placer });
  await untilOneWaits(watching, placed);
  await holding.query("commit");
  t.match(await placed, { placed: 1 });
  t.match(await claimAll(ledger), [{ run: { id: "urgent" } }]);
});

t.test("a run that came while a placer waited for the groups is not passed over", async (t) => {
  const url = await server.database();
  await using ledger = await ledgerOn(url);
  await using holding = await client(url);
  await using watching = await client(url);
  await ledger.putGroups(groupsOf(1));
  await ledger.admit([wanted("low")]);
  await holding.query("begin");
  await holding.query("select from cluster_group for no key update");
  const placed = ledger.place({ most: 10, placer });
  await untilOneWaits(watching, placed);
  await ledger.admit([wanted("urgent", { priority: 9 })]);
  await holding.query("commit");
  t.match(await placed, { placed: 1 });
  t.match(await claimAll(ledger), [{ run: { id: "urgent" } }]);
});

// runs with integration
import { readFile, writeFile } from "node:fs/promises";
import { OUTCOMES } from "@longshore/contract/messages/event.ts";
import { Started } from "@longshore/contract/messages/fact.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { ATTEMPT_STATES, RUN_STATES } from "@longshore/domain/run/record.ts";
import pg from "pg";
import t from "tap";
import { postgres } from "../../../../test/harness/servers/postgres.ts";
import { claimAll, groupsOf, placer, wanted } from "../../testing/conformance-parts.ts";
import { ledgerOn } from "../../testing/conformance-postgres.ts";
import { connectionOf } from "../connection.ts";
import { openLedger } from "../../open.ts";
import { COUNTS } from "../runs.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

/** Describes the schema from Postgres' own catalogue, in an order and a form that differ only if the schema differs. */
const CATALOGUE = `
select c.relname || E'\\n' || string_agg('  ' || line, E'\\n' order by rank, line) as text
from pg_class c
join (
  select attrelid as rel, 1 as rank, lpad(attnum::text, 2, '0') || ' ' || attname || ' ' || format_type(atttypid, atttypmod)
    || case when attcollation <> 0 and attcollation <> 100 then ' collate ' || (select collname from pg_collation where oid = attcollation) else '' end
    || case when attnotnull then ' not null' else '' end || case when attidentity <> '' then ' identity' else '' end
    || coalesce(' default ' || pg_get_expr(adbin, adrelid), '') as line
  from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum where attnum > 0 and not attisdropped
  union all select conrelid, 2, pg_get_constraintdef(oid) from pg_constraint where contype <> 'n'
  union all select indrelid, 3, pg_get_indexdef(indexrelid) from pg_index where not indisprimary
  union all select oid, 4, 'with ' || array_to_string(reloptions, ', ') from pg_class where reloptions is not null
) it on it.rel = c.oid
where c.relnamespace = 'longshore'::regnamespace and c.relkind = 'r'
group by c.relname order by c.relname`;

async function query<R extends object>(url: string, text: string): Promise<R[]> {
  const client = new pg.Client(connectionOf(url));
  await client.connect();
  try {
    return (await client.query<R>(text)).rows;
  } finally {
    await client.end();
  }
}

t.test("the schema that the migrations make is the one in schema.sql", async (t) => {
  const url = await server.database();
  await using _ledger = await ledgerOn(url);
  const head =
    "-- What the migrations make, as Postgres tells it. Written by: node packages/ledger/postgres/schema/schema.test.ts --write\n\n";
  const found = head + (await query<{ text: string }>(url, CATALOGUE)).map(({ text }) => `${text}\n`).join("\n");
  const golden = new URL("./schema.sql", import.meta.url);
  if (process.argv.includes("--write")) await writeFile(golden, found);
  t.equal(found, await readFile(golden, "utf8"));
});

const lists = [
  { name: "run's states", of: "run", column: "(state", want: RUN_STATES },
  { name: "runs' outcomes", of: "run", column: "(outcome", want: OUTCOMES },
  { name: "attempts' states", of: "attempt", column: "CHECK ((state", want: ATTEMPT_STATES },
  { name: "attempts' words for started", of: "attempt", column: "(started", want: Started.options },
] as const; // biome-ignore format: a table
for (const { name, of, column, want } of lists) {
  t.test(`the ${name} are the same in the schema and in the code`, async (t) => {
    const golden = await readFile(new URL("./schema.sql", import.meta.url), "utf8");
    const table = golden.split("\n\n").find((it) => it.startsWith(`${of}\n`)) ?? "";
    const all = [...table.matchAll(/= ANY \(ARRAY\[([^\]]*)\]/g)];
    const written = all.filter(({ index }) => table.slice(0, index).trimEnd().endsWith(column)).map(([, words = ""]) => words);
    t.equal(written.length, 1);
    const words = [...(written[0] ?? "").matchAll(/'([^']*)'/g)].map(([, word]) => word);
    t.same(new Set(words), new Set<string>(want));
  });
}

t.test("five launchers that start at once on an empty database make one schema and one installation", async (t) => {
  const url = await server.database();
  const ledgers = await Promise.all([1, 2, 3, 4, 5].map(() => ledgerOn(url)));
  t.same(await query(url, "select id, epoch from installation"), [{ id: "conformance", epoch: 1 }]);
  t.same(await query(url, "select name from migration"), [{ name: "0001-spine" }, { name: "0002-key-mark" }]);
  for (const ledger of ledgers) {
    t.same(await ledger.groups(), []);
    await ledger[Symbol.asyncDispose]();
  }
});

const refused = async (opening: Promise<AsyncDisposable>): Promise<Failure> => {
  try {
    await (await opening)[Symbol.asyncDispose]();
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error("it opened, and should not have");
};

const elsewhere = (url: string, change: Partial<Pick<URL, "password" | "port" | "pathname" | "username">>): string =>
  Object.assign(new URL(url), change).href;

const installation = Installation.parse("conformance");
const jobName = () => "name";
const open = (url: string, more: Partial<Parameters<typeof openLedger>[0]> = {}) =>
  openLedger({ url, installation, jobName, migrate: true, unsafeForTests: true, ...more });

const cases = [
  { name: "a wrong password", change: { password: "s3cret-of-mine" }, code: "LedgerLogin", disposition: "halt", says: /refuses the password of the user "longshore"/ },
  { name: "a database that is not there", change: { pathname: "/nowhere" }, code: "LedgerMissing", disposition: "halt", says: /no database "nowhere"/ },
  { name: "a port where nobody listens", change: { port: "9" }, code: "LedgerUnreachable", disposition: "retry", says: /127\.0\.0\.1:9\/postgres\) refused the connection/ },
] as const; // biome-ignore format: a table
for (const { name, change, code, disposition, says } of cases) {
  t.test(`${name} is told with the place and what to do, without the password`, async (t) => {
    const failure = await refused(open(elsewhere(server.url, change)));
    t.match(failure, { code, disposition });
    t.match(failure.message, says);
    t.notMatch(failure.message, new URL(server.url).password);
    t.notMatch(failure.message, "s3cret-of-mine");
  });
}

t.test("a text that is no URL is refused", async (t) => {
  for (const url of ["mysql://a/b", "not a url"]) t.match(await refused(open(url)), { code: "LedgerUrl", disposition: "halt" });
});

t.test("a database that may forget what it committed is refused", async (t) => {
  const failure = await refused(open(await server.database(), { unsafeForTests: false }));
  t.match(failure, { code: "LedgerForgets", disposition: "halt" });
  t.match(failure.message, /fsync=off/);
});

t.test("a process that may not migrate neither uses nor changes a schema that is behind", async (t) => {
  const url = await server.database();
  t.match(await refused(open(url, { migrate: false })), { code: "LedgerNew", disposition: "halt" });
  t.same(await query(url, "select 1 as there from information_schema.tables where table_name = 'run'"), []);
  await (await open(url))[Symbol.asyncDispose]();
  await (await open(url, { migrate: false }))[Symbol.asyncDispose]();
});

t.test("a start on a schema that is up to date, or ahead of the launcher, migrates nothing", async (t) => {
  const url = await server.database();
  await (await open(url))[Symbol.asyncDispose]();
  await query(url, "drop table migration_lock"); // a migration would make it again
  await (await open(url))[Symbol.asyncDispose]();
  t.same(await query(url, "select to_regclass('migration_lock') as there"), [{ there: null }]);
  await query(url, "insert into migration select '9999-of-tomorrow', timestamp from migration limit 1");
  for (const migrate of [true, false]) await (await open(url, { migrate }))[Symbol.asyncDispose]();
});

t.test("another installation's ledger, and one of a newer Longshore, are refused", async (t) => {
  const url = await server.database();
  await (await open(url))[Symbol.asyncDispose]();
  const other = await refused(open(url, { installation: Installation.parse("other") }));
  t.match(other, { code: "LedgerOfAnother", disposition: "halt" });
  t.match(other.message, /"conformance".*"other"/);
  await query(url, "update installation set protocol = 99");
  t.match(await refused(open(url)), { code: "LedgerNewer", disposition: "halt" });
});

t.test("a frozen installation claims nothing", async (t) => {
  const url = await server.database();
  await using ledger = await open(url);
  await ledger.putGroups(groupsOf(5));
  await ledger.admit([wanted("a")]);
  await ledger.place({ most: 1, placer });
  await query(url, "update installation set frozen = true");
  t.same(await claimAll(ledger), []);
  await query(url, "update installation set frozen = false");
  t.equal((await claimAll(ledger)).length, 1);
});

t.test("counts read only what is unfinished, by its indexes", async (t) => {
  const url = await server.database();
  await using ledger = await open(url);
  await ledger.putGroups(groupsOf(1));
  await ledger.admit([wanted("a")]);
  await query(
    url,
    `insert into object (run_id, kind, group_id, hold_until, due, number, state, namespace, bytes)
     select 'a', 'anchor', 1, now(), 'infinity', n, 'gone', '', 0 from generate_series(1, 20000) n`,
  );
  await query(
    url,
    `insert into run (id, tenant, source, digest, state, outcome, generation, seq, plan, steps, accepted_at, ended_at)
     select 'x' || n, tenant, source, digest, 'ended', 'failed', 1, 1, plan, steps, now(), now() from run, generate_series(1, 20000) n where id = 'a'`,
  );
  await query(
    url,
    `insert into attempt (run_key, step, n, generation, epoch, state, priority, name, claim_no, unanswered, started, notes)
     select run_key, step, n + i, generation, epoch, 'done', priority, name || i, claim_no, unanswered, started, notes
     from attempt, generate_series(1, 20000) i where name = 'name'`,
  );
  await query(url, "analyze object, run, attempt");
  const plan = (await query<{ "QUERY PLAN": string }>(url, `explain ${COUNTS.text}`)).map((it) => it["QUERY PLAN"]).join("\n");
  t.notMatch(plan, /Seq Scan on (object|run|attempt|event|ending)/);
  const used = [...plan.matchAll(/using (\w+) on (object|run|attempt)/g)].map(([, index]) => index);
  t.same(new Set(used), new Set(["object_unfinished", "run_unfinished", "attempt_due"]), "each has only the unfinished");
  t.match(await ledger.counts(), { runs: { active: 1 }, attempts: { waiting: 1 } });
});

t.test("a table that was changed by hand says so", async (t) => {
  const url = await server.database();
  await using ledger = await open(url);
  await query(url, "alter table suspect rename to suspects");
  await t.rejects(ledger.suspect("a"), { code: "LedgerBroken", disposition: "halt" });
});

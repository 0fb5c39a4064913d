/**
 * The console's questions to the ledger, each asked for several people.
 *
 * The failure this prevents: SQL that opens what the rules of the domain keep closed. Both are asked about the same runs, by the
 * same rules, and must give the same answer.
 */
// runs with integration
import { type AccessRule, ROLE_NAMES, VERBS } from "@longshore/contract/access-rule.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import type { Definition } from "@longshore/contract/request/definition.ts";
import { type DefinitionName, ONLY_TENANT } from "@longshore/contract/ids.ts";
import { type About, type Asker, type Reach, reaches, reachOf } from "@longshore/domain/access/access.ts";
import fc from "fast-check";
import pg from "pg";
import t from "tap";
import { postgres } from "../../../test/harness/servers/postgres.ts";
import { sqlAt } from "../../../test/harness/servers/sql.ts";
import { openPages, SOURCE } from "../open-pages.ts";
import type { RunMatch } from "../pages.ts";
import type { Intake } from "../port.ts";
import {
  BANK, cancelled, claimed, complete, created, EAST, entry, failed, finish, INSTALLATION, placer, released, restarted, runId, SHOP, wanted,
} from "../testing/conformance-parts.ts"; // biome-ignore format: a list of names
import { ledgerOn } from "../testing/conformance-postgres.ts";
import { connectionOf } from "./connection.ts";
import { CANDIDATES_MOST, FOUND } from "./listed-runs.ts";
import { ENDINGS, WENT } from "./recent-endings.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

const ADA: Asker = { name: "Ada", id: "ada@shop.example", teams: ["shop"] };
const NAMESAKE: Asker = { name: "Ada", teams: ["ops"] };
const BO: Asker = { name: "Bo", teams: ["shop", "ops"] };
const PEOPLE = [ADA, NAMESAKE, BO, undefined];
const DEFINITIONS = ["a", "ab", "report-may", "reports", undefined];
const BEGINNING = { epoch: 1, xid: "0", run: "0", sequence: 0 };
/** All runs, and no run. */
const EVERYTHING = { all: [{}], own: [], me: "" };

interface Asked {
  readonly definition?: string | undefined;
  readonly tenant?: typeof SHOP;
  readonly by?: Asker | undefined;
  readonly labels?: Readonly<Record<string, string>>;
  readonly parameters?: Readonly<Record<string, unknown>>;
}

function asked(id: string, { definition, tenant = SHOP, by, ...request }: Asked): Intake {
  const intake = wanted(id, { tenant });
  const { admission } = intake;
  if (admission.kind !== "run") throw new TypeError("a request admits a run");
  const plan = {
    ...admission.run.plan,
    ...(definition !== undefined && { definition: { name: definition as DefinitionName, digest: "d" } }),
  };
  const actor = by && { name: by.name, ...(by.id !== undefined && { id: by.id }) };
  return {
    ...intake,
    admission: { ...admission, run: { ...admission.run, plan }, told: actor ? { actor } : {} },
    request: { image: "i", ...request },
  };
}

async function begun(intakes: readonly Intake[]) {
  const url = await server.database();
  const ledger = await ledgerOn(url);
  for (const it of intakes) await ledger.admit([it]);
  return { url, ledger, pages: await openPages({ url, installation: INSTALLATION, log: silentLog }) };
}

const idsOf = ({ rows }: { readonly rows: readonly { readonly id: string }[] }): readonly string[] => rows.map(({ id }) => id);

t.test("for any rules, the ledger finds the runs that the rules open, and no other", async (t) => {
  const runs = PEOPLE.flatMap((by) =>
    DEFINITIONS.flatMap((definition) => [SHOP, BANK].map((tenant) => ({ by, definition, tenant }))),
  );
  const { pages, ledger } = await begun(runs.map((it, at) => asked(`r${at}`, it)));
  const who = fc.constantFrom({ team: "shop" }, { team: "ops" }, { user: "Ada" }, { user: "ada@shop.example" });
  const rule: fc.Arbitrary<AccessRule> = fc.record(
    {
      who,
      may: fc.array(fc.constantFrom(...VERBS, ...ROLE_NAMES), { minLength: 1, maxLength: 2 }),
      definitions: fc.array(fc.constantFrom("a", "a*", "report-*", "*", "none"), { minLength: 1, maxLength: 2 }),
      tenants: fc.array(fc.constantFrom(SHOP, BANK), { minLength: 1, maxLength: 2 }),
    },
    { requiredKeys: ["who", "may"] },
  );
  const rules = fc.array(rule, { maxLength: 4 });
  let seen = 0;
  await fc.assert(
    fc.asyncProperty(
      rules,
      fc.constantFrom(ADA, NAMESAKE, BO),
      fc.constantFrom("see", "stop", "run"),
      async (rules, asker, verb) => {
        const reach = reachOf(rules, asker, verb as "see");
        const wants = runs.flatMap((it, at) => (reaches(reach, it as About) ? [`r${at}`] : [])).reverse();
        const found = idsOf(await pages.search({ reach, most: 100 }));
        seen += found.length;
        if (JSON.stringify(found) !== JSON.stringify(wants)) throw new Error(`found ${found.join()}, and not ${wants.join()}`);
        const many = { reach, also: [reach, reach], state: "active", most: 100 } as const;
        if (JSON.stringify((await pages.matching(many)).map(({ id }) => id)) !== JSON.stringify(wants))
          throw new Error("a deed on many is otherwise");
        const fed = await pages.events.feed(BEGINNING, { most: 100, see: reach, log: reach });
        const heard = fed.kind === "read" ? fed.events.map(({ event }) => event.run) : [];
        if (JSON.stringify(heard.toSorted()) !== JSON.stringify(wants.toSorted()))
          throw new Error(`heard ${heard.join()}, and not ${wants.join()}`);
        for (const at of [0, 7, 21])
          if ((await pages.isReached(runId(`r${at}`), reach)) !== wants.includes(`r${at}`))
            throw new Error(`r${at} is otherwise`);
        const recent = await pages.recent(["a" as DefinitionName], { most: 10, reach });
        for (const it of recent.get("a" as DefinitionName) ?? [])
          if (it.isReached !== wants.includes(it.id)) throw new Error(`the card's ${it.id} is otherwise`);
      },
    ),
    { numRuns: 150 },
  );
  t.ok(seen > 100, `${seen} runs were found`);
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("runs are found by the beginning of their id, by a Job, by a label, by a parameter, and by whose they are", async (t) => {
  const intakes = [
    asked("shop/1", {
      by: ADA,
      labels: { team: "shop" },
      parameters: { month: "2026-10", count: 3, deep: { a: 1 }, isDry: true },
    }),
    asked("shop/2", { by: BO, labels: { team: "ops" }, parameters: { month: "2026-11", long: "x".repeat(101) } }),
    asked("shop_3", { definition: "export" }),
    cancelled("shop/4"),
  ];
  const { pages, ledger, url } = await begun(intakes);
  const find = async (search: object): Promise<readonly string[]> =>
    idsOf(await pages.search({ reach: { ...EVERYTHING, me: "ada@shop.example" }, most: 10, ...search }));
  t.same(await find({}), ["shop_3", "shop/2", "shop/1"], "a cancel that came before its run is no run");
  t.same(await find({ begins: "shop/" }), ["shop/2", "shop/1"]);
  t.same(await find({ begins: "shop_" }), ["shop_3"], "no letter stands for any other");
  t.same(await find({ tag: { name: "team", value: "shop" } }), ["shop/1"]);
  t.same(await find({ tag: { name: "month", value: "2026-11" } }), ["shop/2"]);
  t.same(await find({ tag: { name: "count", value: "3" } }), ["shop/1"]);
  t.same(await find({ tag: { name: "isDry", value: "true" } }), ["shop/1"]);
  t.same(await find({ tag: { name: "actor", value: "Bo" } }), [], "who asked is no label");
  t.same(await find({ mine: true }), ["shop/1"]);
  t.same(await find({ mine: true, tag: { name: "team", value: "ops" } }), []);
  t.same(await find({ definition: "export" }), ["shop_3"]);
  t.same(await find({ definition: "export", begins: "shop/" }), []);
  t.same(await find({ outcome: "active" }), ["shop_3", "shop/2", "shop/1"]);
  t.same(await find({ outcome: "failed" }), []);
  await ledger.admit([cancelled("shop/1")]);
  t.same(await find({ outcome: "cancelled" }), ["shop/1"]);
  const [job] = await claimed(ledger, []);
  t.same(await find({ begins: "shop/2-main-1" }), ["shop/2"], `by its Job ${job?.attempt.name ?? ""}`);

  const rows = await sqlAt<{ name: string }>(url, "select distinct name from longshore.tag order by name");
  t.same(rows.map(({ name }) => name), ["actor", "label:team", "parameter:count", "parameter:isDry", "parameter:month"]); // biome-ignore format: a list
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("runs are found by the code with which they ended, and by their group, if one operates them", async (t) => {
  const { pages, ledger, url } = await begun([]);
  const works = await claimed(ledger, [
    asked("a/1", { definition: "a" }),
    asked("a/2", { definition: "a" }),
    asked("b/3", { definition: "b" }),
    asked("b/4", { definition: "b" }),
  ]);
  for (const work of works) if (work.run.id !== "b/4") await finish(ledger, work, work.run.id === "a/2" ? complete : failed);
  await ledger.admit([asked("b/5", { definition: "b" })]);
  const find = async (search: object): Promise<readonly string[]> =>
    idsOf(await pages.search({ reach: EVERYTHING, most: 10, ...search }));
  t.same(await find({ code: "ExitCode" }), ["b/3", "a/1"]);
  t.same(await find({ code: "ExitCode", definition: "a" }), ["a/1"]);
  t.same(await find({ code: "Evicted" }), []);
  t.same(await find({ code: "" }), [], "a run that succeeded has no code");
  const group = { name: "east", reach: EVERYTHING };
  t.same(await find({ group }), ["b/4", "b/3", "a/2", "a/1"], "one that goes on is there, and one that waits is not");
  t.same(await find({ group, outcome: "active" }), ["b/4"]);
  t.same(await find({ group, code: "ExitCode", begins: "a" }), ["a/1"]);
  const matching = async (match: Pick<RunMatch, "state" | "code" | "group">) =>
    (await pages.matching({ reach: EVERYTHING, also: [EVERYTHING, EVERYTHING], most: 9, ...match })).map(({ id }) => id);
  t.same(await matching({ state: "active", group }), ["b/4"], "a deed on many is done to those that the list shows");
  t.same(await matching({ state: "ended", code: "ExitCode" }), ["b/3", "a/1"]);
  t.same(await find({ group: { name: "west", reach: EVERYTHING } }), []);
  const ofB = { all: [{ definitions: ["b"] }], own: [], me: "" };
  t.same(await find({ group: { name: "east", reach: ofB } }), ["b/4", "b/3"], "where others' runs were placed is not told");
  t.same(await find({ reach: ofB, code: "ExitCode" }), ["b/3"]);
  t.same(await find({ code: "ExitCode", most: 1 }), ["b/3"]);
  const { before } = await pages.search({ reach: EVERYTHING, code: "ExitCode", most: 1 });
  t.same(await find({ code: "ExitCode", before }), ["a/1"]);
  await ledger.admit([restarted("a/1")]);
  t.same(await find({ code: "ExitCode" }), ["b/3"], "a run that was restarted did not end like that");
  t.same(await find({ group }), ["b/4", "b/3", "a/2", "a/1"], "it is in the list once");

  const other = `select 100000 + n, 1, 'failed', 'ExitCode', 'request', 'a', 1, 1, now() from generate_series(1, 20000) n`;
  await sqlAt(url, `insert into longshore.ending ${other}`);
  await sqlAt(url, "analyze longshore.ending, longshore.run");
  for (const way of ["code", "group"] as const) {
    const plan = await planOf(url, FOUND[way].text);
    t.match(plan, new RegExp(`using ending_${way} on ending`));
    t.notMatch(plan, /Seq Scan on (run|attempt|event|tag|ending)/, way);
  }
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("how a definition's newest runs went is counted whoever may see them, and named only as far as one may", async (t) => {
  const { pages, ledger, url } = await begun([]);
  const names = ["a", "b", "never"] as unknown as readonly DefinitionName[];
  const [a] = names;
  if (a === undefined) throw new TypeError("there are names");
  const intakes = Array.from({ length: 6 }, (_, n) => asked(`a/${n}`, { definition: "a", by: n === 0 ? ADA : BO }));
  const works = await claimed(ledger, [...intakes, asked("b/1", { definition: "b" })]);
  const at = (second: number): string => new Date(Date.UTC(2030, 0, 1, 0, 0, second)).toISOString();
  for (const work of works) {
    const n = Number(work.run.id.at(-1));
    const how = n === 5 ? failed(work) : complete(work);
    const times = { startedAt: at(0), finishedAt: at(10 * (n + 1)) };
    await finish(ledger, work, () => ({ ...how, evidence: { ...how.evidence, ...times } }));
  }
  await ledger.admit([asked("a/6", { definition: "a" }), cancelled("a/6")]);
  const went = await pages.howItWent(names);
  t.match(went.get(a), { n: 6, succeeded: 5, timed: 5, halfWithinMs: 30_000, mostWithinMs: 50_000 });
  t.ok((went.get(a)?.lastSuccessMs ?? 0) > 0);
  t.match(went.get("never" as DefinitionName), {
    n: 0,
    succeeded: 0,
    timed: 0,
    halfWithinMs: undefined,
    lastSuccessMs: undefined,
  });
  const mine = { all: [], own: [{}], me: "ada@shop.example" };
  const endings = await pages.endings(a, mine);
  t.same(
    endings.map(({ id, outcome, lastedMs }) => [id, outcome, lastedMs]),
    [
      [undefined, "cancelled", undefined],
      [undefined, "failed", 60_000],
      ...[50_000, 40_000, 30_000, 20_000].map((ms) => [undefined, "succeeded", ms]),
      ["a/0", "succeeded", 10_000],
    ],
  );
  await ledger.admit([restarted("a/5")]);
  t.match((await pages.howItWent(names)).get(a), { n: 5, succeeded: 5 }, "a restarted run goes on");
  t.equal((await pages.endings(a, EVERYTHING)).length, 6);

  t.same(await pages.hours(2), [], "nobody counted yet");
  await ledger.countEnds(100);
  const hours = await pages.hours(2);
  t.same(hours.map(({ outcome, code, blame, n }) => `${outcome} ${code} ${blame} ${n}`).toSorted(), [
    "cancelled   1",
    "failed ExitCode request 1",
    "succeeded   6",
  ]);

  await sqlAt(
    url,
    "insert into longshore.ending select 100000 + n, 1, 'failed', '', '', 'c', 1, 1, now() from generate_series(1, 20000) n",
  );
  await sqlAt(url, "analyze longshore.ending");
  for (const { text } of [WENT, ENDINGS]) {
    const plan = await planOf(url, text);
    t.match(plan, /using ending_definition on ending/);
    t.notMatch(plan, /Seq Scan on (run|ending)/);
  }
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

/** The plan that the statement has for any parameters. */
async function planOf(url: string, text: string): Promise<string> {
  const client = new pg.Client(connectionOf(url));
  await client.connect();
  try {
    await client.query(`prepare asked as ${text}`);
    const { rows } = await client.query<{ many: number }>(
      "select coalesce(array_length(parameter_types, 1), 0) as many from pg_prepared_statements where name = 'asked'",
    );
    const nulls = Array.from({ length: rows[0]?.many ?? 0 }, () => "null").join(", ");
    const plan = await client.query<{ "QUERY PLAN": string }>(`explain execute asked(${nulls})`);
    return plan.rows.map((it) => it["QUERY PLAN"]).join("\n");
  } finally {
    await client.end();
  }
}

t.test("a request that comes after its cancel is found as any other", async (t) => {
  const { pages, ledger } = await begun([cancelled("late"), asked("late", { by: ADA, labels: { team: "shop" } })]);
  t.same(idsOf(await pages.search({ reach: EVERYTHING, tag: { name: "team", value: "shop" }, most: 10 })), ["late"]);
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("a search looks through a bounded number of runs, says how far it came, and goes on from there", async (t) => {
  const { pages, ledger, url } = await begun([asked("rare", { labels: { team: "shop" }, definition: "rare" })]);
  await sqlAt(
    url,
    `insert into longshore.run (id, tenant, source, digest, state, outcome, generation, seq, plan, steps, accepted_at, ended_at)
     select 'x' || n, tenant, source, digest, 'ended', 'failed', 1, 1, plan - 'definition', steps, now(), now()
     from longshore.run r, generate_series(1, ${CANDIDATES_MOST + 10}) n where r.id = 'rare'`,
  );
  const search = { reach: EVERYTHING, outcome: "active", most: 10 } as const;
  const first = await pages.search(search);
  t.same(idsOf(first), []);
  t.ok(first.before !== undefined && (first.searchedBackToMs ?? 0) > 0, "it says how far back it came");
  t.same(idsOf(await pages.search({ ...search, before: first.before })), ["rare"]);
  t.same(idsOf(await pages.search({ ...search, definition: "rare" })), ["rare"], "an index finds it at once");
  const page = await pages.search({ reach: EVERYTHING, most: 2 });
  t.same(idsOf(page), [`x${CANDIDATES_MOST + 10}`, `x${CANDIDATES_MOST + 9}`]);
  t.same(idsOf(await pages.search({ reach: EVERYTHING, most: 1, before: page.before })), [`x${CANDIDATES_MOST + 8}`]);
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test(
  "a deed stands in the audit before it is answered, and then with its answer; what was denied stands once a minute",
  async (t) => {
    const { pages, ledger } = await begun([asked("a", { by: ADA, tenant: ONLY_TENANT })]);
    const note = (deed: "run" | "stop", run: string) =>
      pages.audit.note({ person: ADA, deed, about: run, command: `console/${run}/${deed}` });
    const states = async () =>
      (await pages.audit.list({ most: 10 })).map(({ deed, about, state }) => `${deed} ${about} ${state}`);
    await note("run", "a");
    await note("run", "b");
    await note("stop", "a");
    await note("stop", "nobody");
    t.same(await states(), ["stop nobody open", "stop a open", "run b open", "run a done"]);
    const answers = await ledger.admit([
      { ...cancelled("a"), source: SOURCE, command: "console/a/stop", tenant: ONLY_TENANT },
      {
        ...wanted("b"),
        command: "console/b/run",
        admission: { kind: "invalid", problems: [{ path: "", code: "Missing", message: "no" }] },
      },
    ]);
    t.same(answers.map(({ kind }) => kind), ["recorded", "refused"], JSON.stringify(answers)); // biome-ignore format: one line
    for (let times = 0; times < 3; times++) await pages.audit.deny({ person: BO, deed: "stop", about: "a" });
    await pages.audit.deny({ person: BO, deed: "stop", about: "b" });
    t.same(await states(), ["stop b denied", "stop a denied", "stop nobody open", "stop a done", "run b refused", "run a done"]);
    const [newest] = await pages.audit.list({ most: 1 });
    t.same(newest?.person, BO);
    t.equal((await pages.audit.list({ most: 10, before: newest?.cursor ?? "" })).length, 5);
    await pages[Symbol.asyncDispose]();
    await ledger[Symbol.asyncDispose]();
  },
);

t.test("of a request that was refused, the newest refusal says why", async (t) => {
  const problem = (message: string) => ({ path: "/data/image", code: "Missing", message }) as const;
  const refused = (command: string, message: string): Intake => ({
    ...wanted("never"),
    command,
    admission: { kind: "invalid", problems: [problem(message)] },
  });
  const { pages, ledger } = await begun([refused("c1", "first"), refused("c2", "second")]);
  t.match(await pages.refusal(runId("never")), { problems: [problem("second")] });
  t.equal(await pages.refusal(runId("another")), undefined);
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("refused requests of a tenant are for those who may see all of it, and come a page at a time", async (t) => {
  const refused = (n: number, tenant: typeof SHOP): Intake => ({
    ...wanted(`never/${n}`, { tenant }),
    command: `c${n}`,
    admission: { kind: "invalid", problems: [{ path: "/data/image", code: "Missing", message: "no" }] },
  });
  const { pages, ledger } = await begun([0, 1, 2, 3].map((n) => refused(n, n === 3 ? BANK : SHOP)));
  const seen = async (all: Reach["all"], own: Reach["own"] = [], more: { before?: string; most?: number } = {}) =>
    (await pages.refusals({ reach: { all, own, me: "Ada" }, most: 10, ...more })).map(({ run }) => run);
  t.same(await seen([{}]), ["never/3", "never/2", "never/1", "never/0"]);
  t.same(await seen([{ tenants: [SHOP] }]), ["never/2", "never/1", "never/0"]);
  t.same(await seen([{ definitions: ["*"] }]), [], "a refused request is of no definition");
  t.same(await seen([], [{}]), [], "and of nobody");
  const [first] = await pages.refusals({ reach: EVERYTHING, most: 1 });
  t.same(await seen([{}], [], { before: first?.cursor ?? "", most: 2 }), ["never/2", "never/1"]);
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test("definitions are read whole, and a name that nobody has gives none", async (t) => {
  const { pages, ledger } = await begun([]);
  const body = { name: "export", image: "i" } as unknown as Definition;
  await ledger.putDefinitions([{ digest: "d", body }]);
  t.match(await pages.definition("export"), { digest: "d", body });
  t.equal(await pages.definition("exports"), undefined);
  await pages[Symbol.asyncDispose]();
  await ledger[Symbol.asyncDispose]();
});

t.test(
  "what is in each group is counted by how far it is, with the holds of ended Jobs and the runs that it passed over",
  async (t) => {
    const { pages, ledger } = await begun([]);
    const [a, b, c] = await claimed(
      ledger,
      ["a", "b", "c"].map((id) => wanted(id)),
    );
    t.same((await pages.atWork()).get(EAST)?.left, { ready: 0, claimed: 3, live: 0, closing: 0, ended: 0 });
    if (a === undefined || b === undefined || c === undefined) throw new Error("three runs were claimed");
    await ledger.record([entry(a, created(a)), entry(b, created(b)), entry(b, complete(b)), entry(c, created(c)), entry(c, complete(c)), entry(c, released)]); // biome-ignore format: one call
    await ledger.setGroup(EAST, { paused: true });
    await ledger.admit([wanted("d")]);
    await ledger.place({ most: 10, placer });
    t.match(Object.fromEntries(await pages.atWork()), {
      [EAST]: {
        left: { ready: 0, claimed: 0, live: 1, closing: 0, ended: 1 },
        finishedHolds: { count: 1, oldestMs: Number },
        waiting: { count: 1, sinceMs: Number },
      },
    });
    const health = await pages.health();
    t.match(health, { counts: { hasLauncher: false, overdue: 0 }, launchers: [], deeds: undefined });
    t.match(health.waiting, [{ reason: "GroupsPaused", count: 1, sinceMs: Number, oldest: "d" }]);
    t.equal(await pages.hasLauncher(), false);
    await ledger.leasePartitions("host/1", 60_000);
    t.equal(await pages.hasLauncher(), true);
    t.match(await pages.health(), { launchers: ["host/1"], counts: { hasLauncher: true } });
    await pages[Symbol.asyncDispose]();
    await ledger[Symbol.asyncDispose]();
  },
);

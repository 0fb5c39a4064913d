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
import { type About, type Asker, reaches, reachOf } from "@longshore/domain/access/access.ts";
import fc from "fast-check";
import t from "tap";
import { postgres } from "../../../test/harness/servers/postgres.ts";
import { sqlAt } from "../../../test/harness/servers/sql.ts";
import { openPages, SOURCE } from "../open-pages.ts";
import type { Intake } from "../port.ts";
import {
  BANK, cancelled, claimed, complete, created, EAST, entry, INSTALLATION, placer, released, runId, SHOP, wanted,
} from "../testing/conformance-parts.ts"; // biome-ignore format: a list of names
import { ledgerOn } from "../testing/conformance-postgres.ts";
import { CANDIDATES_MOST } from "./listed-runs.ts";

const server = await postgres({ unsafe: true });
t.teardown(() => server[Symbol.asyncDispose]());

const ADA: Asker = { name: "Ada", id: "ada@shop.example", teams: ["shop"] };
const NAMESAKE: Asker = { name: "Ada", teams: ["ops"] };
const BO: Asker = { name: "Bo", teams: ["shop", "ops"] };
const PEOPLE = [ADA, NAMESAKE, BO, undefined];
const DEFINITIONS = ["a", "ab", "report-may", "reports", undefined];
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

t.test("definitions are read whole, and a name that nobody has gives none", async (t) => {
  const { pages, ledger } = await begun([]);
  const body = { name: "export", image: "i" } as unknown as Definition;
  await ledger.putDefinitions([{ digest: "d", body }]);
  t.same(await pages.definition("export"), body);
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

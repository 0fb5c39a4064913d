/** The rules of access: each row has rules, an asker, and whether a verb reaches a run by them. */
import { AccessRule, ROLE_NAMES, type Verb, VERBS } from "@longshore/contract/access-rule.ts";
import { ONLY_TENANT, TenantName } from "@longshore/contract/ids.ts";
import t from "tap";
import { type Asker, namedInVain, reaches, reachesAny, reachOf } from "./access.ts";

const ADA: Asker = { name: "Ada", id: "ada@shop.example", teams: ["shop"] };
const rule = (it: object): AccessRule => AccessRule.parse(it);
const shop = { who: { team: "shop" } };
const run = (definition: string | undefined, more: object = {}) => ({ definition, tenant: ONLY_TENANT, ...more });
const by = (name: string, id?: string) => ({ by: { name, id } });

interface Case {
  readonly name: string;
  readonly rules: readonly object[];
  readonly asker?: Asker;
  readonly verb: Verb;
  readonly about: ReturnType<typeof run>;
  readonly may: boolean;
}

// biome-ignore format: a table
const cases: readonly Case[] = [
  { name: "without a rule, nothing", rules: [], verb: "see", about: run("a"), may: false },
  { name: "by team", rules: [{ ...shop, may: ["see"] }], verb: "see", about: run("a"), may: true },
  { name: "another team's rule", rules: [{ who: { team: "ops" }, may: ["see"] }], verb: "see", about: run("a"), may: false },
  { name: "by id", rules: [{ who: { user: "ada@shop.example" }, may: ["see"] }], verb: "see", about: run("a"), may: true },
  { name: "a name is nobody's id who has another", rules: [{ who: { user: "Ada" }, may: ["see"] }], verb: "see", about: run("a"), may: false },
  { name: "a name of somebody without an id", rules: [{ who: { user: "Bo" }, may: ["see"] }], asker: { name: "Bo" }, verb: "see", about: run("a"), may: true },
  { name: "a verb grants no other", rules: [{ ...shop, may: ["see"] }], verb: "run", about: run("a"), may: false },
  { name: "rules add up", rules: [{ ...shop, may: ["see"] }, { ...shop, may: ["run"], definitions: ["a"] }], verb: "run", about: run("a"), may: true },
  { name: "a rule for one definition opens no other", rules: [{ ...shop, may: ["run"], definitions: ["a"] }], verb: "run", about: run("ab"), may: false },
  { name: "by the beginning", rules: [{ ...shop, may: ["run"], definitions: ["report-*"] }], verb: "run", about: run("report-may"), may: true },
  { name: "a beginning inside a name", rules: [{ ...shop, may: ["run"], definitions: ["report-*"] }], verb: "run", about: run("my-report-1"), may: false },
  { name: "* is all definitions, and no run without one", rules: [{ ...shop, may: ["see"], definitions: ["*"] }], verb: "see", about: run(undefined), may: false },
  { name: "a rule without definitions covers runs without one", rules: [{ ...shop, may: ["see"] }], verb: "see", about: run(undefined), may: true },
  { name: "another tenant", rules: [{ ...shop, may: ["see"], tenants: ["b"] }], verb: "see", about: run("a"), may: false },
  { name: "its own tenant", rules: [{ ...shop, may: ["see"], tenants: ["b"] }], verb: "see", about: { definition: "a", tenant: TenantName.parse("b") }, may: true },
  { name: "a runner sees their own run", rules: [{ ...shop, may: ["runner"] }], verb: "see", about: run("a", by("Ada", "ada@shop.example")), may: true },
  { name: "a runner stops their own run", rules: [{ ...shop, may: ["runner"] }], verb: "stop", about: run("a", by("Ada", "ada@shop.example")), may: true },
  { name: "a runner does not see another's run", rules: [{ ...shop, may: ["runner"] }], verb: "see", about: run("a", by("Bo")), may: false },
  { name: "a namesake's run", rules: [{ ...shop, may: ["runner"] }], verb: "see", about: run("a", by("Ada")), may: false },
  { name: "an own run of a definition that one may not run any more", rules: [{ ...shop, may: ["runner"], definitions: ["b"] }], verb: "see", about: run("a", by("Ada", "ada@shop.example")), may: false },
  { name: "a viewer stops nothing", rules: [{ ...shop, may: ["viewer"] }], verb: "stop", about: run("a", by("Ada", "ada@shop.example")), may: false },
  { name: "an operator stops another's run", rules: [{ ...shop, may: ["operator"] }], verb: "stop", about: run("a", by("Bo")), may: true },
  { name: "an operator does not administer", rules: [{ ...shop, may: ["operator"] }], verb: "administer", about: run("a"), may: false },
  { name: "a token by its name", rules: [{ who: { token: "ci" }, may: ["run"] }], asker: { name: "ci", token: "ci" }, verb: "run", about: run("a"), may: true },
  { name: "a token has no rights of its maker's teams", rules: [{ ...shop, may: ["run"] }], asker: { ...ADA, token: "ci" }, verb: "run", about: run("a"), may: false },
  { name: "a person named as a token is none", rules: [{ who: { token: "ci" }, may: ["run"] }], asker: { name: "ci" }, verb: "run", about: run("a"), may: false },
];

for (const { name, rules, asker = ADA, verb, about, may } of cases)
  t.test(`${name}: ${may ? "may" : "may not"}`, async (t) => {
    const reach = reachOf(rules.map(rule), asker, verb);
    t.equal(reaches(reach, about), may);
    if (may) t.ok(reachesAny(reach));
  });

t.test("an admin may do everything", async (t) => {
  for (const verb of VERBS) t.ok(reaches(reachOf([rule({ ...shop, may: ["admin"] })], ADA, verb), run("a")), verb);
});

t.test("a definition that a rule names and nobody prepared is named in vain, once", async (t) => {
  const rules = [
    rule({ ...shop, may: ["run"], definitions: ["report-*", "exprot"] }),
    rule({ ...shop, may: ["see"], definitions: ["exprot", "export", "*"] }),
  ];
  t.same(namedInVain(rules, ["export", "report-a"]), ["exprot"]);
  t.same(namedInVain(rules, []), ["report-*", "exprot", "export", "*"]);
});

for (const bad of [
  { who: {}, may: ["see"] },
  { who: { team: "a", user: "b" }, may: ["see"] },
  { who: { team: "a" }, may: [] },
  { who: { team: "a" }, may: ["everything"] },
  { who: { team: "a" }, may: ["see"], definitions: ["a*b"] },
  { who: { team: "a" }, may: ["see"], deny: true },
])
  t.test(`${JSON.stringify(bad)} is no rule`, async (t) => void t.notOk(AccessRule.safeParse(bad).success));

t.test("the roles are these", async (t) => t.same(ROLE_NAMES, ["viewer", "runner", "operator", "admin"]));

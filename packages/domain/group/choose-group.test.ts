/** The group that takes an attempt, or the reason why none does. */
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName } from "@longshore/contract/ids.ts";
import fc from "fast-check";
import t from "tap";
import { planOf, played, runOf, step, toStep } from "../attempt/testing/examples.ts";
import { withHintFilled } from "../run/story.ts";
import { type Group, UNSERVED_MS } from "./group.ts";
import { notAllowed } from "./policy.ts";
import { chooseGroup, judgeAttempt, NO_PLACE } from "./choose-group.ts";

const named = (name: string, more: Partial<Group> = {}): Group => ({
  name: GroupName.parse(name),
  namespace: "batch",
  settings: GroupSettings.parse({ limits: { jobs: 2 } }),
  slotsUsed: 0,
  paused: false,
  health: "healthy",
  everHealthy: true,
  ...more,
});
const names = (...of: readonly string[]): readonly GroupName[] => of.map((it) => GroupName.parse(it));

const full: Partial<Group> = { slotsUsed: 2 };
const paused: Partial<Group> = { paused: true };
const broken: Partial<Group> = { health: "unhealthy", diagnosis: diagnose("AuthRejected", "The token was refused.") };
const neverWorked: Partial<Group> = { ...broken, everHealthy: false };
const quota: Partial<Group> = {
  noRoom: { untilMs: 2000, diagnosis: diagnose("QuotaExceeded", "The quota has no room now.") },
};
const strict: Partial<Group> = { settings: GroupSettings.parse({ policy: { images: ["registry.example.com/*"] } }) };
const paced = (createsPerSecond: number): Pick<Group, "settings"> => ({
  settings: GroupSettings.parse({ limits: { createsPerSecond } }),
});

interface Case {
  readonly name: string;
  readonly groups: readonly Group[];
  readonly wanted?: readonly GroupName[];
  readonly avoid?: string;
  /** A group that this launcher does not serve. No other launcher has said for a long time that it serves the group. */
  readonly unserved?: string;
  /** The group whose API server asked for a pause. */
  readonly quiet?: string;
  /** A group's name, or the reason why there is none. */
  readonly want: string;
  readonly hopeless?: boolean;
  readonly why?: RegExp;
}

const cases: readonly Case[] = [
  { name: "takes the first group that it may use", groups: [named("a"), named("b")], want: "a" },
  {
    name: "takes them in the order of the request, not of the configuration",
    groups: [named("a"), named("b")],
    wanted: names("b", "a"),
    want: "b",
  },
  { name: "passes a full group over", groups: [named("a", full), named("b")], want: "b", why: /It is full: 2 of 2 Jobs/ },
  { name: "passes a paused group over", groups: [named("a", paused), named("b")], want: "b", why: /It is paused/ },
  {
    name: "passes a broken group over and says what is wrong with it",
    groups: [named("a", broken), named("b")],
    want: "b",
    why: /The token was refused/,
  },
  {
    name: "passes a group over whose cluster has just said that it has no room",
    groups: [named("a", quota), named("b")],
    want: "b",
    why: /no room/,
  },
  {
    name: "passes a group over that no launcher serves",
    groups: [named("a"), named("b")],
    unserved: "a",
    want: "b",
    why: /No launcher has it/,
  },
  {
    name: "passes a group over whose line is as long as its pace allows",
    groups: [named("a", { ...paced(0.4), inLine: 2 }), named("b")],
    want: "b",
    why: /takes 0.4 Jobs a second, and 2 are in line/,
  },
  {
    name: "passes a group over whose API server asked for a pause",
    groups: [named("a"), named("b")],
    quiet: "a",
    want: "b",
    why: /too much to do/,
  },
  {
    name: "waits for the end of a pause",
    groups: [named("a")],
    quiet: "a",
    want: "Throttled",
    hopeless: false,
  },
  { name: "lets one stand in line, however slow the pace", groups: [named("a", paced(0.1))], want: "a" },
  { name: "waits for its turn", groups: [named("a", { ...paced(1), inLine: 5 })], want: "Throttled", hopeless: false },
  {
    name: "waits for a group that was taken out of the file: it may be put back",
    groups: [named("a", { everHealthy: false })],
    unserved: "a",
    want: "NoGroup",
    hopeless: false,
  },
  {
    name: "passes a group over whose policy forbids the image",
    groups: [named("a", strict), named("b")],
    want: "b",
    why: /does not allow the image demo/,
  },
  { name: "tries a group that nobody has tried yet", groups: [named("a", { health: "unknown", everHealthy: false })], want: "a" },
  { name: "goes elsewhere after a failure", groups: [named("a"), named("b")], avoid: "a", want: "b" },
  {
    name: "goes back there if nothing else is free",
    groups: [named("a"), named("b", full)],
    avoid: "a",
    want: "a",
    why: /The last try failed there/,
  },
  { name: "waits if all are full", groups: [named("a", full), named("b", full)], want: "GroupsFull", hopeless: false },
  {
    name: "names the most hopeful reason",
    groups: [named("a", neverWorked), named("b", paused), named("c", full)],
    want: "GroupsFull",
    hopeless: false,
  },
  { name: "waits for a broken group that once worked", groups: [named("a", broken)], want: "GroupsUnhealthy", hopeless: false },
  {
    name: "has no hope where no group of the request ever worked",
    groups: [named("a", neverWorked)],
    want: "GroupsUnhealthy",
    hopeless: true,
  },
  {
    name: "has hope if one group of the request ever worked",
    groups: [named("a", neverWorked), named("b", broken)],
    want: "GroupsUnhealthy",
    hopeless: false,
  },
  {
    name: "has no hope if every group forbids the image",
    groups: [named("a", strict)],
    want: "PolicyRefused",
    hopeless: true,
  },
  {
    name: "waits for a group that does not exist yet",
    groups: [named("a")],
    wanted: names("later"),
    want: "NoGroup",
    hopeless: false,
    why: /No group has this name; there is a\./,
  },
  { name: "waits if there is no group at all", groups: [], want: "NoGroup", hopeless: false },
];

/** The groups that the asking launcher serves; no API server has asked for a pause. */
const knows = (groups: readonly Group[]) => ({ serves: new Set(groups.map(({ name }) => name)), quiet: new Map() });

for (const { name, groups, wanted, avoid, unserved, quiet, want, hopeless, why } of cases) {
  t.test(name, async (t) => {
    const placed = chooseGroup({
      serves: new Set(groups.map((it) => it.name).filter((it) => it !== unserved)),
      quiet: new Map(quiet === undefined ? [] : [[GroupName.parse(quiet), "It has too much to do."]]),
      wanted,
      groups,
      uses: { image: "demo/export:1" },
      nowMs: 1000,
      avoid: avoid === undefined ? undefined : GroupName.parse(avoid),
    });
    t.equal(placed.kind === "placed" ? placed.group.name : placed.reason, want);
    if (placed.kind === "noPlace") t.equal(placed.hopeless, hopeless);
    if (why) t.match(placed.considered.map((it) => it.why).join(" "), why);
  });
}

t.test("places again when a full quota's pause is over", async (t) => {
  const groups = [named("a", quota)];
  t.equal(chooseGroup({ wanted: undefined, groups, nowMs: 2000, ...knows(groups) }).kind, "placed");
});

for (const { name, groups, wanted, serves, want } of [
  {
    name: "a wait for a name that no group has says which names there are, and blames the request",
    groups: [named("b"), named("a")],
    wanted: names("nowhere"),
    want: {
      code: "NoGroup",
      blame: "request",
      sentence: "No group is called nowhere; there are a, b.",
      hint: /another group and a new id/,
    },
  },
  {
    name: "a wait for the first group says that a launcher needs one",
    groups: [],
    want: { code: "NoGroup", blame: "platform", sentence: "No launcher serves a group.", hint: /^Add a group/ },
  },
  {
    name: "a wait for a group that was taken out of the file names it",
    groups: [named("a", { servedAtMs: 0 })],
    wanted: names("a"),
    serves: [],
    want: { code: "NoGroup", blame: "platform", sentence: "No launcher serves a.", hint: /start the launcher that has it/ },
  },
  {
    name: "a wait for one that only is full needs nobody",
    groups: [named("a", full)],
    wanted: names("nowhere", "a"),
    want: undefined,
  },
])
  t.test(name, async (t) => {
    const known = serves === undefined ? knows(groups) : { serves: new Set<GroupName>(serves), quiet: new Map() };
    const found = chooseGroup({ wanted, groups, nowMs: UNSERVED_MS, ...known });
    if (found.kind !== "noPlace") return void t.fail("there is no place");
    if (want === undefined) t.equal(found.diagnosis, undefined);
    else t.match(found.diagnosis, want);
  });

for (const { name, wanted, want } of [
  {
    name: "who waited for a name that no group has is to blame, and reads the names that there are",
    wanted: names("nowhere"),
    want: { blame: "request", sentence: "No group is called nowhere; there are a, b.", hint: /^Correct the names in `groups`/ },
  },
  {
    name: "who waited for a group that there is waited for the cluster",
    wanted: names("nowhere", "a"),
    want: { blame: "cluster" },
  },
])
  t.test(name, async (t) => {
    const run = runOf({ ...planOf([step("main")], {}, true), groups: wanted });
    const groups = [named("b"), named("a")];
    const [attempt] = run.attempts;
    if (attempt === undefined) throw new TypeError("the run's first attempt is open");
    const placer = { ...knows(groups), placeAgainMs: 1000 };
    const judged = judgeAttempt(attempt, run, groups, placer, attempt.notes.waitUntilMs);
    t.match(played(run, toStep("main", judged)).record.run.steps["main"]?.diagnosis, { code: "WaitExpired", ...want });
  });

t.test("what becomes of an attempt in the embedded cluster is told without a cluster's tools", async (t) => {
  const run = runOf(planOf([step("main")], {}, true));
  const [attempt] = run.attempts;
  if (attempt === undefined) throw new TypeError("the run's first attempt is open");
  for (const { embedded, want } of [
    { embedded: true, want: /^Read what it printed: `longshore runs show \S+`/ },
    { embedded: false, want: /kubectl/ },
  ]) {
    const groups = [named("a", { settings: GroupSettings.parse({ embedded }) })];
    const placed = played(run, toStep("main", judgeAttempt(attempt, run, groups, { ...knows(groups), placeAgainMs: 1 }, 1)));
    const [at] = placed.record.attempts;
    const told = {
      type: "run.stalled",
      group: named("a").name,
      data: { run: run.run.id, step: "main", attempt: 1, diagnosis: diagnose("ExitCode", "1") },
    } as const;
    const { data } = withHintFilled(told as never, at === undefined ? [] : [at]);
    t.match(data, { diagnosis: { hint: want } });
  }
});

for (const { name, servedAtMs, want } of [
  { name: "a group that another launcher serves may take it", servedAtMs: 1, want: "placed" },
  { name: "a group that no launcher served for five minutes may not", servedAtMs: 0, want: "noPlace" },
  { name: "a group that no launcher ever served may not", servedAtMs: undefined, want: "noPlace" },
] as const)
  t.test(name, async (t) => {
    const groups = [named("a", { servedAtMs })];
    t.equal(chooseGroup({ wanted: undefined, groups, nowMs: UNSERVED_MS, serves: new Set(), quiet: new Map() }).kind, want);
  });

t.test("a launcher that has a group in its file places there, though the ledger never heard of it", async (t) => {
  const groups = [named("a", { servedAtMs: undefined })];
  t.equal(chooseGroup({ wanted: undefined, groups, nowMs: UNSERVED_MS, ...knows(groups) }).kind, "placed");
});

t.test("whatever the groups are like: it places where it may, or says of each why not", async (t) => {
  const group = fc.record({
    slotsUsed: fc.nat(3),
    paused: fc.boolean(),
    health: fc.constantFrom("unknown", "healthy", "unhealthy"),
    everHealthy: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(group, { maxLength: 5 }), (some) => {
      const groups = some.map((it, at) => named(`g${at}`, it));
      const placed = chooseGroup({ wanted: undefined, groups, nowMs: 0, ...knows(groups) });
      const free = groups.find((it) => it.slotsUsed < it.settings.limits.jobs && !it.paused && it.health !== "unhealthy");
      return placed.kind === "placed"
        ? placed.group === free
        : free === undefined && NO_PLACE.includes(placed.reason) && placed.considered.length === groups.length;
    }),
  );
  t.pass();
});

for (const [pattern, image, allowed] of [
  ["*", "a/b:1", true],
  ["registry.example.com/*", "registry.example.com/shop/a:1", true],
  ["registry.example.com/*", "registry.example.com.evil/shop/a:1", false],
  ["registry.example.com/*:stable", "registry.example.com/a:stable", true],
  ["registry.example.com/*:stable", "registry.example.com/a:1", false],
  ["a*a", "a", false],
  ["*a*b*", "xxaxxbxx", true],
  ["*a*b*c", "abc", true],
  ["*ab*bc", "abc", false],
  ["exact:1", "exact:1", true],
  ["exact:1", "exact:12", false],
] as const)
  t.test(`the image pattern ${pattern} ${allowed ? "allows" : "does not allow"} ${image}`, async (t) => {
    t.equal(notAllowed({ images: [pattern] }, { image }), allowed ? undefined : `the image ${image}`);
  });

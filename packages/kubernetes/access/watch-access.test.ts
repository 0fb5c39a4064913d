/** Watchers are told each group's own watch credential as its files have it now, and nothing else of the groups file. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import t, { type Test } from "tap";
import { stringify } from "yaml";
import { virtualClock } from "../testing/virtual-clock.ts";
import { openWatchAccess, type Unclear } from "./watch-access.ts";

function files(t: Test, all: Readonly<Record<string, string>>) {
  const folder = mkdtempSync(join(tmpdir(), "longshore-access-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  for (const [name, text] of Object.entries(all)) write(name, text);
  return { write, at: (name: string) => join(folder, name) };
}

const TOKENS = { "launch-token": "launching\n", "watch-token": "watching\n" };
const group = { cluster: { server: "https://a:6443" }, launch: { tokenFile: "launch-token" }, watch: { tokenFile: "watch-token" }, namespaces: ["jobs"] }; // biome-ignore format: one value
const groupsOf = (groups: object): string => stringify({ groups });

async function problemsOf(work: () => Promise<unknown>): Promise<string> {
  try {
    const found = await work();
    const all = Array.isArray(found) ? (found as readonly Partial<Unclear>[]) : [];
    return all.flatMap(({ problem }) => (problem === undefined ? [] : [problem])).join("\n");
  } catch (error) {
    if (error instanceof ConfigProblems) return error.problems.join("\n");
    throw error;
  }
}

t.test("each group's address, trust and watch credential, as values; of the launch credential nothing", async (t) => {
  const { at } = files(t, { ...TOKENS, "groups.yaml": groupsOf({ a: group, b: { ...group, namespaces: ["x", "y"] } }) });
  const found = await (await openWatchAccess(at("groups.yaml"), { clock: virtualClock() })).look();
  t.match(found, [
    { name: "a", namespace: "jobs", server: "https://a:6443", authorization: "Bearer watching", trust: { verify: true } },
    { name: "b/x", namespace: "x" },
    { name: "b/y", namespace: "y" },
  ]);
  t.notMatch(JSON.stringify(found), "launching");
});

t.test("how often a group is polled goes with its access; what is too often or too seldom is refused", async (t) => {
  const polled = (poll: string) => groupsOf({ a: { ...group, poll } });
  const { at, write } = files(t, { ...TOKENS, "groups.yaml": polled("10s") });
  const open = () => openWatchAccess(at("groups.yaml"), { clock: virtualClock() });
  t.match(await (await open()).look(), [{ name: "a", pollMs: 10_000 }]);
  write("groups.yaml", groupsOf({ a: { ...group, discover: true } }));
  t.match(await (await open()).look(), [{ name: "a", annotation: "job-assistant=enable" }]);
  for (const discover of [false, { annotation: "job-assistant" }, { annotation: "a=b=c" }]) {
    write("groups.yaml", groupsOf({ a: { ...group, discover } }));
    t.match(await problemsOf(open), /groups\.yaml:\d+: groups\.a\.discover/, JSON.stringify(discover));
  }
  for (const poll of ["500ms", "1m", "often"]) {
    write("groups.yaml", polled(poll));
    t.match(await problemsOf(open), /groups\.yaml:\d+: groups\.a\.poll: /, poll);
  }
  write("groups.yaml", groupsOf({ a: { ...group, watch: undefined, poll: "10s" } }));
  t.match(await problemsOf(open), /needs a watch credential of its own/, "polling is no credential");
});

t.test("a rotated token and an edited file are seen at the next look", async (t) => {
  const clock = virtualClock();
  const { at, write } = files(t, { ...TOKENS, "groups.yaml": groupsOf({ a: group }) });
  const access = await openWatchAccess(at("groups.yaml"), { clock });
  await clock.sleep(5_000);
  write("watch-token", "rotated");
  t.match(await access.look(), [{ authorization: "Bearer rotated" }]);
  write("groups.yaml", groupsOf({ a: { ...group, cluster: { server: "https://b:6443" } }, c: group }));
  t.match(await access.look(), [{ name: "a", server: "https://b:6443" }, { name: "c" }]);
});

t.test("a file that is being replaced is a problem of that look, and not of the next", async (t) => {
  const clock = virtualClock();
  const { at, write } = files(t, { ...TOKENS, "groups.yaml": groupsOf({ a: group }) });
  const access = await openWatchAccess(at("groups.yaml"), { clock });
  rmSync(at("groups.yaml"));
  t.match(await problemsOf(() => access.look()), /cannot be read: it does not exist/);
  write("groups.yaml", groupsOf({ a: group, b: { ...group, watch: { tokenFile: "coming" } } }));
  t.match(await problemsOf(() => access.look()), /groups\.b\.watch\.tokenFile.*coming/);
  write("coming", "there");
  t.equal((await access.look()).length, 2);
});

for (const { name, change, want } of [
  { name: "a group without a watch credential", change: { watch: undefined }, want: /watch: .*credential of its own/ },
  { name: "a watch credential that is empty", change: { watch: {} }, want: /credential of its own/ },
  { name: "the launch credential's file as the watch credential", change: { watch: { tokenFile: "launch-token" } }, want: /it is the launch credential.*rbac/ },
  { name: "a token that does not exist", change: { watch: { tokenFile: "nowhere" } }, want: /nowhere cannot be read/ },
] as const) // biome-ignore format: a table
  t.test(`refuses: ${name}`, async (t) => {
    const { at } = files(t, { ...TOKENS, "groups.yaml": groupsOf({ a: { ...group, ...change } }) });
    t.match(await problemsOf(() => openWatchAccess(at("groups.yaml"), { clock: virtualClock() })), want);
  });

t.test("refuses, also later, when the watch token was overwritten with the launch token", async (t) => {
  const clock = virtualClock();
  const { at, write } = files(t, { ...TOKENS, "groups.yaml": groupsOf({ a: group }) });
  const access = await openWatchAccess(at("groups.yaml"), { clock });
  await clock.sleep(5_000);
  write("watch-token", "launching");
  t.match(await problemsOf(() => access.look()), /it is the launch credential/);
});

t.test("a group that cannot be told now hides no other", async (t) => {
  const clock = virtualClock();
  const { at, write } = files(t, { ...TOKENS, other: "other\n", "groups.yaml": groupsOf({ a: group, b: { ...group, watch: { tokenFile: "other" } } }) }); // biome-ignore format: one value
  const access = await openWatchAccess(at("groups.yaml"), { clock });
  await clock.sleep(5_000);
  write("watch-token", "launching");
  write("other", "rotated");
  t.match(await access.look(), [{ name: "a", problem: /it is the launch credential/ }, { name: "b", authorization: "Bearer rotated" }]); // biome-ignore format: one value
  write("groups.yaml", groupsOf({ a: { ...group, watch: undefined }, c: { ...group, watch: { tokenFile: "other" } } }));
  t.match(await access.look(), [
    { name: "a", problem: /credential of its own/ },
    { name: "c", authorization: "Bearer rotated" },
  ]);
});

t.test("every problem of every group is told at once", async (t) => {
  const { at } = files(t, { ...TOKENS, "groups.yaml": groupsOf({ a: { ...group, watch: undefined }, b: { ...group, watch: { tokenFile: "nowhere" } } }) }); // biome-ignore format: one value
  const problems = await problemsOf(() => openWatchAccess(at("groups.yaml"), { clock: virtualClock() }));
  t.match(problems, /groups\.a/);
  t.match(problems, /groups\.b/);
});

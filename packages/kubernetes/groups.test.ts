/** A groups file as programs get it: every group with all its settings, once for each of its namespaces. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { ConfigProblems } from "@longshore/runtime/config/config.ts";
import t, { type Test } from "tap";
import { stringify } from "yaml";
import { type Groups, readGroups } from "./groups.ts";
import { virtualClock } from "./testing/virtual-clock.ts";

function read(t: Test, group: object): Promise<Groups> {
  const folder = mkdtempSync(join(tmpdir(), "longshore-groups-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, "groups.yaml");
  const reached = { cluster: { server: "https://a:6443" }, launch: { token: "launching" }, namespaces: ["jobs"] };
  writeFileSync(file, stringify({ groups: { prod: { ...reached, ...group } } }));
  return readGroups(file, { credential: "launch", clock: virtualClock() });
}

/** Every setting, each with another value than its default. A setting without a value here does not compile. */
const EVERY: { readonly [K in keyof GroupSettings]-?: Required<GroupSettings[K]> } = {
  limits: { jobs: 7, createsPerSecond: 2, storage: "2Ti" },
  embedded: true,
  hold: false,
  policy: {
    images: ["registry.example.com/*"],
    secrets: ["app-*"],
    serviceAccounts: ["workflow"],
    tokens: true,
    secretValues: true,
    claims: ["shared-*"],
    storageClasses: ["fast"],
    podSecurity: "restricted",
  },
  discover: { annotation: "example.org/people=may" },
};

t.test("every setting of a group reaches the program, for each of its namespaces", async (t) => {
  await using groups = await read(t, { ...EVERY, namespaces: ["x", "y"] });
  t.same(
    groups.clusters.map(({ name, namespace, settings }) => ({ name, namespace, settings })),
    ["x", "y"].map((namespace) => ({ name: `prod/${namespace}`, namespace, settings: EVERY })),
  );
});

t.test("a group that says nothing of them has the defaults", async (t) => {
  await using groups = await read(t, {});
  t.same(
    groups.clusters.map(({ settings }) => settings),
    [GroupSettings.parse({})],
  );
});

t.test("a setting that there is none of is refused, wherever it stands", async (t) => {
  for (const wrong of [{ jobs: 7 }, { limits: { job: 7 } }, { policy: { image: ["a"] } }])
    await t.rejects(read(t, wrong), ConfigProblems, JSON.stringify(wrong));
});

t.test("a token file that is empty is told with its line, its path and the command that fills it", async (t) => {
  const tokenFile = join(mkdtempSync(join(tmpdir(), "longshore-token-")), "prod-launch");
  t.teardown(() => rmSync(dirname(tokenFile), { recursive: true }));
  writeFileSync(tokenFile, "\n");
  const want = `groups.prod.launch.tokenFile: The file ${tokenFile} is empty. Write a token into it: kubectl -n jobs create token longshore-launcher --duration 24h > ${tokenFile}.new && mv ${tokenFile}.new ${tokenFile}`;
  const error: unknown = await read(t, { launch: { tokenFile } }).then(
    () => undefined,
    (error: unknown) => error,
  );
  t.match(error, { problems: [/groups\.yaml:6: /] });
  t.match(error, { problems: [want] });
});

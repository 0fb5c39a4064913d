/**
 * `longshore doctor` while its programs are not there or not well: before the first start, without a launcher, and with a group
 * whose file became empty.
 *
 * The failures this prevents: a page that blames a watcher because nobody writes down what it reports, and one that ends at the
 * first group that cannot be opened.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { openBroker } from "@longshore/broker/brokers.ts";
import { doctor } from "@longshore/cli/commands/doctor.ts";
import { INSTALLATION, writeConfig } from "@longshore/cli/embedded/home.ts";
import { GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName, Installation } from "@longshore/contract/ids.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog as log } from "@longshore/runtime/log.ts";
import t from "tap";
import { stringify } from "yaml";
import { emptyFolder } from "../harness/longshore.ts";
import { postgres } from "../harness/servers/postgres.ts";

t.setTimeout(0); // each wait of the harness has its own bound

const signal = new AbortController().signal;
const installation = Installation.parse(INSTALLATION);
const name = GroupName.parse("prod");
await using folder = await emptyFolder();
await using server = await postgres();
const { url } = server;
const cluster = { server: "https://127.0.0.1:1" };
const files = await writeConfig({
  home: folder.path,
  brokerUrl: url,
  ledgerUrl: url,
  cluster: { name, namespace: "jobs", cluster },
});

async function page(): Promise<string> {
  let page = "";
  await doctor.run(["--config", files.launcher], {
    out: (text) => void (page += text),
    env: {},
    cwd: folder.path,
    signal,
  });
  return page;
}

await t.test("a database without a ledger is new, and not broken", async (t) => {
  t.match(await page(), /^ledger +WARN +The database is new: .*first start of a launcher/m);
});

const jobName = (): never => {
  throw new Error("no attempt begins here");
};
await using ledger = await openLedger({ url, installation, jobName, migrate: true, log });
await using _broker = await openBroker({ url, log, clock });
await ledger.putGroups([{ name, namespace: "jobs", settings: GroupSettings.parse({}) }]);
await ledger.setGroup(name, { served: true, watchedAtMs: (await ledger.now()) - 600_000 });

await t.test("without a launcher, that is what fails, and no watcher is blamed", async (t) => {
  const said = await page();
  t.match(said, /^launcher +FAIL +no launcher runs with this ledger: nobody takes commands and facts/m);
  t.match(said, /^prod +ok +watched 10 m 0 s ago, as far as a launcher heard/m);
  t.notMatch(said, /Unwatched/);
});

await t.test("beside a launcher, a group that nobody watches is told of", async (t) => {
  await ledger.leasePartitions("launcher", 600_000);
  const said = await page();
  t.notMatch(said, /no launcher runs/);
  t.match(said, /^prod +WARN +Unwatched: watched 10 m/m);
});

await t.test("a group whose token file is empty is a line, and the others are asked", async (t) => {
  const tokenFile = join(folder.path, "prod-launch");
  await writeFile(tokenFile, "");
  const group = { cluster, watch: { token: "watching" }, namespaces: ["jobs"] };
  const other = { ...group, launch: { token: "launching" } };
  await writeFile(files.groups, stringify({ groups: { prod: { ...group, launch: { tokenFile } }, other } }));
  const said = await page();
  t.match(
    said,
    /FAIL +launcher: \S+groups\.yaml:\d+: groups\.prod\.launch\.tokenFile: The file \S+prod-launch is empty\. .*kubectl -n jobs/,
  );
  t.match(said, /^other +FAIL +launcher: network: /m);
  t.match(said, /FAIL +watcher: network: /);
  t.match(said, /\d+ failures/);
});

await t.test("a groups file that cannot be read is a line", async (t) => {
  await writeFile(files.groups, "groups: [");
  t.match(await page(), /^groups +FAIL +\S+groups\.yaml:1:\d+: not YAML/m);
});

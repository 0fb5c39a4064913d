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
import { doctor } from "@longshore/cli/commands/doctor/doctor.ts";
import { group } from "@longshore/cli/commands/group/group.ts";
import { INSTALLATION, writeConfig } from "@longshore/cli/embedded/home.ts";
import { diagnose } from "@longshore/contract/messages/diagnosis.ts";
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

async function said(command: Pick<typeof doctor, "run">, ...args: readonly string[]): Promise<string> {
  let page = "";
  await command.run([...args, "--config", files.launcher], {
    out: (text) => void (page += text),
    env: {},
    cwd: folder.path,
    signal,
  });
  return page;
}
const page = (): Promise<string> => said(doctor);

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
  const told = await page();
  t.match(told, /^launcher +FAIL +no launcher runs with this ledger: nobody takes commands and facts/m);
  t.match(told, /^prod +ok +watched 10 m \d+ s ago, as far as a launcher heard/m);
  t.notMatch(told, /Unwatched/);
});

await t.test("the list of groups says so, too, and calls no group healthy or unwatched", async (t) => {
  await ledger.setGroup(name, { health: "healthy" });
  const list = await said(group, "list");
  t.match(list, /^UNSERVED +prod/m);
  t.match(list, /no launcher runs with this ledger.*\n.*start one: npm run launcher -- --config \S+launcher\.yaml/);
  t.notMatch(list, /HEALTHY|UNWATCHED|watcher/);
});

await t.test("a command that is printed names the same --config", async (t) => {
  t.match(await said(group, "drain", "prod"), `longshore group resume prod --config ${files.launcher}`);
  t.match(await said(group, "resume", "prod"), "prod takes runs again");
});

await t.test("beside a launcher, a group that nobody watches is told of", async (t) => {
  await ledger.leasePartitions("launcher", 600_000);
  const hint = "Renew it; `longshore doctor` tests it.";
  await ledger.setGroup(name, { health: "unhealthy", diagnosis: { ...diagnose("AuthRejected", "It is refused."), hint } });
  t.match((await said(group, "list")).replaceAll(/\s+/g, " "), `\`longshore doctor --config ${files.launcher}\` tests it`);
  const told = await page();
  t.notMatch(told, /no launcher runs/);
  t.match(told, /^prod +WARN +Unwatched: watched 10 m/m);
});

await t.test("a key file that is not the one of the ledger is told", async (t) => {
  await using _marked = await openLedger({ url, installation, keyMark: "the first launcher's", jobName, migrate: true, log });
  t.match(await page(), /FAIL +This ledger was made with another key than the one in ledger\.keyFile/);
});

await t.test("a group whose token file is empty is a line, and the others are asked", async (t) => {
  const tokenFile = join(folder.path, "prod-launch");
  await writeFile(tokenFile, "");
  const group = { cluster, watch: { token: "watching" }, namespaces: ["jobs"] };
  const other = { ...group, launch: { token: "launching" } };
  await writeFile(files.groups, stringify({ groups: { prod: { ...group, launch: { tokenFile } }, other } }));
  const told = await page();
  t.match(
    told,
    /FAIL +launcher: \S+groups\.yaml:\d+: groups\.prod\.launch\.tokenFile: The file \S+prod-launch is empty\. .*kubectl -n jobs/,
  );
  t.match(told, /^other +FAIL +launcher: network: /m);
  t.match(told, /FAIL +watcher: network: /);
  t.match(told, /\d+ failures/);
});

await t.test(
  "as the watcher it asks with the watcher's file alone: its broker, and the groups with its credential",
  async (t) => {
    let told = "";
    const asking = { out: (text: string) => void (told += text), env: {}, cwd: folder.path, signal };
    t.equal(await doctor.run(["--watcher", "--config", files.watcher], asking), 1);
    t.match(told, /^broker +ok +PostgreSQL .* user /m);
    t.match(told, /^prod +FAIL +watcher: network: /m);
    t.match(told, /^other +FAIL +watcher: network: /m);
    t.notMatch(told, /^ledger|launcher:|--config/m);
    await t.rejects(doctor.run(["--watcher", "--config", files.launcher], asking), { message: /ledger/ });
    await t.rejects(doctor.run(["--watcher"], asking), { message: /no Longshore was started from this folder/ });
  },
);

await t.test("a watcher that learns its groups is told the key that a launcher has to have", async (t) => {
  const key = join(folder.path, "seal-key");
  await writeFile(key, "k".repeat(64));
  const file = join(folder.path, "learning.yaml");
  const broker = { urlFile: join(folder.path, "broker-url") };
  await writeFile(file, stringify({ installation, broker, sealKeyFile: key }));
  let told = "";
  const asking = { out: (text: string) => void (told += text), env: {}, cwd: folder.path, signal };
  t.equal(await doctor.run(["--watcher", "--config", file], asking), 0);
  t.match(told, /^groups +ok +launchers announce them; .* sealed with\s+the\s+key\s+\S+/m);
});

await t.test("a groups file that cannot be read is a line", async (t) => {
  await writeFile(files.groups, "groups: [");
  t.match(await page(), /^groups +FAIL +\S+groups\.yaml:1:\d+: not YAML/m);
});

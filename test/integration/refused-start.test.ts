/**
 * Launcher and watcher where a person has to mend something first.
 *
 * The failure this prevents: a stack trace and the exit code of a bug, although only a setting was wrong.
 */
// runs at most 1 min
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import t from "tap";
import { emptyFolder, longshoreUp } from "../harness/longshore.ts";
import { program } from "../harness/servers/program.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using folder = await emptyFolder();
await using _up = await longshoreUp(folder.path);

const config = (file: string): string => path.join(folder.path, ".longshore", file);
const { LONGSHORE_CONFIG: _, ...env } = process.env;

for (const { name, service, setting, code } of [
  {
    name: "a ledger of another installation",
    service: "launcher",
    setting: { LONGSHORE_INSTALLATION: "other" },
    code: "LedgerOfAnother",
  },
  {
    name: "a ledger of another key",
    service: "launcher",
    setting: { LONGSHORE_LEDGER_KEY_FILE: config("other-key") },
    code: "LedgerOfAnotherKey",
  },
  {
    name: "a broker that does not let it in",
    service: "watcher",
    setting: { LONGSHORE_BROKER_URL_FILE: config("wrong") },
    code: /\w+/,
  },
]) {
  await t.test(`${name}: one line, and exit 1`, async (t) => {
    const url = await readFile(config("broker-url"), "utf8");
    await writeFile(config("wrong"), url.replace(/:[^:@]*@/, ":wrong@"));
    await writeFile(config("other-key"), "x".repeat(48), { mode: 0o600 });
    const main = path.resolve(import.meta.dirname, `../../services/${service}/main.ts`);
    await using running = program(process.execPath, [main, "--config", config(`${service}.yaml`)], {
      cwd: folder.path,
      env: { ...env, ...setting },
    });
    const { code: exit, err } = await running.ended;
    t.equal(exit, 1);
    t.equal(err.trimEnd().split("\n").length, 1, err);
    t.match(JSON.parse(err), { level: "error", name: service, code, error: /^[A-Z].*\.$/, stack: undefined });
  });
}

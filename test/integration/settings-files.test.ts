/**
 * Starts the programs with the files of config/ as they are, by the commands in README.md and in the files, without containers.
 * Only the servers' addresses are the test's own.
 *
 * The failure this prevents: example settings with a container's paths and hosts, which fail at the first start on a machine.
 */
import { execFile } from "node:child_process";
import { cp, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { startChild } from "@longshore/cli/embedded/child.ts";
import { withoutSettings } from "@longshore/runtime/config/config.ts";
import t from "tap";
import { z } from "zod";
import { emptyFolder } from "../harness/longshore.ts";
import { postgres } from "../harness/servers/postgres.ts";

t.setTimeout(0); // each wait has its own bound

const root = resolve(import.meta.dirname, "../..");
const PAGES = { launcher: "config/launcher.yaml", watcher: "config/watcher.yaml", recorder: "config/recorder.yaml" };

t.test(
  "`npm run launcher`, `npm run watcher` and `npm run recorder` are the programs, and the pages name these commands",
  async (t) => {
    const { scripts } = z
      .object({ scripts: z.record(z.string(), z.string()) })
      .parse(JSON.parse(await readFile(join(root, "package.json"), "utf8")));
    for (const [name, file] of Object.entries(PAGES)) {
      t.equal(scripts[name], `exec node services/longshore/bootstrap.mjs services/${name}/main.ts`);
      for (const page of [file, "deploy/README.md"])
        t.match(await readFile(join(root, page), "utf8"), `npm run ${name} -- --config ${file}`, page);
      const { stdout } = await promisify(execFile)(process.execPath, [join(root, `services/${name}/main.ts`), "--help"]);
      t.match(stdout, `npm run ${name} -- --config ${file}`, "so does --help");
      t.match(stdout, /\n {2}http\.listen {2}LONGSHORE_HTTP_LISTEN\n {6}text; default 127\.0\.0\.1:909\d\n/);
    }
  },
);

t.test("the programs are ready with the files of config/ and a key, and doctor finds them from any folder", async (t) => {
  await using server = await postgres();
  await using folder = await emptyFolder();
  await cp(join(root, "config"), join(folder.path, "config"), { recursive: true, filter: (from) => !from.endsWith("/secrets") });
  // The command that makes the key is at the top of the launcher's file.
  const [, makeKey = ""] = /^# +(mkdir .*ledger-key)$/m.exec(await readFile(join(root, "config/launcher.yaml"), "utf8")) ?? [];
  await promisify(execFile)("sh", ["-c", makeKey], { cwd: folder.path });
  const { username, password } = new URL(server.url);
  const env = {
    ...withoutSettings(process.env),
    LONGSHORE_BROKER_URL: await server.database(),
    LONGSHORE_BROKER_USER: decodeURIComponent(username),
    LONGSHORE_BROKER_PASSWORD: decodeURIComponent(password) || "none",
    LONGSHORE_HTTP_LISTEN: "127.0.0.1:0", // other tests listen on this machine, too
  };
  const withLedger = { ...env, LONGSHORE_LEDGER_URL: await server.database() };
  await using launcher = await startChild("launcher", { config: join(folder.path, PAGES.launcher), env: withLedger });
  await using watcher = await startChild("watcher", { config: join(folder.path, PAGES.watcher), env });
  const {
    LONGSHORE_BROKER_URL: _url,
    LONGSHORE_BROKER_USER: _user,
    LONGSHORE_BROKER_PASSWORD: _password,
    ...ofLedger
  } = withLedger;
  await using recorder = await startChild("recorder", { config: join(folder.path, PAGES.recorder), env: ofLedger });

  // npm starts doctor in the checkout's folder; INIT_CWD is the person's folder.
  const byNpm = { ...withLedger, INIT_CWD: join(folder.path, "config"), npm_package_json: join(root, "package.json") };
  const doctor = [join(root, "services/longshore/main.ts"), "doctor", "--config", "launcher.yaml"];
  const { stdout } = await promisify(execFile)(process.execPath, doctor, { cwd: root, env: byNpm });
  t.match(stdout, /^broker +ok /m);
  t.match(stdout, /^ledger +ok /m);

  for (const child of [launcher, watcher, recorder]) {
    await child.stop();
    t.equal(await child.ended, 0, child.said.join("\n"));
  }
});

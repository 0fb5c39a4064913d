/** The bootstrap in a small checkout of its own, with the real npm: installs that are cut off, and those of a person. */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { identityOf, isAlive } from "@longshore/runtime/birth.ts";
import t, { type Test } from "tap";

const NEEDED = "packages/inner/node_modules/dep/needed.cjs";
const HANGING = `
const { existsSync, writeFileSync } = require("node:fs");
if (existsSync(process.env.FAILS)) process.exit(1);
if (existsSync(process.env.HANGS)) {
  writeFileSync(process.env.HANGS, String(process.pid));
  setInterval(() => undefined, 1000);
}`;

/** A checkout whose one dependency is a file, so that npm needs no registry. While the file `hangs` or `fails` exists, an install does. */
async function checkout(t: Test) {
  const folder = await mkdtemp(join(tmpdir(), "longshore-bootstrap-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const write = (path: string, content: string | object) => {
    const file = join(folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
    return file;
  };
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    HANGS: join(folder, "hangs"),
    FAILS: join(folder, "fails"),
    npm_config_offline: "true",
    npm_config_install_strategy: "nested",
  };
  const npm = (...args: string[]) => spawnSync("npm", args, { cwd: folder, env, encoding: "utf8" });
  write("dep/package.json", { name: "dep", version: "1.0.0", scripts: { install: "node hang.cjs" } });
  write("dep/hang.cjs", HANGING);
  write("dep/needed.cjs", "");
  t.equal(npm("pack", "./dep").status, 0);
  write("package.json", { name: "root", private: true, workspaces: ["packages/*"] });
  write("packages/inner/package.json", { name: "inner", version: "1.0.0", dependencies: { dep: "file:../../dep-1.0.0.tgz" } });
  const locked = npm("install", "--package-lock-only");
  t.equal(locked.status, 0, locked.stderr);
  write("services/longshore/program.mjs", `import "../../${NEEDED}"; console.log("it runs");`);
  cpSync(join(import.meta.dirname, "bootstrap.mjs"), join(folder, "services/longshore/bootstrap.mjs"));

  const start = (more: Readonly<Record<string, string>> = {}, ...words: readonly string[]) => {
    const args = [...["bootstrap.mjs", "program.mjs"].map((it) => join(folder, "services/longshore", it)), ...words];
    const child = spawn(process.execPath, args, { cwd: folder, env: { ...env, ...more }, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    for (const it of [child.stdout, child.stderr]) it.setEncoding("utf8").on("data", (text: string) => (said += text));
    return { child, said: () => said, ended: once(child, "close").then(([code]: unknown[]) => ({ code, said })) };
  };
  return { folder, write, npm, start, at: (path: string) => join(folder, path) };
}

t.test("Ctrl-C during an install ends npm with all that it started, and the next start installs anew", async (t) => {
  const { write, start, at } = await checkout(t);
  write("hangs", "");
  const { child, ended } = start();
  const scriptPid = () => Number(readFileSync(at("hangs"), "utf8"));
  while (child.exitCode === null && scriptPid() === 0) await new Promise((done) => setTimeout(done, 20));
  const script = identityOf(scriptPid());
  child.kill("SIGINT");
  child.kill("SIGINT"); // npm passes the terminal's signal on
  t.match(await ended, { code: 130, said: /^getting .*\nstopped {2}dependencies .*; the next start begins anew\n$/ });
  t.ok(script !== undefined && !isAlive(script));

  rmSync(at("hangs"));
  t.match(await start().ended, { code: 0, said: /got .*it runs\n$/s });
});

t.test("packages that a cut-off install left half unpacked are installed anew", async (t) => {
  const { start, at, npm } = await checkout(t);
  t.match(await start().ended, { code: 0, said: "it runs" });
  const whole = readFileSync(at("node_modules/.longshore-lock"), "utf8");
  for (const cutOff of ["by our mark", "by npm's own file, which is missing"]) {
    rmSync(at(NEEDED));
    if (cutOff === "by our mark") writeFileSync(at("node_modules/.longshore-lock"), "an install began here, and has not ended");
    else for (const it of [".longshore-lock", ".package-lock.json"]) rmSync(at(`node_modules/${it}`));
    t.match(await start().ended, { code: 0, said: /^getting .*it runs\n$/s }, cutOff);
    t.equal(readFileSync(at("node_modules/.longshore-lock"), "utf8"), whole);
  }
  t.equal(npm("ls").status, 0);
});

t.test("an install that fails is begun anew by the next start, and Ctrl-C before the program begins is answered", async (t) => {
  const { write, start, at } = await checkout(t);
  write("fails", "");
  t.match(await start().ended, { code: 1, said: /failed {3}dependencies/ });
  rmSync(at("fails"));
  t.match(await start().ended, { code: 0, said: "it runs" });
  write("services/longshore/program.mjs", 'process.kill(process.pid, "SIGINT"); setInterval(() => undefined, 1000);');
  t.match(await start().ended, { code: 130, said: /^stopped\n$/ });
  t.match(await start({}, "runs", "cancel", "a").ended, { code: 130, said: /^stopped: nothing was sent\n$/ });
});

t.test("what a person installed with npm ci is taken as it is, as long as the lockfile asks for no other", async (t) => {
  const { npm, start, write, at } = await checkout(t);
  t.equal(npm("ci").status, 0);
  t.match(await start().ended, { code: 0, said: /^it runs\n$/ });

  const lock = readFileSync(at("package-lock.json"), "utf8");
  write("package-lock.json", `${lock}\n`);
  t.match(await start().ended, { code: 0, said: /^it runs\n$/ });
  t.ok(existsSync(at(NEEDED)));
});

t.test("a program ends with the command that started it, also if that is killed", async (t) => {
  const { start, write } = await checkout(t);
  write("services/longshore/program.mjs", "console.log(`pid ${process.pid}`); setInterval(() => undefined, 1000);");
  const { child, said } = start();
  while (child.exitCode === null && !said().includes("pid")) await new Promise((done) => setTimeout(done, 20));
  const program = identityOf(Number(/pid (\d+)/.exec(said())?.[1]));
  child.kill("SIGKILL");
  t.ok(program !== undefined && program.pid !== child.pid);
  while (program !== undefined && isAlive(program)) await new Promise((done) => setTimeout(done, 20));
});

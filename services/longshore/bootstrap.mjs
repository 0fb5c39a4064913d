/**
 * Makes two commands work on a machine that has only Node 20 and npm: gets Node 24 from the npm registry, installs the
 * dependencies that package-lock.json names, then runs the named TypeScript program under that Node.
 *
 * The bugs this prevents: half a download that is taken for a whole one (a download gets its name when it is complete, and a
 * stamp tells dependencies whose install was cut off); and dependencies older than the checkout (the stamp of a whole install is
 * the lockfile's digest). Plain JavaScript with no imports of ours, since nothing is installed when this file starts.
 */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const NODE = "24.21.0";
/** The stamp of an install that has begun. */
const CUT_OFF = "an install began here, and has not ended";
/** A second signal within this time comes from the same press of Ctrl-C: npm passes the signal on, too. */
const SAME_PRESS_MS = 500;
/** Words of commands that send something. */
const SENDS = ["publish", "cancel", "restart", "free", "abandon"];
/** The program ends with us, also if we are killed: else it would go on, and the next start would find its port taken. */
const ENDS_WITH_US = `data:text/javascript,${encodeURIComponent(
  'process.once("disconnect", () => process.kill(process.pid, "SIGKILL")); process.channel?.unref();',
)}`;
const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const cache = join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "longshore");

const node = Number.parseInt(process.versions.node, 10) >= 24 ? process.execPath : await node24();
await dependencies();
await become(node, process.argv.slice(2));

async function node24() {
  const home = join(cache, `node-${NODE}`);
  const binary = join(home, "bin", "node");
  if (existsSync(binary)) return binary;

  const platform = `node-${process.platform}-${process.arch}`;
  await step(`Node ${NODE} for this project, about 190 MB (the machine has ${process.versions.node})`, async () => {
    mkdirSync(cache, { recursive: true });
    const beside = mkdtempSync(join(cache, "node-"));
    try {
      writeFileSync(join(beside, "package.json"), "{}");
      await run(
        "npm",
        [
          "install",
          "--ignore-scripts",
          "--no-audit",
          "--no-fund",
          "--no-update-notifier",
          "--no-package-lock",
          `${platform}@${NODE}`,
        ],
        beside,
      );
      try {
        renameSync(join(beside, "node_modules", platform), home);
      } catch (error) {
        if (!existsSync(binary)) throw error; // else another process was faster, and its copy is as good
      }
    } finally {
      rmSync(beside, { recursive: true, force: true });
    }
  });
  return binary;
}

async function dependencies() {
  const folder = join(root, "node_modules");
  const stamp = join(folder, ".longshore-lock");
  const lockText = readFileSync(join(root, "package-lock.json"), "utf8");
  const digest = createHash("sha256").update(lockText).digest("hex");
  const stamped = textOf(stamp);
  if (stamped === digest) return;
  const lock = JSON.parse(lockText).packages;
  if (stamped === CUT_OFF || textOf(npmsOwn(folder)) === undefined) removeInstalled(lock);
  else if (isInstalled(lock, folder)) return writeFileSync(stamp, digest); // a person's own `npm ci`

  mkdirSync(folder, { recursive: true });
  writeFileSync(stamp, CUT_OFF);
  // Not `npm ci`: it refuses a lockfile that lacks other platforms' optional binaries, and a mirror may lack those.
  // `install --no-save` takes the same versions and integrity hashes from the lockfile and leaves that file alone.
  await step("dependencies (npm install), about 550 MB on disk", () =>
    run("npm", ["install", "--no-save", "--no-audit", "--no-fund", "--no-update-notifier"], root),
  );
  writeFileSync(stamp, digest);
}

/** npm writes this file at the end of a whole install. */
function npmsOwn(folder) {
  return join(folder, ".package-lock.json");
}

function isInstalled(lock, folder) {
  const { packages: installed } = JSON.parse(textOf(npmsOwn(folder)));
  return Object.entries(lock).every(
    ([path, { version, optional }]) => path === "" || optional || installed[path]?.version === version,
  );
}

/** npm takes a package that is half unpacked for a whole one, so an install over half of one mends nothing. */
function removeInstalled(lock) {
  const folders = Object.keys(lock).flatMap((path) => /^(?:.*?\/)?node_modules(?=\/)/.exec(path) ?? []);
  for (const it of new Set(folders)) rmSync(join(root, it), { recursive: true, force: true });
}

function textOf(file) {
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

/** Runs the program in this process's place: same terminal, same signals, same exit, same end. */
async function become(binary, args) {
  const child = spawn(binary, ["--import", ENDS_WITH_US, ...args], {
    cwd: process.cwd(),
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...process.env, PATH: dirname(binary) + delimiter + process.env.PATH },
  });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => {
    // A program that has begun ends in order, with words of its own.
    if (signal === "SIGINT")
      process.stderr.write(args.some((it) => SENDS.includes(it)) ? "stopped: nothing was sent\n" : "stopped\n");
    process.exit(code ?? (signal === "SIGINT" ? 130 : 143));
  });
}

async function step(what, work) {
  const began = Date.now();
  const seconds = () => `${((Date.now() - began) / 1000).toFixed(0)} s`;
  process.stderr.write(`getting  ${what} …\n`);
  // A line that counts, in a terminal; elsewhere each line would stay.
  const counts = process.stderr.isTTY === true;
  const line = () => `         still at it, ${seconds()}; a first install takes some minutes`;
  const ticking = setInterval(() => process.stderr.write(counts ? `\r${line()}` : `${line()}\n`), counts ? 1_000 : 60_000);
  const clear = () => counts && process.stderr.write(`\r${" ".repeat(line().length)}\r`);
  try {
    await work();
  } catch (error) {
    clear();
    if (error.exitCode !== undefined) {
      process.stderr.write(`stopped  ${what}; the next start begins anew\n`);
      process.exit(error.exitCode);
    }
    process.stderr.write(
      `failed   ${what}\n${error.message}\nThis needs the npm registry: \`npm ping\` says whether it can be reached. Then run the same command again.\n`,
    );
    process.exit(1);
  } finally {
    clearInterval(ticking);
  }
  clear();
  process.stderr.write(`got      ${what} in ${seconds()}\n`);
}

/**
 * Hides the command's output; if the command fails, its output is the error. A signal ends the command with all that it started,
 * and a second one ends them at once. They run in a group of their own, since Ctrl-C would reach npm from two sides.
 */
function run(command, args, cwd) {
  return new Promise((done, fail) => {
    const said = [];
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"], detached: true });
    let stopped;
    const stop = (signal) => {
      if (stopped !== undefined && Date.now() - stopped.at < SAME_PRESS_MS) return;
      endGroup(child, stopped === undefined ? "SIGTERM" : "SIGKILL");
      stopped ??= { signal, at: Date.now() };
    };
    const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
    for (const it of signals) process.on(it, stop);
    child.stdout.on("data", (chunk) => said.push(chunk));
    child.stderr.on("data", (chunk) => said.push(chunk));
    child.on("error", fail);
    child.on("exit", (code) => {
      for (const it of signals) process.removeListener(it, stop);
      if (stopped !== undefined) {
        endGroup(child, "SIGKILL"); // whatever npm left running
        fail(Object.assign(new Error(stopped.signal), { exitCode: stopped.signal === "SIGINT" ? 130 : 143 }));
      } else if (code === 0) done();
      else fail(new Error(`${ending(said)}\n${command} ${args.join(" ")} ended with ${code}`));
    });
  });
}

function endGroup({ pid }, signal) {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error; // it has ended
  }
}

/** Returns the last lines of npm's output, without its warnings about versions of Node. */
function ending(chunks) {
  const lines = Buffer.concat(chunks)
    .toString()
    .split("\n")
    .filter((line) => line !== "" && !line.includes("EBADENGINE"));
  return lines.slice(-15).join("\n");
}

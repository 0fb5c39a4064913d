/**
 * Things that tests need and no package manager has: made once, kept outside the checkout, shared by all checkouts.
 *
 * The failures this prevents: a half-made folder after a build was killed (a folder is made under another name, then renamed),
 * two builds of the same thing at once (one holds the lock, the others wait for it), and four silent minutes that look like a
 * hang.
 */
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { leash } from "@longshore/ledger/embedded-postgres.ts";

export type Say = (sentence: string) => void;
export const toStderr: Say = (sentence) => void process.stderr.write(`${sentence}\n`);

const TICK_MS = 15_000;
const KEPT_LINES = 60;

export const cacheFolder = (): string => path.join(process.env["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache"), "longshore");

/** Returns the folder of that name in the cache. If there is none, `make` fills a temporary folder first. */
export async function cached(name: string, make: (folder: string) => Promise<void>, say: Say = toStderr): Promise<string> {
  const folder = path.join(cacheFolder(), name);
  if (await exists(folder)) return folder;
  await fs.mkdir(cacheFolder(), { recursive: true });
  await using _lock = await lock(path.join(cacheFolder(), `${name}.lock`), () => say(`${name}: somebody else makes it; waiting`));
  if (await exists(folder)) return folder;
  // Removes files of one file system only: if the making of a system tree was killed, /proc and /dev may still be mounted in
  // it.
  for (const left of await fs.readdir(cacheFolder()))
    if (left.startsWith(`${name}.making-`)) await run("rm", ["-rf", "--one-file-system", path.join(cacheFolder(), left)]);
  const making = `${folder}.making-${randomUUID()}`;
  await fs.mkdir(making);
  await make(making);
  await fs.rename(making, folder);
  return folder;
}

/** Takes the lock in a process that waits on a pipe of ours, so that the lock is free when we end, even by a kill. */
async function lock(file: string, onWait: () => void): Promise<AsyncDisposable> {
  const holder = spawn("flock", [file, "sh", "-c", "echo held; cat"], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  const gone = once(holder, "exit");
  const waiting = setTimeout(onWait, 2_000);
  const held = once(createInterface({ input: holder.stdout }), "line");
  await Promise.race([held, gone.then(() => Promise.reject(new Error(`flock could not take ${file}`)))]);
  clearTimeout(waiting);
  return {
    async [Symbol.asyncDispose]() {
      holder.stdin.end();
      await gone;
    },
  };
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** The name of the work, for the lines that say how long it has taken so far. */
  readonly what?: string;
  readonly say?: Say;
  readonly minutesMost?: number;
}

/** Runs a program to its end, and says every few seconds that it still runs. Throws its last lines if it fails. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { cwd, env = {}, what = program, say = toStderr, minutesMost = 20 } = options;
  const began = performance.now();
  const took = (): string => `${Math.round((performance.now() - began) / 1000)} s`;
  const child = spawn(program, args, {
    ...(cwd !== undefined && { cwd }),
    env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: minutesMost * 60_000,
    detached: true,
  });
  const leashed = child.pid === undefined ? undefined : leash(-child.pid, "KILL");
  const ticking = setInterval(() => say(`  … ${what}: ${took()}`), TICK_MS);
  const said: string[] = [];
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr
    .setEncoding("utf8")
    .on("data", (text: string) => said.splice(0, said.push(...text.trimEnd().split("\n")) - KEPT_LINES));
  try {
    const [code] = await once(child, "close");
    if (code !== 0) throw new Error(`${what}: ${program} ended with ${String(code)}:\n${said.join("\n")}`);
    return out;
  } finally {
    clearInterval(ticking);
    leashed?.release();
  }
}

export async function exists(file: string): Promise<boolean> {
  return await fs.access(file).then(
    () => true,
    () => false,
  );
}

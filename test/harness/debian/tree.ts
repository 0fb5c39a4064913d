/**
 * A small Debian tree of its own in the cache, which mmdebstrap makes once, and processes in it.
 *
 * The failures this prevents: a package installed on the developer's machine for a test's sake, a half-made tree after a build was
 * killed, and mounts that stay in the cache.
 */
import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs/promises";
import path from "node:path";
import { cached, cacheFolder, exists, run, type Say } from "../builds/cached.ts";

export interface DebianTree {
  /** The program's name and version, for the folder's name. */
  readonly name: string;
  readonly suite: "bookworm" | "trixie";
  readonly packages: readonly string[];
  /** The program as sentences call it. */
  readonly what: string;
  /** What the making costs, for somebody who waits for it. */
  readonly costs: string;
  /** What a person can do who is not root on Debian. */
  readonly otherwise: string;
}

const BUILD_MINUTES_MAX = 15;
const UNREAD = ["var/cache/apt", "usr/share/doc", "usr/share/man", "usr/share/locale"];

/** Returns the tree's folder. If several processes ask at once, one builds and the others wait for it. */
export const debianTree = async (wanted: DebianTree, say: Say): Promise<string> =>
  await cached(`${wanted.name}-${wanted.suite}`, (making) => build(wanted, making, say), say);

async function build({ suite, packages, what, costs, otherwise }: DebianTree, making: string, say: Say): Promise<void> {
  if (process.getuid?.() !== 0 || !(await exists("/usr/bin/apt-get"))) {
    throw new Error(`${what} for the tests is not in ${cacheFolder()}, and only root on Debian can make it: ${otherwise}.`);
  }
  say(`${what}: making a Debian ${suite} tree (${costs}, once)`);
  const tree = { say, minutesMost: BUILD_MINUTES_MAX, what };
  if (!(await exists("/usr/bin/mmdebstrap"))) {
    say("installing mmdebstrap");
    const install = ["install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120", "mmdebstrap"];
    await run("apt-get", install, tree).catch(async () => {
      await run("apt-get", ["update", "-q"], tree);
      await run("apt-get", install, tree);
    });
  }
  await run("mmdebstrap", ["--quiet", "--variant=minbase", `--include=${packages.join(",")}`, suite, making], tree);
  for (const unread of UNREAD) await fs.rm(path.join(making, unread), { recursive: true, force: true });
  await fs.writeFile(path.join(making, "etc/hosts"), "127.0.0.1 localhost\n"); // else no program finds the host "localhost"
  say(`${what} is ready`);
}

export interface Inside {
  readonly root: string;
  /** A folder of this machine that the processes see at `at`. */
  readonly data: string;
  readonly at: string;
  readonly owner: { readonly uid: number; readonly gid: number };
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Runs a script in mounts of its own, which end with the process: nothing stays mounted in the cache. The script and all that it
 * starts are one process group.
 */
export function inside({ root, data, at, owner, env }: Inside, script: string, args: readonly string[] = []): ChildProcess {
  const enter = [
    `mount --rbind /dev "${root}/dev"`,
    `mount -t proc proc "${root}/proc"`,
    `mount --bind "${data}" "${root}${at}"`,
    `exec chroot --userspec=${owner.uid}:${owner.gid} --groups=${owner.gid} "${root}" /bin/sh -c "$0" sh "$@"`,
  ].join(" && ");
  return spawn("unshare", ["--mount", "--propagation", "private", "sh", "-c", enter, script, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env,
    detached: true,
  });
}

/** Returns a function that tells the end of what a program printed. */
export function lastWords(child: ChildProcess): () => string {
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
  }
  return () => said;
}

export function signalGroup(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(-pid, name);
  } catch (error) {
    // Every process of the group may have ended already.
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

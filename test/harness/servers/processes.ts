/**
 * Reads from /proc which processes belong to a group, and whether they are stopped.
 *
 * The bug this prevents: a test of a frozen server that asks it a question before the stop signal has reached it.
 */
import { readdir, readFile, readlink, realpath } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";

const STOP_WITHIN_MS = 10_000;

export async function processesOfGroup(group: number): Promise<readonly number[]> {
  const found: number[] = [];
  for (const name of await readdir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const [, , pgrp] = await fieldsOf(Number(name));
    if (Number(pgrp) === group) found.push(Number(name));
  }
  return found;
}

/** Returns the command lines of all processes whose working folder is this one or below it. Linux only. */
export async function commandsIn(folder: string): Promise<readonly string[]> {
  const root = await realpath(folder);
  const found: string[] = [];
  for (const name of await readdir("/proc").catch(() => [])) {
    const cwd = /^\d+$/.test(name) ? await readlink(`/proc/${name}/cwd`).catch(() => "") : ""; // it ended, or is another user's
    if (cwd === root || cwd.startsWith(`${root}/`))
      found.push((await readFile(`/proc/${name}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ").trim());
  }
  return found;
}

/** Resolves when each of these processes is stopped or gone. */
export async function untilStopped(pids: readonly number[]): Promise<void> {
  for (const start = performance.now(); performance.now() - start < STOP_WITHIN_MS; await sleep(5)) {
    const states = await Promise.all(pids.map(async (pid) => (await fieldsOf(pid))[0]));
    if (states.every((state) => state === undefined || "TtZX".includes(state))) return;
  }
  throw new Error(`processes ${pids.join(", ")} did not stop within ${STOP_WITHIN_MS} ms of SIGSTOP`);
}

/** The fields after the process's name: state, parent, group and so on. The name itself may have spaces and brackets. */
async function fieldsOf(pid: number): Promise<readonly string[]> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => ""); // the process ended meanwhile
  return stat === "" ? [] : stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

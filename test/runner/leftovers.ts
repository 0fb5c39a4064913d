/**
 * Processes that a test file started and left behind, found by a mark in their environment.
 *
 * The bug this prevents: a database or a launcher of yesterday's aborted test that still holds a port, a lock or a core.
 * A process group does not suffice, because programs under test make groups of their own. Linux only: elsewhere there is
 * no /proc to look in, and the group has to do.
 */
import { readdirSync, readFileSync } from "node:fs";

export const MARK = "LONGSHORE_TEST_RUN";

export interface Leftover {
  readonly pid: number;
  readonly command: string;
}

export function leftovers(mark: string): Leftover[] {
  return processIds().flatMap((pid) => {
    const marked = readProcess(pid, "environ").split("\0").includes(`${MARK}=${mark}`);
    if (!marked || pid === process.pid) return [];
    const command = readProcess(pid, "cmdline").replaceAll("\0", " ").trim();
    return command === "" ? [] : [{ pid, command }]; // a zombie has no command line any more
  });
}

export function endAll(found: readonly Leftover[]): void {
  for (const { pid } of found) endProcess(pid);
}

/** A negative number is a process group. What is gone already is as good. */
export function endProcess(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function processIds(): number[] {
  try {
    return readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map(Number);
  } catch {
    return []; // no /proc on this system
  }
}

function readProcess(pid: number, file: "environ" | "cmdline"): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return ""; // it ended between the listing and this line, or belongs to another user
  }
}

/**
 * Processes that a test file started and left behind, found by a mark in their environment.
 *
 * The bug this prevents: a database or a launcher of yesterday's aborted test that still holds a port, a lock or a core. A
 * process group is not enough, because programs under test make groups of their own. The mark works on Linux only: other
 * systems have no /proc, so only the process group is ended there.
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

/** Ends a process, or a process group if the number is negative. A process that has ended already is no error. */
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
    return ""; // the process ended since the listing, or belongs to another user
  }
}

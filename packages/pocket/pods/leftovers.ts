/**
 * Ends the processes that a killed pocket left running: they would work on, while the next pocket counts their Jobs as gone.
 *
 * A process id alone proves nothing, since another program may have it by now: a process is ended only if its own environment
 * names the folder. If the system does not show environments (it has no /proc), nothing is ended.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export function notePid(folder: string, pid: number): void {
  writeFileSync(join(folder, "pid"), String(pid));
}

/** Runs before anything else is started in this folder. */
export function endLeftovers(dataDir: string): void {
  const pods = join(dataDir, "pods");
  if (!existsSync(pods)) return;
  for (const pod of readdirSync(pods)) {
    for (const container of readdirSync(join(pods, pod))) endProcess(join(pods, pod, container));
  }
  rmSync(pods, { recursive: true, force: true });
}

function endProcess(folder: string): void {
  const file = join(folder, "pid");
  const pid = existsSync(file) ? Number(readFileSync(file, "utf8")) : 0;
  if (Number.isInteger(pid) && pid > 1 && isOurs(pid, folder)) killGroup(pid);
}

/** Does nothing if the group has no process any more. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function isOurs(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .includes(`LONGSHORE_TERMINATION_LOG=${join(folder, "termination-log")}`);
  } catch {
    return false; // it is gone, or another user's
  }
}

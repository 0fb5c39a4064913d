/**
 * Ends what a pocket left running when it was killed: its pods' processes know nothing of that and would work on,
 * while the pocket that is started next counts their Jobs as gone.
 *
 * A number alone proves nothing, since it may be another program's by now: only a process whose own environment names
 * the folder is ended. Where the system does not show environments (it has no /proc) nothing is.
 */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export function notePid(folder: string, pid: number): void {
  writeFileSync(join(folder, "pid"), String(pid));
}

/** Before anything else is started in this folder. */
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
  if (!Number.isInteger(pid) || pid <= 1 || !isOurs(pid, folder)) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    // It ended between the look and the kill.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function isOurs(pid: number, folder: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/environ`, "utf8")
      .split("\0")
      .includes(`LONGSHORE_TERMINATION_LOG=${join(folder, "termination-log")}`);
  } catch {
    return false; // It is gone, or another user's.
  }
}

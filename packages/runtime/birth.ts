/**
 * Tells processes apart that have the same id.
 *
 * The bug this prevents: a program that is taken for ours, and killed or waited for, because the system gave it the id of a
 * process of ours that has ended. The id together with the process's birth comes only once.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";

export interface Identity {
  readonly pid: number;
  readonly birth: string;
}

/** Returns the process with this id; `undefined` if there is none, or if it has ended and is only not reaped yet. */
export function identityOf(pid: number): Identity | undefined {
  if (!Number.isInteger(pid) || pid <= 0) return undefined;
  const birth = process.platform === "linux" ? birthByProc(pid) : birthByPs(pid);
  return birth === undefined ? undefined : { pid, birth };
}

export const isAlive = ({ pid, birth }: Identity): boolean => identityOf(pid)?.birth === birth;

/** The text of an identity in a file, in the form that `readIdentity` takes. */
export const writeIdentity = ({ pid, birth }: Identity): string => `${pid} ${birth}\n`;

/**
 * Reads an identity that `writeIdentity` or a shell wrote. A shell on Linux writes the boot's id and the line of /proc/PID/stat.
 * A text without its line end is one that was cut off.
 */
export function readIdentity(text: string): Identity | undefined {
  const [, pid = "", said = ""] = /^(\d+) (.+)\n/.exec(text) ?? [];
  if (said === "") return undefined;
  const [, boot, stat] = /^(\S+) (\d+ \(.*)$/.exec(said) ?? [];
  const birth = stat === undefined ? plainly(said) : birthInStat(boot ?? "", stat);
  return birth === undefined ? undefined : { pid: Number(pid), birth };
}

function birthByProc(pid: number): string | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  return stat === "" ? undefined : birthInStat(readText("/proc/sys/kernel/random/boot_id").trim() || "-", stat);
}

/** The start is counted from the machine's boot, so it says nothing without the boot's own id. */
function birthInStat(boot: string, stat: string): string | undefined {
  // The program's name comes in brackets, and may have spaces and brackets itself. The state follows, and the start 19 fields on.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return state === undefined || "ZX".includes(state) ? undefined : `${boot}/${fields[18]}`;
}

function birthByPs(pid: number): string | undefined {
  const { stdout } = spawnSync("/bin/ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
    encoding: "utf8",
    // The time is local, and a zone may change while a process runs.
    env: { LC_ALL: "C", TZ: "UTC0" },
  });
  const [state = "Z", ...start] = (stdout ?? "").trim().split(/\s+/);
  return state.startsWith("Z") || start.length === 0 ? undefined : start.join(" ");
}

const plainly = (text: string): string => text.trim().split(/\s+/).join(" ");

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // it has ended, or the system does not tell
  }
}

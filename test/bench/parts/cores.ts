/**
 * The cores that running processes may use, set by `taskset`.
 *
 * The failure this prevents: a ratio that was measured while the cluster took its CPU time from the launcher's cores, and that
 * is read as the ratio against a cluster on machines of its own.
 */
import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { treeOf } from "./cpu.ts";

/** A thread that is started while its process is being pinned may have the old cores, so all are looked at again. */
const TRIES_MOST = 5;

/** Returns the cores of this process, or a sentence that says why processes cannot be kept apart on this machine. */
export async function coresToShare(): Promise<readonly number[] | string> {
  const cores = listed(await readFile("/proc/self/status", "utf8"));
  if (cores.length < 2) return "this process may use only one core, and two are needed";
  const found = await promisify(execFile)("taskset", ["--version"]).catch(() => undefined);
  return found === undefined ? "this machine has no taskset (Debian's package util-linux)" : cores;
}

/** Keeps these processes, their threads and everything that they started on these cores. */
export async function pin(pids: readonly number[], cores: readonly number[]): Promise<void> {
  for (let tries = 1; tries <= TRIES_MOST; tries++) {
    const trees = await Promise.all(pids.map(treeOf));
    const strays = await elsewhere([...new Set(trees.flat())], cores);
    if (strays.length === 0) return;
    // A process that ended meanwhile needs no core.
    for (const pid of strays)
      await promisify(execFile)("taskset", ["-a", "-p", "-c", cores.join(","), String(pid)]).catch(() => undefined);
  }
  throw new Error(`processes could not be kept on core ${cores.join(", ")} by taskset`);
}

/** Returns the processes that have a thread that may use other cores. */
async function elsewhere(pids: readonly number[], cores: readonly number[]): Promise<readonly number[]> {
  const strays = await Promise.all(
    pids.map(async (pid) => {
      const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
      const texts = threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/status`, "utf8").catch(() => undefined));
      const isStray = (await Promise.all(texts)).some((it) => it !== undefined && listed(it).join(",") !== cores.join(","));
      return isStray ? [pid] : [];
    }),
  );
  return strays.flat();
}

/** "Cpus_allowed_list:	0-1,4" → 0, 1, 4. */
function listed(status: string): readonly number[] {
  const [, ranges = ""] = /^Cpus_allowed_list:\s*(\S+)$/m.exec(status) ?? [];
  return ranges.split(",").flatMap((range) => {
    const [from = Number.NaN, to = from] = range.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, at) => from + at);
  });
}

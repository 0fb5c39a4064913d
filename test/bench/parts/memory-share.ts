/**
 * The memory of processes and everything that they started, each page counted once: what several share is divided among them.
 *
 * The failure this prevents: a database that looks large since each of its backends is told with the whole shared memory.
 */
import { readFile } from "node:fs/promises";
import { treeOf } from "./cpu.ts";
import { rounded } from "./figures.ts";

export async function memoryMb(pids: Readonly<Record<string, number>>): Promise<Readonly<Record<string, number>>> {
  const of = async (pid: number): Promise<number> => {
    const all = await Promise.all((await treeOf(pid)).map(shareKb));
    return rounded(all.reduce((sum, kb) => sum + kb, 0) / 1024, 1);
  };
  return Object.fromEntries(await Promise.all(Object.entries(pids).map(async ([name, pid]) => [name, await of(pid)] as const)));
}

async function shareKb(pid: number): Promise<number> {
  // The process may have ended since it was listed.
  const text = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  return Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
}

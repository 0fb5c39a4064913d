/**
 * CPU time of processes, as the kernel counted it: of each process and everything that it started.
 *
 * The failure this prevents: a database that looks cheap since its backends, which do the work, are processes of their own.
 */
import { readdir, readFile } from "node:fs/promises";

/** Linux tells times in hundredths of a second, whatever its own tick is. */
const TICK_MS = 10;

/** CPU time in milliseconds, of each named tree of processes. */
export type CpuMs<N extends string> = Readonly<Record<N, number>>;

export async function cpuMs<N extends string>(pids: Readonly<Record<N, number>>): Promise<CpuMs<N>> {
  const all = await processes();
  const sums = Object.entries<number>(pids).map(([name, pid]) => [name, ofTree(pid, all)] as const);
  return Object.fromEntries(sums) as CpuMs<N>;
}

export function since<N extends string>(before: CpuMs<N>, after: CpuMs<N>): CpuMs<N> {
  const names = Object.keys(after) as N[];
  return Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as CpuMs<N>;
}

/** CPU of everything that runs on this machine, since it was started. */
export async function machineMs(): Promise<number> {
  const [line = ""] = (await readFile("/proc/stat", "utf8")).split("\n");
  const [user = 0, nice = 0, system = 0, _idle, _waiting, irq = 0, softirq = 0] = line.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + softirq) * TICK_MS;
}

interface Process {
  readonly parent: number;
  /** CPU of the process itself and of its children that ended and were waited for. */
  readonly ms: number;
}

/** The process, and every process that it or one of its children started. */
export async function treeOf(pid: number): Promise<readonly number[]> {
  const all = await processes();
  const below = (parent: number): readonly number[] =>
    [...all].filter(([, it]) => it.parent === parent).flatMap(([child]) => [child, ...below(child)]);
  return [pid, ...below(pid)];
}

function ofTree(pid: number, all: ReadonlyMap<number, Process>): number {
  const children = [...all].filter(([, { parent }]) => parent === pid).map(([child]) => ofTree(child, all));
  return children.reduce((sum, ms) => sum + ms, all.get(pid)?.ms ?? 0);
}

async function processes(): Promise<ReadonlyMap<number, Process>> {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => [pid, await read(pid)] as const));
  return new Map(found.flatMap(([pid, process]) => (process === undefined ? [] : [[pid, process] as const])));
}

async function read(pid: number): Promise<Process | undefined> {
  // The process may have ended since it was listed.
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  // The second field is the command in parentheses, which may hold spaces: the other fields are counted from its end.
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const [, parent = 0] = fields;
  return { parent, ms: fields.slice(11, 15).reduce((sum, ticks) => sum + ticks * TICK_MS, 0) };
}

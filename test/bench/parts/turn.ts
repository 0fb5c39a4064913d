/**
 * One turn of a bench's work, and the sum of several: time, CPU of each process, requests by verb, and what the ledger did.
 *
 * The failure this prevents: two kinds of work that are compared and were measured in two ways.
 */
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { type CpuMs, cpuMs, machineMs, since } from "./cpu.ts";
import { each, rounded } from "./figures.ts";
import type pg from "pg";
import type { Stage } from "./stage.ts";

const LOOK_MS = 20;
const REST_WITHIN_MS = 300_000;
/** Postgres' backends report what they did at most once a second, and RabbitMQ tidies up a little later. */
const REPORTED_MS = 1_500;

export interface Turn {
  readonly tookMs: number;
  readonly perSecond: number;
  readonly cpu: CpuMs<string>;
  /** CPU of processes that are no part of this bench. If it is high, trust the CPU times more than the rates. */
  readonly othersMs: number;
  readonly verbs: Readonly<Record<string, number>>;
  readonly transactions: number;
  readonly walBytes: number;
}

/**
 * `work` resolves to the milliseconds that it took. What follows it until `settled` (events to publish, holds to take off) belongs
 * to its cost, and not to its time.
 */
export async function measured(
  stage: Stage,
  count: number,
  work: () => Promise<number>,
  settled: () => Promise<void>,
): Promise<Turn> {
  const pids = { ...stage.pids, bench: process.pid };
  await stage.requests.taken();
  const look = async () => ({ cpu: await ownCpuMs(pids), machine: await machineMs(), database: await stage.databaseWork() });
  const before = await look();
  const tookMs = await work();
  await settled();
  await clock.sleep(REPORTED_MS);
  const after = await look();
  const cpu = since(before.cpu, after.cpu);
  return {
    tookMs,
    perSecond: rounded((1000 * count) / tookMs, 1),
    cpu,
    othersMs: after.machine - before.machine - inAll(cpu),
    verbs: await stage.requests.taken(),
    transactions: after.database.transactions - before.database.transactions,
    walBytes: after.database.walBytes - before.database.walBytes,
  };
}

/** Waits until the ledger finds no row any more. */
export async function untilNone(database: pg.Client, what: string, rows: string): Promise<void> {
  const asked = { name: what, text: `select exists (${rows}) as some` };
  for (const beganMs = performance.now(); performance.now() - beganMs < REST_WITHIN_MS; await clock.sleep(LOOK_MS)) {
    const [found] = (await database.query<{ some: boolean }>(asked)).rows;
    if (found?.some === false) return;
  }
  throw new Error(`there is still some ${what} after ${REST_WITHIN_MS / 1000} s`);
}

/** Subtracts the other processes from the bench's CPU time: the bench started them, so its tree includes them. */
async function ownCpuMs(pids: Readonly<Record<string, number>>): Promise<CpuMs<string>> {
  const all = await cpuMs(pids);
  const others = Object.entries(all).filter(([name]) => name !== "bench");
  return { ...all, bench: (all["bench"] ?? 0) - others.reduce((sum, [, ms]) => sum + ms, 0) };
}

export const inAll = (cpu: CpuMs<string>): number => Object.values(cpu).reduce((sum, ms) => sum + ms, 0);

/** How many in a second, over all turns. */
export const ratesOf = (turns: readonly Turn[], runs: number): number =>
  (1000 * runs * turns.length) / turns.reduce((sum, { tookMs }) => sum + tookMs, 0);

export function summed(turns: readonly Turn[], runs: number) {
  const count = runs * turns.length;
  const sums = (of: (turn: Turn) => Readonly<Record<string, number>>): Record<string, number> => {
    const sum: Record<string, number> = {};
    for (const turn of turns) for (const [name, value] of Object.entries(of(turn))) sum[name] = (sum[name] ?? 0) + value;
    return sum;
  };
  const cpu = sums((turn) => turn.cpu);
  return {
    perSecond: rounded(ratesOf(turns, runs), 1),
    perSecondByTurn: turns.map(({ perSecond }) => perSecond),
    cpuMsEach: each(cpu, count, 2),
    cpuMsEachInAll: rounded(inAll(cpu) / count, 2),
    cpuMsOfOthersEach: rounded(turns.reduce((sum, { othersMs }) => sum + othersMs, 0) / count, 2),
    requestsByVerb: sums((turn) => turn.verbs),
    transactionsEach: rounded(turns.reduce((sum, { transactions }) => sum + transactions, 0) / count, 3),
    walBytesEach: rounded(turns.reduce((sum, { walBytes }) => sum + walBytes, 0) / count, 0),
  };
}

/** Launches runs, and measures the time from their first command to the last UID in the ledger. */
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import type pg from "pg";
import { publishAll, type Upstream } from "./upstream.ts";

/** Looks seldom, and only at events, which never change, so that looking does not disturb the measurement. */
const LOOK_MS = 250;
const STORED_WITHIN_MS = 600_000;

const LAST = {
  name: "last_run",
  text: "select coalesce(max(key), 0) as last, extract(epoch from clock_timestamp()) * 1000 as now from longshore.run",
};
const LAUNCHED = {
  name: "launched_runs",
  text: "select count(*) as count, extract(epoch from max(at)) * 1000 as last from longshore.event where run_key > $1 and type = 'run.launched'",
};

/**
 * Resolves to the milliseconds that launching all runs took by the ledger's clock: the transaction that stores a UID also
 * stores `run.launched`.
 */
export async function launched(database: pg.Client, upstream: Upstream, name: string, count: number): Promise<number> {
  const [before] = (await database.query<{ last: string; now: string }>(LAST)).rows;
  const publishing = publishAll(upstream, name, count);
  for (const beganMs = performance.now(); performance.now() - beganMs < STORED_WITHIN_MS; await clock.sleep(LOOK_MS)) {
    const [found] = (await database.query<{ count: string; last: string }>({ ...LAUNCHED, values: [before?.last] })).rows;
    if (Number(found?.count) < count) continue;
    await publishing;
    return Number(found?.last) - Number(before?.now);
  }
  throw new Error(`of ${count} runs some had no UID in the ledger after ${STORED_WITHIN_MS / 1000} s`);
}

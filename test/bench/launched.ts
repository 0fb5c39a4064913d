/** Runs from their commands, published and confirmed, to the last UID in the ledger. */
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import type pg from "pg";
import { publishAll, type Upstream } from "./upstream.ts";

const LOOK_MS = 20;
const STORED_WITHIN_MS = 600_000;

/** How long that took, in milliseconds. */
export async function launched(database: pg.Client, upstream: Upstream, name: string, count: number): Promise<number> {
  const { rows } = await database.query<{ last: string }>("select coalesce(max(key), 0) as last from longshore.attempt");
  const last = rows[0]?.last ?? "0";
  const beganMs = performance.now();
  await publishAll(upstream, name, count);
  for (; performance.now() - beganMs < STORED_WITHIN_MS; await clock.sleep(LOOK_MS)) {
    const stored = await database.query<{ count: string }>({
      name: "stored",
      text: "select count(*) as count from longshore.attempt where key > $1 and uid is not null",
      values: [last],
    });
    if (Number(stored.rows[0]?.count) >= count) return performance.now() - beganMs;
  }
  throw new Error(`of ${count} runs some had no UID in the ledger after ${STORED_WITHIN_MS / 1000} s`);
}

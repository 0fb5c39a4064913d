/**
 * Takes the locks of runs and their attempts, in the one order that all transactions keep: run by key, then attempt by key.
 *
 * The bugs this prevents: deadlocks; and an attempt that was inserted while we waited for its run's lock and is not seen.
 * Therefore runs and attempts are locked by two statements: each sees everything that was committed when it began. Both go to
 * the server together. If a run is inserted between the two statements, its attempts are locked without need. If two
 * transactions block each other there, Postgres fails one of them, which starts over (`lostRace`).
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { Queries, Statement } from "./connection.ts";
import type { AttemptColumns, Locked, RunColumns } from "./rows.ts";
import { ATTEMPT_COLUMNS, ATTEMPT_GROUP, lockedOf, RUN_COLUMNS, RUN_GROUP } from "./rows.ts";

const RUNS = (more: string): string =>
  `select ${RUN_COLUMNS} from run r ${RUN_GROUP} where r.id = any($1) order by r.key for no key update of r ${more}`;
const ATTEMPTS = (keys: string): string =>
  `select ${ATTEMPT_COLUMNS} from attempt a ${ATTEMPT_GROUP} where a.run_key = any(${keys}) order by a.key for update of a`;

const LOCK_RUNS: Statement = { name: "lock_runs", text: RUNS("") };
const LOCK_ATTEMPTS: Statement = {
  name: "lock_attempts",
  text: ATTEMPTS("array(select r.key from run r where r.id = any($1))"),
};
const LOCK_FREE_RUNS: Statement = { name: "lock_free_runs", text: RUNS("skip locked") };
const LOCK_ATTEMPTS_OF: Statement = { name: "lock_attempts_of", text: ATTEMPTS("$1::bigint[]") };

export async function lockRuns(queries: Queries, ids: Iterable<RunId>): Promise<ReadonlyMap<RunId, Locked>> {
  const unique = [...new Set(ids)];
  if (unique.length === 0) return new Map();
  const [runs, attempts] = await Promise.all([
    queries.all<RunColumns>(LOCK_RUNS, [unique]),
    queries.all<AttemptColumns>(LOCK_ATTEMPTS, [unique]),
  ]);
  return lockedOf(runs, attempts);
}

/** Skips runs that are locked, for callers that can come back later. */
export async function lockFreeRuns(queries: Queries, ids: Iterable<RunId>): Promise<ReadonlyMap<RunId, Locked>> {
  const unique = [...new Set(ids)];
  if (unique.length === 0) return new Map();
  const runs = await queries.all<RunColumns>(LOCK_FREE_RUNS, [unique]);
  if (runs.length === 0) return new Map();
  const attempts = await queries.all<AttemptColumns>(LOCK_ATTEMPTS_OF, [runs.map(({ key }) => key)]);
  return lockedOf(runs, attempts);
}

/**
 * Gives waiting attempts a group, or the reason why no group can take them now.
 *
 * The bugs this prevents: two launchers that each see the last free slot; and a slot that a lesser run gets because a more urgent
 * one is locked for a moment. Slots are counted and taken under the groups' row locks, which every transaction takes before any
 * run's lock, and then the runs' locks are waited for.
 */
import type { GroupName, RunId, StepName } from "@longshore/contract/ids.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { anchorOf } from "@longshore/domain/anchor/of-run.ts";
import { UNSERVED_MS } from "@longshore/domain/group/group.ts";
import {
  type Line, lineOf, mostFor, type Openings, openingsOf, placeAttempts, type PlacedAttempts,
} from "@longshore/domain/group/place-attempts.ts"; // biome-ignore format: a list of names
import { attemptIn } from "@longshore/domain/run/record.ts";
import type { Ledger, Placed, Work } from "../../port.ts";
import { ENTERING, enteringRuns } from "./concurrency.ts";
import { Bug, type Queries, type Statement } from "../connection.ts";
import { type GroupColumns, groupOf, GROUPS } from "../groups.ts";
import type { Parts } from "./record.ts";
import { type Locked, lockRuns } from "../rows.ts";
import { write } from "../write.ts";

/** The statement's own time. `now()` is the transaction's, which began before the groups' locks were waited for. */
const NOW = "statement_timestamp()";

/**
 * Ready attempts of a group that is paused or that no launcher serves. No create of them was ever sent, so they may go
 * elsewhere.
 */
const WITHDRAWN = `group_id in (
    select id from cluster_group
    where paused or served_at is null or served_at <= ${NOW} - make_interval(secs => ${UNSERVED_MS / 1000})
  ) and state = 'ready' and due <= ${NOW}`;

/** This query takes no lock, so that an idle launcher disturbs nobody. */
const WAITING: Statement = {
  name: "waiting",
  text: `select 1 as waiting where exists (select from attempt where group_id is null and state = 'waiting' and due <= ${NOW})
    or exists (select from attempt where ${WITHDRAWN}) or exists (${ENTERING})`,
};

/** Returns `frozen` too: after a restore, nothing is claimed until a person confirms. */
const LOCK_GROUPS: Statement = {
  name: "lock_groups",
  text: "select id, (select frozen from installation) as frozen from cluster_group order by id for no key update of cluster_group",
};

const CLOCK: Statement = { name: "placing_at", text: "select clock_timestamp() as now" };

/** The lines in which attempts wait: one index step for each line, however long it is. */
const LINES: Statement = {
  name: "lines",
  text: `
with recursive line as (
  (select waits_for from attempt where state = 'waiting' and waits_for > '{}' order by waits_for limit 1)
  union all
  select (select a.waits_for from attempt a where a.state = 'waiting' and a.waits_for > line.waits_for order by a.waits_for limit 1)
  from line where line.waits_for is not null
)
select waits_for from line where waits_for is not null`,
};

/**
 * These queries run under the groups' locks. Without the locks, two placers would choose the same attempts, and the second
 * would place none. They also order by a column that is null in all these rows (`waits_for`, `group_id`): only then does
 * Postgres read the first rows of the index, and does not sort the whole line.
 */
const OF = "run_key, step, n, priority";
const CANDIDATES: Statement = {
  name: "candidates",
  text: `
select r.id as run, a.* from (
  (select 'fresh' as line, null::text[] as waits_for, ${OF} from attempt
    where state = 'waiting' and waits_for is null and due <= ${NOW} order by attempt.waits_for, priority desc, run_key limit $1)
  union all (select 'due', null, ${OF} from attempt
    where group_id is null and state = 'waiting' and due <= ${NOW} order by group_id, priority desc, due limit $1)
  union all (select 'entering', null, ${OF} from attempt where run_key in (${ENTERING}) and state = 'waiting' limit $1)
  union all (select 'withdrawn', null, ${OF} from attempt where ${WITHDRAWN} limit $1)
  union all (select 'room', l.waits_for, first.* from json_to_recordset($2) as l(waits_for text[], most integer) cross join lateral (
    select ${OF} from attempt where state = 'waiting' and waits_for = l.waits_for order by priority desc, run_key limit l.most
  ) first)
) a join run r on r.key = a.run_key`,
};

const SPECS: Statement = { name: "specs", text: "select run_key, spec, secrets from run_spec where run_key = any($1)" };

interface CandidateColumns {
  readonly line: "fresh" | "due" | "entering" | "withdrawn" | "room";
  readonly waits_for: GroupName[] | null;
  readonly run: RunId;
  readonly run_key: string;
  readonly step: StepName;
  readonly n: number;
  readonly priority: number;
}

export async function place(
  { database, epoch, jobName }: Parts,
  { most, placer, claim }: Parameters<Ledger["place"]>[0],
): Promise<Placed> {
  if ((await database.all(WAITING)).length === 0) return { placed: 0, told: 0, more: false, works: [] };
  return await database.transaction(async (queries, began) => {
    const [locked, clock, rows, standing, entering] = await Promise.all([
      queries.all<{ frozen: boolean }>(LOCK_GROUPS),
      queries.all<{ now: number }>(CLOCK),
      queries.all<GroupColumns>(GROUPS),
      queries.all<{ waits_for: GroupName[] }>(LINES),
      enteringRuns(queries),
      began,
    ]);
    const nowMs = clock[0]?.now ?? (await began);
    const claiming = locked.some(({ frozen }) => frozen) ? undefined : claim;
    const groups = rows.map(groupOf);
    const openings = openingsOf(groups, placer, nowMs);
    const asked = standing.map(({ waits_for }) => ({ waits_for, most: mostFor(waits_for, openings, most) }));
    const open = asked.filter((it) => it.most > 0);
    const lines = linesOf(await queries.all<CandidateColumns>(CANDIDATES, [most, JSON.stringify(open)]), openings, most);
    const held = await lockRuns(queries, lines.flatMap(({ candidates }) => candidates.map(({ run }) => run))); // biome-ignore format: one call
    const records = new Map([...held].map(([id, { record }]) => [id, record]));
    const at = { nowMs, epoch, jobName };
    const decided = placeAttempts({ lines, records, groups, entering, placer, most, claiming }, at);
    const writings = [...decided.changes].flatMap(([id, change]) => {
      const it = held.get(id);
      return it === undefined ? [] : [{ change, held: it }];
    });
    const [works] = await Promise.all([worksOf(queries, decided, held, nowMs), write(queries, writings, nowMs, epoch)]);
    const { placed, told, more } = decided;
    return { placed, told, more, works };
  });
}

function linesOf(rows: readonly CandidateColumns[], openings: Openings, most: number): readonly Line[] {
  const lines = Map.groupBy(rows, ({ line, waits_for }) => `${line} ${waits_for?.join() ?? ""}`);
  return [...lines.values()].flatMap((found) => {
    const [{ line, waits_for } = {}] = found;
    const candidates = found.map(({ run, run_key, step, n, priority }) => ({
      run,
      step,
      n,
      priority,
      accepted: Number(run_key),
    }));
    if (waits_for) return lineOf(waits_for, candidates, mostFor(waits_for, openings, most));
    return line === undefined || line === "room" ? [] : lineOf(line, candidates, most);
  });
}

async function worksOf(
  queries: Queries,
  { changes, claimed }: PlacedAttempts,
  held: ReadonlyMap<RunId, Locked>,
  nowMs: number,
): Promise<readonly Work[]> {
  if (claimed.length === 0) return [];
  const keys = new Set(claimed.map(({ accepted }) => accepted));
  const rows = await queries.all<{ run_key: string; spec: RunRequest; secrets: string | null }>(SPECS, [[...keys]]);
  const specs = new Map(rows.map((it) => [it.run_key, it]));
  return claimed.map(({ run, step, n }) => {
    const after = changes.get(run)?.after;
    const attempt = after && attemptIn(after, step, n);
    const given = specs.get(held.get(run)?.key ?? "");
    if (after === undefined || attempt === undefined || given === undefined)
      throw new Bug(`the run ${run} was claimed and has no request`);
    const { id, tenant, generation, plan, steps, cancel } = after.run;
    const anchor = anchorOf(after, attempt);
    return {
      attempt,
      run: { id, tenant, generation, plan, steps, cancel },
      request: given.spec,
      nowMs,
      ...(given.secrets !== null && { sealed: given.secrets }),
      ...(anchor && { anchor }),
    };
  });
}

/**
 * Rows, their locks and their meaning: the one place that knows both the tables' columns and the lifecycle's values.
 *
 * The bug this prevents: a column that one query maps and another forgets, after which a claim or a fence is lost on the way
 * through the ledger. `null` is Postgres' word and `undefined` ours; times are milliseconds on both sides (connection.ts).
 */
import type { GroupName, RunId, StepName, TenantName, Uid } from "@longshore/contract/ids.ts";
import type { RunEventType } from "@longshore/contract/messages/event.ts";
import { NO_PLAN } from "@longshore/domain/run/plan.ts";
import type { Anchor, Attempt, Plan, Run, RunRecord } from "@longshore/domain/run/record.ts";
import type { NewestEvent } from "../port.ts";
import type { Queries, Statement } from "./connection.ts";

export interface RunColumns {
  readonly key: string;
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly source: string;
  readonly digest: string;
  readonly state: Run["state"];
  readonly outcome: Run["outcome"] | null;
  readonly generation: number;
  readonly seq: number;
  readonly group_name: GroupName | null;
  readonly cancel: NonNullable<Run["cancel"]> | null;
  readonly plan: Plan | null;
  readonly steps: Run["steps"];
  readonly accepted_at: number;
  readonly ended_at: number | null;
}

/** The columns of an event that a list of runs shows. */
export interface NewestColumns {
  readonly newest: RunEventType | null;
  readonly reason: string | null;
  readonly code: string | null;
  /** Absent for a list that does not show it. */
  readonly exit_code?: number | null;
}

export function newestOf({ newest, reason, code, exit_code = null }: NewestColumns): NewestEvent | undefined {
  if (newest === null) return undefined;
  return {
    type: newest,
    ...(reason !== null && { reason }),
    ...(code !== null && { code }),
    ...(exit_code !== null && { exitCode: exit_code }),
  };
}

export interface AttemptColumns {
  readonly key: string;
  readonly run_key: string;
  readonly step: StepName;
  readonly n: number;
  readonly generation: number;
  readonly epoch: number;
  readonly group_name: GroupName | null;
  readonly state: Attempt["state"];
  readonly priority: number;
  readonly due: number | null;
  readonly waits_for: GroupName[] | null;
  readonly name: string;
  readonly slots: number | null;
  readonly claim_no: number;
  readonly claim_by: string | null;
  readonly claim_until: number | null;
  readonly unanswered: number[];
  readonly fence_until: number | null;
  readonly occupant_uid: Uid | null;
  readonly uid: Uid | null;
  readonly seen_rv: string | null;
  readonly started: Attempt["started"];
  readonly cause: Attempt["cause"] | null;
  readonly outcome: NonNullable<Attempt["outcome"]> | null;
  readonly notes: Attempt["notes"];
}

/** Columns to select if `run r` and `attempt a` are in the query; `RUN_GROUP` and `ATTEMPT_GROUP` join the groups' names. */
export const RUN_COLUMNS = `r.key, r.id, r.tenant, r.source, r.digest, r.state, r.outcome, r.generation, r.seq, rg.name as group_name,
  r.cancel, r.plan, r.steps, r.accepted_at, r.ended_at`;
export const RUN_GROUP = "left join cluster_group rg on rg.id = r.group_id";
export const ATTEMPT_COLUMNS = `a.key, a.run_key, a.step, a.n, a.generation, a.epoch, ag.name as group_name, a.state, a.priority, a.due,
  a.waits_for, a.name, a.slots, a.claim_no, a.claim_by, a.claim_until, a.unanswered, a.fence_until, a.occupant_uid, a.uid, a.seen_rv, a.started, a.cause,
  a.outcome, a.notes`;
export const ATTEMPT_GROUP = "left join cluster_group ag on ag.id = a.group_id";

const known = <T>(value: T | null): T | undefined => value ?? undefined;

export function runOf(row: RunColumns): Run {
  const plan = row.plan === null ? NO_PLAN : planOf(row.plan);
  return {
    id: row.id,
    tenant: row.tenant,
    source: row.source,
    digest: row.digest,
    state: row.state,
    outcome: known(row.outcome),
    generation: row.generation,
    seq: row.seq,
    group: known(row.group_name),
    cancel: known(row.cancel),
    plan,
    steps: row.steps,
    acceptedAtMs: row.accepted_at,
    endedAtMs: known(row.ended_at),
  };
}

/** JSON leaves out undefined members, but the plan's type needs them present. */
export const planOf = (stored: Plan): Plan => ({
  ...stored,
  groups: stored.groups,
  notBeforeMs: stored.notBeforeMs,
  with: stored.with,
});

export function attemptOf(row: AttemptColumns): Attempt {
  return {
    step: row.step,
    n: row.n,
    generation: row.generation,
    epoch: row.epoch,
    state: row.state,
    group: known(row.group_name),
    name: row.name,
    priority: row.priority,
    dueMs: known(row.due),
    waitsFor: known(row.waits_for),
    ...(row.slots !== null && { slots: row.slots }),
    claimNo: row.claim_no,
    claimBy: known(row.claim_by),
    claimUntilMs: known(row.claim_until),
    unanswered: row.unanswered,
    fenceUntilMs: known(row.fence_until),
    occupantUid: known(row.occupant_uid),
    uid: known(row.uid),
    seenRv: known(row.seen_rv),
    started: row.started,
    cause: known(row.cause),
    outcome: known(row.outcome),
    notes: row.notes,
  };
}

/** One run under its lock, with the keys of its rows. */
export interface Locked {
  readonly key: string;
  readonly record: RunRecord;
  readonly attemptKeys: ReadonlyMap<string, string>;
}

export const attemptKey = ({ step, n }: { readonly step: string; readonly n: number }): string => `${step}/${n}`;

export function lockedOf(
  runs: readonly RunColumns[],
  attempts: readonly AttemptColumns[],
  anchors: readonly AnchorColumns[],
): ReadonlyMap<RunId, Locked> {
  const ofRun = Map.groupBy(anchors, ({ run_id }) => run_id);
  const byRun = Map.groupBy(attempts, ({ run_key }) => run_key);
  return new Map(
    runs.map((row) => {
      const own = byRun.get(row.key) ?? [];
      const attemptKeys = new Map(own.map((it) => [attemptKey(it), it.key]));
      const record = withAnchors({ run: runOf(row), attempts: own.map(attemptOf) }, ofRun.get(row.id)?.map(anchorOf));
      return [row.id, { key: row.key, record, attemptKeys }];
    }),
  );
}

/**
 * A run's values as the write statement's `json_to_recordset` reads them. Unchanged values are left out: the statement reads
 * them as null, which means "as it was".
 */
export const runValues = (run: Run, before: Run | undefined): object => ({
  state: run.state,
  outcome: run.outcome,
  generation: run.generation,
  seq: run.seq,
  group_name: run.group,
  cancel: run.cancel,
  ended_at: run.endedAtMs,
  ...(run.plan !== before?.plan && { plan: run.state === "tombstone" ? null : run.plan }),
  ...(run.steps !== before?.steps && { steps: run.steps }),
  ...(run.tenant !== before?.tenant && { tenant: run.tenant }),
  ...(run.source !== before?.source && { source: run.source }),
  ...(run.digest !== before?.digest && { digest: run.digest }),
  ...(run.acceptedAtMs !== before?.acceptedAtMs && { accepted_at: run.acceptedAtMs }),
});

export const attemptValues = (attempt: Attempt, before: Attempt | undefined): object => ({
  state: attempt.state,
  group_name: attempt.group,
  due: attempt.dueMs,
  waits_for: attempt.waitsFor,
  slots: attempt.slots,
  claim_no: attempt.claimNo,
  claim_by: attempt.claimBy,
  claim_until: attempt.claimUntilMs,
  unanswered: attempt.unanswered,
  fence_until: attempt.fenceUntilMs,
  occupant_uid: attempt.occupantUid,
  uid: attempt.uid,
  seen_rv: attempt.seenRv,
  started: attempt.started,
  cause: attempt.cause,
  ...(attempt.outcome !== before?.outcome && { outcome: attempt.outcome }),
  ...(attempt.notes !== before?.notes && { notes: attempt.notes }),
  ...(before === undefined && {
    step: attempt.step,
    n: attempt.n,
    generation: attempt.generation,
    epoch: attempt.epoch,
    name: attempt.name,
    priority: attempt.priority,
  }),
});

export interface AnchorColumns {
  readonly run_id: RunId;
  readonly number: number;
  readonly state: Anchor["state"];
  readonly group_name: GroupName;
  readonly namespace: string;
  readonly bytes: number;
  readonly uid: Uid | null;
  readonly hold_until: number;
  readonly due: number;
}

/** Columns to select if `object o` and its group `og` are in the query. */
export const ANCHOR_COLUMNS =
  "o.run_id, o.number, o.state, og.name as group_name, o.namespace, o.bytes, o.uid, o.hold_until, o.due";

export const anchorOf = (row: AnchorColumns): Anchor => ({
  number: row.number,
  state: row.state,
  group: row.group_name,
  namespace: row.namespace,
  bytes: row.bytes,
  uid: known(row.uid),
  fenceUntilMs: row.hold_until,
  dueMs: row.state === "gone" ? undefined : row.due,
});

export const anchorValues = (
  run: RunId,
  { number, state, group, namespace, bytes, uid, fenceUntilMs, dueMs }: Anchor,
): object => ({
  run_id: run,
  number,
  state,
  group_name: group,
  namespace,
  bytes,
  uid,
  hold_until: fenceUntilMs,
  due: dueMs,
});

export const withAnchors = (record: RunRecord, anchors: readonly Anchor[] = []): RunRecord =>
  anchors.length === 0 ? record : { ...record, anchors };

// ── Locks ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Takes the locks of runs and their attempts, in the one order that all transactions keep: run by key, then attempt by key.
 *
 * The bugs this prevents: deadlocks; and an attempt that was inserted while we waited for its run's lock and is not seen.
 * Therefore runs and attempts are locked by two statements: each sees everything that was committed when it began. Both go to
 * the server together. If a run is inserted between the two statements, its attempts are locked without need. If that makes two
 * transactions block each other, Postgres fails one of them, which starts over (`lostRace`).
 */

const LOCK_RUNS: Statement = {
  name: "lock_runs",
  text: `select ${RUN_COLUMNS} from run r ${RUN_GROUP} where r.id = any($1) order by r.key for no key update of r`,
};
const LOCK_ATTEMPTS: Statement = {
  name: "lock_attempts",
  text: `select ${ATTEMPT_COLUMNS} from attempt a ${ATTEMPT_GROUP}
    where a.run_key = any(array(select r.key from run r where r.id = any($1))) order by a.key for update of a`,
};

/** Asked only for runs with volumes of their own: no other run has an anchor. */
const LOCK_ANCHORS: Statement = {
  name: "lock_anchors",
  text: `select ${ANCHOR_COLUMNS} from object o join cluster_group og on og.id = o.group_id
    where o.run_id = any($1) and o.kind = 'anchor' order by o.number for update of o`,
};

export async function lockRuns(queries: Queries, ids: Iterable<RunId>): Promise<ReadonlyMap<RunId, Locked>> {
  const unique = [...new Set(ids)];
  if (unique.length === 0) return new Map();
  const [runs, attempts] = await Promise.all([
    queries.all<RunColumns>(LOCK_RUNS, [unique]),
    queries.all<AttemptColumns>(LOCK_ATTEMPTS, [unique]),
  ]);
  const volumes = runs.flatMap(({ id, plan }) => (plan?.storage?.anchor === undefined ? [] : [id]));
  return lockedOf(runs, attempts, volumes.length === 0 ? [] : await queries.all<AnchorColumns>(LOCK_ANCHORS, [volumes]));
}

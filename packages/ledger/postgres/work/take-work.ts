/**
 * Each loop's question: which attempts of a group are due. The query also takes them, by moving their due time on.
 *
 * The bugs this prevents: two launchers that create or delete the same Job at the same moment; a crash after taking, after
 * which nobody would come back (the due time brings the work again); and `limit … for update skip locked` inside `in (…)`,
 * which may take more than its limit. Only these queries lock attempts without their runs, and they never wait for a lock, so
 * no cycle can form.
 */
import type { GroupName, RunId, Uid } from "@longshore/contract/ids.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import { STANDING_STATES } from "@longshore/domain/group/group.ts";
import { KINDS_DUE } from "@longshore/domain/run/change.ts";
import { type Anchor, type AttemptState, type Cancel, FENCE_MS, type Plan, type Run } from "@longshore/domain/run/record.ts";
import type { AnchorWork, KnownAnchor, Ledger, Standing, StrayWork, Work, WorkKind } from "../../port.ts";
import { CHANNEL, type Database, inList, type Statement } from "../connection.ts";
import {
  ANCHOR_COLUMNS, type AnchorColumns, anchorOf, ATTEMPT_COLUMNS, ATTEMPT_GROUP, type AttemptColumns, attemptOf, planOf,
} from "../rows.ts"; // biome-ignore format: a list of names

interface WorkColumns extends AttemptColumns {
  readonly run_id: RunId;
  readonly tenant: Work["run"]["tenant"];
  readonly run_generation: number;
  readonly plan: Plan;
  readonly steps: Run["steps"];
  readonly cancel: Cancel | null;
  readonly spec: RunRequest;
  readonly secrets: string | null;
  readonly now: number;
  /** The columns of the attempt's anchor, if the run has one. */
  readonly anchor_number: number | null;
  readonly anchor_state: AnchorColumns["state"];
  readonly anchor_namespace: string;
  readonly anchor_bytes: number;
  readonly anchor_uid: Uid | null;
  readonly anchor_hold_until: number;
  readonly anchor_due: number;
}

/** Selects all that a loop needs to act on an attempt, for the rows in `taken`. The run is read and not locked. */
const WITH_RUN = (taken: string): string => `
select ${ATTEMPT_COLUMNS}, r.id as run_id, r.tenant, r.generation as run_generation, r.plan, r.steps, r.cancel, s.spec, s.secrets,
  clock_timestamp() as now,
  o.number as anchor_number, o.state as anchor_state, o.namespace as anchor_namespace, o.bytes as anchor_bytes, o.uid as anchor_uid,
  o.hold_until as anchor_hold_until, o.due as anchor_due
from ${taken} a join run r on r.key = a.run_key join run_spec s on s.run_key = a.run_key ${ATTEMPT_GROUP}
  left join object o on a.notes ? 'anchor' and o.run_id = r.id and o.number = (a.notes ->> 'anchor')::integer
order by a.priority desc, a.key`;

/**
 * If the fence of a claim has passed, the attempt is not claimed again: no create of it can land any more, so a look decides.
 * This statement does the work of `claimDue` in the lifecycle, for many attempts at once; conformance.ts proves that both do
 * the same.
 */
const CLAIM: Statement = {
  name: "claim",
  text: `
with expired as materialized (
  select key from attempt
  where group_id = (select id from cluster_group where name = $1) and state = 'claimed' and due <= now() and fence_until > now()
    and not (select frozen from installation)
  order by priority desc, due limit $2 for update skip locked
), fresh as materialized (
  select key from attempt
  where group_id = (select id from cluster_group where name = $1) and state = 'ready' and due <= now()
    and not (select frozen from installation) and not (select paused from cluster_group where name = $1)
  order by priority desc, due limit greatest(0, $2 - (select count(*) from expired)) for update skip locked
), taken as (
  update attempt a set state = 'claimed', claim_no = a.claim_no + 1, claim_by = $3, claim_until = t.until, due = t.until,
    fence_until = t.until + make_interval(secs => ${FENCE_MS / 1000}), unanswered = a.unanswered || (a.claim_no + 1),
    started = case when a.started = 'no' then 'unknown' else a.started end
  from (select key from expired union all select key from fresh) due,
    (select date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => $4) as until) t
  where a.key = due.key
  returning a.*
)${WITH_RUN("taken")}`,
};

const TAKE: Statement = {
  name: "take",
  text: `
with due as materialized (
  select key from attempt
  where group_id = (select id from cluster_group where name = $1) and state = $2 and due <= now()
    and (state <> 'claimed' or fence_until <= now())
  order by priority desc, due limit $3 for update skip locked
), taken as (
  update attempt a set due = date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => $4) from due where a.key = due.key
  returning a.*
)${WITH_RUN("taken")}`,
};

const DUE_NOW: Statement = {
  name: "due",
  text: `
select distinct s.state as what
from cluster_group g cross join unnest($2::text[]) as s(state)
where g.name = any($1) and exists (select from attempt a where a.group_id = g.id and a.state = s.state and a.due <= now())
union all
select 'stray' where exists (
  select from object o join cluster_group g on g.id = o.group_id where g.name = any($1) and o.due <= now()
)`,
};

const TAKE_STRAYS: Statement = {
  name: "take_strays",
  text: `
with due as materialized (
  select key from object where group_id = (select id from cluster_group where name = $1) and due <= now() and kind <> 'anchor'
  order by due limit $2 for update skip locked
)
update object o set due = now() + make_interval(secs => $3) from due where o.key = due.key
returning o.run_id, o.kind, o.name, o.uid, o.hold_until`,
};

const TAKE_ANCHORS: Statement = {
  name: "take_anchors",
  text: `
with due as materialized (
  select key from object where group_id = (select id from cluster_group where name = $1) and due <= now() and kind = 'anchor'
  order by due limit $2 for update skip locked
), taken as (
  update object o set due = date_trunc('milliseconds', clock_timestamp()) + make_interval(secs => $3) from due where o.key = due.key returning o.*
)
select ${ANCHOR_COLUMNS}, not exists (
    select from attempt a join run r on r.key = a.run_key
    where r.id = o.run_id and a.state <> 'done' and (a.notes ->> 'anchor')::integer = o.number
  ) as clear, clock_timestamp() as now
from taken o join cluster_group og on og.id = o.group_id order by o.key`,
};

const ANCHORS_IN: Statement = {
  name: "anchors_in",
  text: `select run_id as run, number, state, namespace from object
    where group_id = (select id from cluster_group where name = $1) and kind = 'anchor' and due < 'infinity'`,
};

const ADD_STRAY: Statement = {
  name: "add_stray",
  text: `
with added as (
  insert into object (run_id, kind, group_id, name, uid, hold_until, due)
  select $1, $2, g.id, $4, $5, now(), now() from cluster_group g where g.name = $3
  on conflict (group_id, uid, kind) do nothing returning 1
)
select pg_notify('${CHANNEL}', 'strays') where exists (select from added)`,
};

const SETTLE_STRAY: Statement = {
  name: "settle_stray",
  text: "delete from object where group_id = (select id from cluster_group where name = $1) and uid = $2 and kind = $3",
};

/** Finds the standing attempts first: in the order of the keys, Postgres would read all attempts that ever existed. */
const STANDING: Statement = {
  name: "standing",
  text: `
with standing as materialized (
  select key from attempt
  where group_id = (select id from cluster_group where name = $1) and state in ${inList(STANDING_STATES)}
    and due is not null
), page as materialized (
  select key from standing where key > $2 order by key limit $3
)
select ${ATTEMPT_COLUMNS}, r.id as run_id from page join attempt a on a.key = page.key join run r on r.key = a.run_key ${ATTEMPT_GROUP}
order by a.key`,
};
const STANDING_PAGE = 500;

const workOf = (row: WorkColumns): Work => ({
  attempt: attemptOf(row),
  run: {
    id: row.run_id,
    tenant: row.tenant,
    generation: row.run_generation,
    plan: planOf(row.plan),
    steps: row.steps,
    cancel: row.cancel ?? undefined,
  },
  request: row.spec,
  nowMs: row.now,
  ...(row.secrets !== null && { sealed: row.secrets }),
  ...(row.anchor_number !== null && row.group_name !== null && { anchor: anchorIn(row, row.anchor_number, row.group_name) }),
});

/** An attempt that is placed is in the group of its anchor. */
const anchorIn = (row: WorkColumns, number: number, group: GroupName): Anchor =>
  anchorOf({
    run_id: row.run_id,
    number,
    state: row.anchor_state,
    group_name: group,
    namespace: row.anchor_namespace,
    bytes: row.anchor_bytes,
    uid: row.anchor_uid,
    hold_until: row.anchor_hold_until,
    due: row.anchor_due,
  });

export function takeQueries(database: Database) {
  return {
    claim: async ({ group, most, by, forMs }: Parameters<Ledger["claim"]>[0]): Promise<readonly Work[]> =>
      (await database.all<WorkColumns>(CLAIM, [group, most, by, forMs / 1000])).map(workOf),

    take: async ({ state, group, most, leaseMs }: Parameters<Ledger["take"]>[0]): Promise<readonly Work[]> =>
      (await database.all<WorkColumns>(TAKE, [group, state, most, leaseMs / 1000])).map(workOf),

    due: async (groups: readonly GroupName[]): Promise<readonly WorkKind[]> => {
      const rows = await database.all<{ what: AttemptState | "stray" }>(DUE_NOW, [groups, Object.keys(KINDS_DUE)]);
      return rows.flatMap(({ what }) => (what === "stray" ? ["strays" as const] : (KINDS_DUE[what] ?? [])));
    },

    takeStrays: async ({ group, most, leaseMs }: Parameters<Ledger["takeStrays"]>[0]): Promise<readonly StrayWork[]> => {
      const rows = await database.all<StrayColumns>(TAKE_STRAYS, [group, most, leaseMs / 1000]);
      return rows.map(({ run_id: run, kind, name, uid, hold_until: holdUntilMs }) => ({
        run,
        kind,
        group,
        name,
        uid,
        holdUntilMs,
      }));
    },
    takeAnchors: async ({ group, most, leaseMs }: Parameters<Ledger["takeAnchors"]>[0]): Promise<readonly AnchorWork[]> => {
      const rows = await database.all<AnchorColumns & { clear: boolean; now: number }>(TAKE_ANCHORS, [
        group,
        most,
        leaseMs / 1000,
      ]);
      return rows.map((row) => ({ run: row.run_id, anchor: anchorOf(row), isClear: row.clear, nowMs: row.now }));
    },
    /**
     * The new row has no fence, since the caller knows of none. If the stray is already recorded, its row and its fence stay.
     */
    addStray: async ({ run, kind, group, name, uid }: Omit<StrayWork, "holdUntilMs">): Promise<void> => {
      if ((await database.all(ADD_STRAY, [run, kind, group, name, uid])).length > 0) database.announce(["strays"]);
    },
    settleStray: async ({ group, uid, kind }: StrayWork): Promise<void> => {
      await database.all(SETTLE_STRAY, [group, uid, kind]);
    },

    anchors: async (group: GroupName) => await database.all<KnownAnchor>(ANCHORS_IN, [group]),
    standing: async <T>(group: GroupName, keep: (standing: Standing) => T): Promise<readonly T[]> => {
      const kept: T[] = [];
      for (let after = "0"; ; ) {
        const rows = await database.all<AttemptColumns & { readonly run_id: RunId }>(STANDING, [group, after, STANDING_PAGE]);
        for (const row of rows) kept.push(keep({ run: row.run_id, attempt: attemptOf(row) }));
        const last = rows.at(-1);
        if (last === undefined || rows.length < STANDING_PAGE) return kept;
        after = last.key;
      }
    },
  };
}

interface StrayColumns {
  readonly run_id: RunId;
  readonly kind: StrayWork["kind"];
  readonly name: string;
  readonly uid: Uid;
  readonly hold_until: number;
}

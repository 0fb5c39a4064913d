/**
 * What the pages for operators ask: what of ours is in each group, and how the whole of it is.
 *
 * The failure this prevents: a page that reads the whole ledger at each look. Every query here reads what is unfinished, and none
 * reads runs that are over.
 */
import type { GroupName, RunId } from "@longshore/contract/ids.ts";
import type { WaitWord } from "@longshore/contract/messages/waiting.ts";
import { PLACED_STATES } from "@longshore/domain/group/group.ts";
import type { AttemptState } from "@longshore/domain/run/record.ts";
import type { AtWork, LedgerHealth, Waiting } from "../pages.ts";
import { type Database, inList, type Statement } from "./connection.ts";
import { OUTBOX_LEASE } from "./write.ts";

/** The hold of an attempt whose create may still land stays on purpose: its age says nothing. */
const AT_WORK: Statement = {
  name: "at_work",
  text: `
select g.name, a.state, count(*)::integer as n, (count(*) filter (where a.uid is not null))::integer as held,
  min((a.outcome->>'endedAtMs')::float8) filter (where a.uid is not null and (a.unanswered = '{}' or a.fence_until <= now())) as oldest
from attempt a join cluster_group g on g.id = a.group_id
where a.state in ${inList(PLACED_STATES)} and a.due is not null group by g.name, a.state`,
};

/** More waiting attempts than these are not looked at: each has its own list of groups. */
const LOOKED_AT_MOST = 10_000;

const PASSED_OVER: Statement = {
  name: "passed_over",
  text: `
select it->>'group' as name, count(*)::integer as n, min(since) as since
from (
  select notes->'considered' as considered, (notes->>'waitsSinceMs')::float8 as since from attempt where state = 'waiting' limit ${LOOKED_AT_MOST}
) a, jsonb_array_elements(considered) as it group by 1`,
};

const WAITING: Statement = {
  name: "waiting_by_reason",
  text: `
select notes->>'waiting' as reason, count(*)::integer as n, min((notes->>'waitsSinceMs')::float8) as since,
  (array_agg(r.id order by (notes->>'waitsSinceMs')::float8))[1] as oldest
from attempt a join run r on r.key = a.run_key where a.state = 'waiting' group by 1 order by 3`,
};

const LAUNCHERS: Statement = {
  name: "launchers",
  text: "select distinct owner from lease where until > clock_timestamp() order by owner",
};

const HAS_LAUNCHER: Statement = {
  name: "has_launcher",
  text: `select exists (select from lease where starts_with(what, '${OUTBOX_LEASE}') and until > clock_timestamp()) as yes`,
};

export const hasLauncher = async (database: Database): Promise<boolean> =>
  (await database.all<{ readonly yes: boolean }>(HAS_LAUNCHER))[0]?.yes === true;

const DEEDS_MOST = 100;

/** The newest deed of the console that has an answer: whether the launcher named the person, or would not take it from us. */
const HONOURED: Statement = {
  name: "honoured",
  text: `
select answer from (
  select a.key, case when a.deed = 'run' then (
    select case when e.body->'actor' is null then 'anonymous' else 'named' end
    from run r join event e on e.run_key = r.key and e.seq = 1 where r.id = a.about and r.source = $1
  ) when exists (
    select from notice n where n.type = 'command.refused' and n.body->>'command' = a.command and n.body->'problems'->0->>'code' = 'PolicyRefused'
  ) then 'refused' when exists (
    select from command c where c.source = $1 and c.id = a.command and c.kind in ('pause', 'resume')
  ) then 'named' end as answer
  from (select * from audit where not is_denied order by key desc limit ${DEEDS_MOST}) a
) it where answer is not null order by key desc limit 1`,
};

interface AtWorkColumns {
  readonly name: GroupName;
  readonly state: Exclude<AttemptState, "waiting" | "done">;
  readonly n: number;
  readonly held: number;
  readonly oldest: number | null;
}

interface Passed {
  readonly name: GroupName;
  readonly n: number;
  readonly since: number | null;
}

interface WaitingColumns {
  readonly reason: WaitWord | null;
  readonly n: number;
  readonly since: number;
  readonly oldest: RunId;
}

/** Returns what is in each group that has anything. */
export async function groupsAtWork(database: Database): Promise<ReadonlyMap<GroupName, AtWork>> {
  const [rows, passed] = await Promise.all([database.all<AtWorkColumns>(AT_WORK), database.all<Passed>(PASSED_OVER)]);
  const names = new Set([...rows, ...passed].map(({ name }) => name));
  return new Map(
    [...names].map((name) => {
      const own = rows.filter((it) => it.name === name);
      const count = (state: AtWorkColumns["state"]): number => own.find((it) => it.state === state)?.n ?? 0;
      const ended = own.find(({ state }) => state === "ended");
      const waits = passed.find((it) => it.name === name);
      return [
        name,
        {
          left: {
            ready: count("ready"),
            claimed: count("claimed"),
            live: count("live"),
            closing: count("closing"),
            ended: ended?.n ?? 0,
          },
          finishedHolds: { count: ended?.held ?? 0, oldestMs: ended?.oldest ?? undefined },
          waiting: { count: waits?.n ?? 0, sinceMs: waits?.since ?? undefined },
        },
      ];
    }),
  );
}

/** `source`: the source of the console's commands. */
export async function healthOf(database: Database, source: string): Promise<Omit<LedgerHealth, "counts">> {
  const [waiting, launchers, [deed]] = await Promise.all([
    database.all<WaitingColumns>(WAITING),
    database.all<{ readonly owner: string }>(LAUNCHERS),
    database.all<{ readonly answer: LedgerHealth["deeds"] }>(HONOURED, [source]),
  ]);
  return {
    waiting: waiting.map(
      ({ reason, n, since, oldest }): Waiting => ({ reason: reason ?? undefined, count: n, sinceMs: since, oldest }),
    ),
    launchers: launchers.map(({ owner }) => owner),
    deeds: deed?.answer,
  };
}

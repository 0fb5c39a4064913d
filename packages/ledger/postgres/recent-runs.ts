/** The newest runs of many definitions, for cards: one look at an index for each definition, whatever else the ledger holds. */
import type { DefinitionName, RunId } from "@longshore/contract/ids.ts";
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { Reach } from "@longshore/domain/access/access.ts";
import type { RunState } from "@longshore/domain/run/record.ts";
import type { Person, RecentRun } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";
import { reachedBy, toReach } from "./reach.ts";
import { type NewestColumns, newestOf } from "./rows.ts";

const RECENT: Statement = {
  name: "recent-runs",
  text: `
select d.name as definition, r.id, r.state, r.outcome, r.accepted_at, r.ended_at, asked.actor, began.at as started_at, r.reached,
  newest.type as newest, newest.body->>'reason' as reason, newest.body->'diagnosis'->>'code' as code
from unnest($1::text[]) as d (name)
cross join lateral (
  select r.*, ${reachedBy(3)} as reached from run r where r.definition = d.name order by r.key desc limit $2
) r
left join lateral (select e.body->'actor' as actor from event e where e.run_key = r.key and e.seq = 1) asked on true
left join lateral (
  select min(e.at) as at from event e where e.run_key = r.key and e.type = 'run.started' and e.generation = r.generation
) began on true
left join event newest on newest.run_key = r.key and newest.seq = r.seq
order by d.name, r.key desc`,
};

interface Columns extends NewestColumns {
  readonly definition: DefinitionName;
  readonly id: RunId;
  readonly state: RunState;
  readonly outcome: Outcome | null;
  readonly accepted_at: number;
  readonly ended_at: number | null;
  readonly actor: Person | null;
  readonly started_at: number | null;
  readonly reached: boolean;
}

export async function recentRuns(
  database: Database,
  definitions: readonly DefinitionName[],
  { most, reach }: { readonly most: number; readonly reach: Reach },
): Promise<ReadonlyMap<DefinitionName, readonly RecentRun[]>> {
  const rows = await database.all<Columns>(RECENT, [definitions, most, toReach(reach)]);
  return Map.groupBy(rows.map(recentOf), ({ definition }) => definition);
}

const recentOf = (row: Columns): RecentRun => ({
  definition: row.definition,
  id: row.id,
  state: row.state,
  outcome: row.outcome ?? undefined,
  acceptedAtMs: row.accepted_at,
  endedAtMs: row.ended_at ?? undefined,
  isReached: row.reached,
  by: row.actor ?? undefined,
  startedAtMs: row.started_at ?? undefined,
  newest: newestOf(row),
});

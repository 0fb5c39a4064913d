/**
 * How the newest runs of a definition went, and how runs ended by the hour, for people.
 *
 * The failure this prevents: a rate that counts a run twice, because it was restarted. Only the newest endings are looked at, by their
 * index, whatever else the ledger holds. As on a card, those out of reach are counted all the same, and never named.
 */
import type { DefinitionName, RunId } from "@longshore/contract/ids.ts";
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { Reach } from "@longshore/domain/access/access.ts";
import type { HourOfEnds, HowItWent, RecentEnding } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";
import { reachedBy, toReach } from "./reach.ts";

/** The newest runs of a definition that are taken for how it goes now. */
const ENDINGS_MOST = 50;

const NEWEST = (definition: string, columns: string): string => `
  select ${columns} from ending n join run r on r.key = n.run_key and r.generation = n.generation and r.outcome = n.outcome
  where n.definition = ${definition} order by n.run_key desc limit ${ENDINGS_MOST}`;

/** A run that was stopped says nothing of whether the job works. */
export const WENT: Statement = {
  name: "how_it_went",
  text: `
select d.name as definition, w.* from unnest($1::text[]) as d (name) cross join lateral (
  select (count(*) filter (where outcome <> 'cancelled'))::integer as n, (count(*) filter (where outcome = 'succeeded'))::integer as succeeded,
    count(seconds) filter (where outcome = 'succeeded')::integer as timed,
    percentile_disc(0.5) within group (order by seconds) filter (where outcome = 'succeeded') as p50,
    percentile_disc(0.95) within group (order by seconds) filter (where outcome = 'succeeded') as p95,
    max(ended_at) filter (where outcome = 'succeeded') as last_success
  from (${NEWEST("d.name", "n.outcome, n.seconds, n.ended_at")}) newest
) w`,
};

interface WentColumns {
  readonly definition: DefinitionName;
  readonly n: number;
  readonly succeeded: number;
  readonly timed: number;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly last_success: number | null;
}

export const ENDINGS: Statement = {
  name: "recent_endings",
  text: NEWEST("$1", `r.id, n.outcome, n.seconds, n.ended_at, ${reachedBy(2)} as reached`),
};

interface EndingColumns {
  readonly id: RunId;
  readonly outcome: Outcome;
  readonly seconds: number | null;
  readonly ended_at: number;
  readonly reached: boolean;
}

const HOURS: Statement = {
  name: "hours",
  text: `
select at, outcome, code, blame, sum(n)::float8 as n from hour
where at > date_trunc('hour', now()) - make_interval(hours => $1) group by at, outcome, code, blame order by at`,
};

interface HourColumns extends Omit<HourOfEnds, "atMs"> {
  readonly at: number;
}

const msOf = (seconds: number | null): number | undefined => (seconds === null ? undefined : seconds * 1000);

export function endingQueries(database: Database) {
  return {
    howItWent: async (definitions: readonly DefinitionName[]): Promise<ReadonlyMap<DefinitionName, HowItWent>> => {
      const rows = await database.all<WentColumns>(WENT, [definitions]);
      return new Map(rows.map((row) => [row.definition, wentOf(row)]));
    },
    endings: async (definition: DefinitionName, reach: Reach): Promise<readonly RecentEnding[]> => {
      const rows = await database.all<EndingColumns>(ENDINGS, [definition, toReach(reach)]);
      return rows.map(({ id, outcome, seconds, ended_at: endedAtMs, reached }) => ({
        id: reached ? id : undefined,
        outcome,
        lastedMs: msOf(seconds),
        endedAtMs,
      }));
    },
    hours: async (most: number): Promise<readonly HourOfEnds[]> =>
      (await database.all<HourColumns>(HOURS, [most])).map(({ at, ...it }) => ({ atMs: at, ...it })),
  };
}

const wentOf = ({ n, succeeded, timed, p50, p95, last_success: lastSuccess }: WentColumns): HowItWent => ({
  n,
  succeeded,
  timed,
  halfWithinMs: msOf(p50),
  mostWithinMs: msOf(p95),
  lastSuccessMs: lastSuccess ?? undefined,
});

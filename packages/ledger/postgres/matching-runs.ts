/**
 * The runs that a deed on many at once is done to.
 *
 * The failure this prevents: a deed on more runs than were counted, because others came between the two. Both ask up to the same
 * key, and no more than `most` are answered.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { MatchingRun, RunMatch } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";
import { MATCHES, matchValues, NEWEST_KEY } from "./listed-runs.ts";
import { reachedBy, toReach } from "./reach.ts";
import { RUN_GROUP } from "./rows.ts";

const matching = (state: RunMatch["state"]): Statement => ({
  name: `matching_${state}`,
  text: `
select r.key, r.id, r.generation from run r ${RUN_GROUP}
where r.state = '${state}' and r.key <= $1 and ${MATCHES} and ${reachedBy(13)} and ${reachedBy(14)}
order by r.key desc limit $12`,
});
const MATCHING = { active: matching("active"), ended: matching("ended") } as const;

interface Columns {
  readonly key: string;
  readonly id: RunId;
  readonly generation: number;
}

export async function matchingRuns(database: Database, match: RunMatch): Promise<readonly MatchingRun[]> {
  const { upTo = NEWEST_KEY, most, state, also } = match;
  const values = [upTo, ...matchValues(match), most, ...also.map(toReach)];
  return (await database.all<Columns>(MATCHING[state], values)).map(({ key, ...run }) => ({ ...run, cursor: key }));
}

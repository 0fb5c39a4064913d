/**
 * A person's reach as a condition of a query, so that what they may not see is not even read.
 *
 * It must agree with `reaches` of the domain; pages.test.ts holds them together.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { Reach } from "@longshore/domain/access/access.ts";
import type { Database, Statement } from "./connection.ts";
import { ACTOR } from "./work/tags.ts";

/** True of the rows of `run` (under the name `r`) that the asker of the reach in the parameter `$at` asked for. */
export const askedByMe = (at: number): string =>
  `exists (select from tag where tag.run_key = r.key and tag.name = '${ACTOR}' and tag.value = $${at}::jsonb->>'me')`;

/** True of the rows of `run` (under the name `r`) that the reach in the parameter `$at` covers. */
export const reachedBy = (at: number): string => `(
  exists (select from ${extents(`$${at}`, "all")} where ${COVERED})
  or ${askedByMe(at)}
    and exists (select from ${extents(`$${at}`, "own")} where ${COVERED}))`;

/**
 * True if the reach in the parameter `$at` covers all that is of this tenant, with no limit on definitions: what belongs to no run
 * is of no definition, so that no narrower rule can cover it.
 */
export const coversTenant = (at: number, tenant: string): string =>
  `exists (select from ${extents(`$${at}`, "all")} where x.definitions is null and (x.tenants is null or ${tenant} = any(x.tenants)))`;

const extents = (reach: string, which: keyof Reach): string =>
  `jsonb_to_recordset(${reach}::jsonb->'${which}') as x(definitions text[], tenants text[])`;

const COVERED = `(x.tenants is null or r.tenant = any(x.tenants)) and (x.definitions is null or exists (
    select from unnest(x.definitions) as p(name)
    where case when right(p.name, 1) = '*' then starts_with(r.definition, left(p.name, -1)) else r.definition = p.name end))`;

export const toReach = (reach: Reach): string => JSON.stringify(reach);

const IS_REACHED: Statement = {
  name: "is_reached",
  text: `select from run r where r.id = $1 and r.state <> 'tombstone' and ${reachedBy(2)}`,
};

export const isReached = async (database: Database, run: RunId, reach: Reach): Promise<boolean> =>
  (await database.all(IS_REACHED, [run, toReach(reach)])).length > 0;

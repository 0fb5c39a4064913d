/**
 * Why requests made no run: their refusals, as long as they are kept (NOTICE_MS).
 *
 * The failure this prevents: a refusal that tells a person of a request whose run they could not have seen. A refused request is of
 * no definition, so only those see it who may see all runs of its tenant.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import type { Pages, RefusedRequest, Refusal } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";
import { coversTenant, toReach } from "./reach.ts";

const NEWEST: Statement = {
  name: "refusal",
  text: `select at, body->'problems' as problems from notice
    where type = 'command.refused' and body->>'run' = $1 order by at desc limit 1`,
};

export async function newestRefusal(database: Database, run: RunId): Promise<Refusal | undefined> {
  const [row] = await database.all<{ readonly at: number; readonly problems: readonly CommandProblem[] }>(NEWEST, [run]);
  return row && { atMs: row.at, problems: row.problems };
}

/** A cursor is the row's time to the microsecond, and its id: a time of ours has milliseconds only. */
const LIST: Statement = {
  name: "refusals",
  text: `
select n.at, n.body->>'run' as run, n.body->>'command' as command, n.body->'problems' as problems,
  to_char(n.at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') || n.id as cursor
from notice n
where n.type = 'command.refused' and n.at > now() - interval '7 days' and ${coversTenant(1, "n.tenant")}
  and ($2::text is null or (n.at, n.id) < (left($2, 27)::timestamptz, substr($2, 28)))
order by n.at desc, n.id desc limit $3`,
};

interface Columns {
  readonly at: number;
  readonly run: string | null;
  readonly command: string;
  readonly problems: readonly CommandProblem[];
  readonly cursor: string;
}

export async function refusedRequests(
  database: Database,
  { reach, before, most }: Parameters<Pages["refusals"]>[0],
): Promise<readonly RefusedRequest[]> {
  const rows = await database.all<Columns>(LIST, [toReach(reach), before ?? null, most]);
  return rows.map(({ at, run, command, problems, cursor }) => ({ atMs: at, run: run ?? undefined, command, problems, cursor }));
}

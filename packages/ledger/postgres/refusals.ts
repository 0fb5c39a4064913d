/** Why a request made no run: its refusal, as long as it is kept (NOTICE_MS). */
import type { RunId } from "@longshore/contract/ids.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import type { Refusal } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";

const NEWEST: Statement = {
  name: "refusal",
  text: `select at, body->'problems' as problems from notice
    where type = 'command.refused' and body->>'run' = $1 order by at desc limit 1`,
};

export async function newestRefusal(database: Database, run: RunId): Promise<Refusal | undefined> {
  const [row] = await database.all<{ readonly at: number; readonly problems: readonly CommandProblem[] }>(NEWEST, [run]);
  return row && { atMs: row.at, problems: row.problems };
}

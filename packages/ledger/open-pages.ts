/** The console's connection to the ledger. It migrates nothing, and of runs it only reads. */
import type { Installation } from "@longshore/contract/ids.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Pages } from "./pages.ts";
import { openDatabase } from "./postgres/connection.ts";
import { definitionQueries } from "./postgres/definitions.ts";
import { recentRuns } from "./postgres/recent-runs.ts";
import { runQueries } from "./postgres/runs.ts";
import { epochOf, prepareSchema } from "./postgres/schema/version.ts";
import { signInQueries } from "./postgres/sign-ins.ts";

export interface PagesOptions {
  /** postgres://user:password@host:5432/database */
  readonly url: string;
  readonly installation: Installation;
  readonly log: Log;
  readonly poolMax?: number;
}

export async function openPages({ url, installation, log, poolMax = 4 }: PagesOptions): Promise<Pages> {
  const database = openDatabase(url, { poolMax, log });
  try {
    await prepareSchema(database, url, { migrate: false });
    await epochOf(database, installation);
    const { find, list, story, now } = runQueries(database);
    const { definition, definitions } = definitionQueries(database);
    return {
      installation,
      ...{ find, list, story, now, definition, definitions },
      recent: (names, most) => recentRuns(database, names, most),
      signIns: signInQueries(database),
      [Symbol.asyncDispose]: () => database.close(),
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

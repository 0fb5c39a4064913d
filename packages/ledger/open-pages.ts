/** The console's connection to the ledger. It migrates nothing, and of runs it only reads. */
import type { Pages } from "./pages.ts";
import { definitionQueries } from "./postgres/definitions.ts";
import { type MadeOptions, openMade } from "./postgres/open-made.ts";
import { recentRuns } from "./postgres/recent-runs.ts";
import { runQueries } from "./postgres/runs.ts";
import { signInQueries } from "./postgres/sign-ins.ts";

export const openPages = (options: MadeOptions): Promise<Pages> =>
  openMade(options, (database) => {
    const { find, list, story, now } = runQueries(database);
    const { definition, definitions } = definitionQueries(database);
    return {
      installation: options.installation,
      ...{ find, list, story, now, definition, definitions },
      recent: (names, most) => recentRuns(database, names, most),
      signIns: signInQueries(database),
      [Symbol.asyncDispose]: () => database.close(),
    };
  });

/** The console's connection to the ledger. It migrates nothing, and of runs it only reads. */
import type { Pages } from "./pages.ts";
import { auditQueries } from "./postgres/audit.ts";
import { definitionQueries } from "./postgres/definitions.ts";
import { toldQueries } from "./postgres/events/told.ts";
import { findRuns } from "./postgres/listed-runs.ts";
import { groupQueries } from "./postgres/groups.ts";
import { matchingRuns } from "./postgres/matching-runs.ts";
import { type MadeOptions, openMade } from "./postgres/open-made.ts";
import { groupsAtWork, hasLauncher, healthOf } from "./postgres/operated.ts";
import { isReached } from "./postgres/reach.ts";
import { endingQueries } from "./postgres/recent-endings.ts";
import { recentRuns } from "./postgres/recent-runs.ts";
import { newestRefusal, refusedRequests } from "./postgres/refusals.ts";
import { runQueries } from "./postgres/runs.ts";
import { signInQueries } from "./postgres/sign-ins.ts";
import { tokenQueries } from "./postgres/tokens.ts";

/** The source of the console's commands. */
export const SOURCE = "/longshore/console";

export const openPages = (options: MadeOptions): Promise<Pages> =>
  openMade(options, (database) => {
    const { find, story, now, counts } = runQueries(database);
    const { groups } = groupQueries(database, options.installation);
    const { definition, definitions } = definitionQueries(database);
    return {
      installation: options.installation,
      ...{ find, groups, story, now, definition, definitions },
      ...endingQueries(database),
      recent: (names, how) => recentRuns(database, names, how),
      isReached: (run, reach) => isReached(database, run, reach),
      refusal: (run) => newestRefusal(database, run),
      refusals: (how) => refusedRequests(database, how),
      events: toldQueries(database),
      matching: (match) => matchingRuns(database, match),
      search: (search) => findRuns(database, search),
      atWork: () => groupsAtWork(database),
      hasLauncher: () => hasLauncher(database),
      health: async () => ({ counts: await counts(), ...(await healthOf(database, SOURCE)) }),
      audit: auditQueries(database, SOURCE),
      signIns: signInQueries(database),
      tokens: tokenQueries(database),
      [Symbol.asyncDispose]: () => database.close(),
    };
  });

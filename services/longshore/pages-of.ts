/** The console's view of the ledger, for commands that ask of it what no other view has. */
import { openPages } from "@longshore/ledger/open-pages.ts";
import type { Pages } from "@longshore/ledger/pages.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import type { Longshore } from "./which-longshore.ts";

export const pagesOf = ({ ledgerUrl: url, installation }: Pick<Longshore, "ledgerUrl" | "installation">): Promise<Pages> =>
  openPages({ url, installation, log: silentLog, poolMax: 1 });

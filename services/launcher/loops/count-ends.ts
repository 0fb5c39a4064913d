/**
 * Counts how runs ended, and by whose doing, into the ledger's hours and into the metric.
 *
 * The bug this prevents: an end in two launchers' metrics, after which their sum, which alerts use, is too high. The ledger gives each
 * end to one caller. If that launcher dies before its next scrape, the metric lacks the end, and the hours have it.
 */
import type { Parts } from "../parts.ts";
import { drain, retryLoop } from "./retry-loop.ts";

const EVENTS_MOST = 5_000;
const LEASE = "count ends";

export function countEnds({ ledger, metrics, owner, timing, ...parts }: Parts) {
  const { lookMs: ms } = timing;
  return (signal: AbortSignal): Promise<void> =>
    retryLoop(parts, { what: LEASE, ms, signal }, async (signal) => {
      if (!(await ledger.lease(LEASE, owner, 2 * ms))) return;
      await drain(signal, async () => {
        const { ends, more } = await ledger.countEnds(EVENTS_MOST);
        // The group of a run that never came to one is "-".
        for (const { group = "-", outcome, code, blame, n } of ends)
          metrics.count("longshore_runs_finished_total", { group, outcome, code, blame }, n);
        return more;
      });
    });
}

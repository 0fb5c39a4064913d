/**
 * Wakes the loops that have work due now. The ledger hints at what was written, but nothing hints at time that has passed, and a
 * loop that was busy misses a wake-up.
 *
 * The bug this prevents: an idle launcher that costs the ledger a hundred questions a second, because each loop of each group asks
 * whether there is work. Each loop still looks by itself every `lookMs`.
 */
import type { Loop } from "@longshore/runtime/loop.ts";
import type { Parts } from "../parts.ts";
import { retryLoop } from "./retry-loop.ts";

export function wake(parts: Parts): Loop {
  const { ledger, wakeUps, clusters, timing } = parts;
  const groups = [...clusters.keys()];
  return (signal) =>
    retryLoop(parts, { what: "wake", ms: timing.pollMs, signal }, async () => {
      for (const kind of await ledger.due(groups)) wakeUps[kind].wake();
    });
}

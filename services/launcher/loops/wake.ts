/**
 * Rings for what has become due: nobody else tells of time that has passed, and a bell that rang while a loop was busy is lost to it.
 *
 * The bug this prevents: a launcher that does nothing and costs the ledger a hundred questions a second, since each loop of each of
 * its groups asks whether there is work. Each of them still looks by itself, now and then.
 */
import type { Loop } from "@longshore/runtime/loop.ts";
import type { Parts } from "../parts.ts";
import { steadily } from "./retry-loop.ts";

export function wake(parts: Parts): Loop {
  const { ledger, bells, clusters, timing } = parts;
  const groups = [...clusters.keys()];
  return (signal) =>
    steadily(parts, { what: "wake", ms: timing.pollMs, signal }, async () => {
      for (const bell of await ledger.due(groups)) bells[bell].ring();
    });
}

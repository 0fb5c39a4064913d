/**
 * A create arrives at the cluster, its answer is lost, and the launcher lives on or dies at that moment. (Fault 5 in
 * GUARANTEES.md.)
 */
// runs at most 12 min
import t from "tap";
import { repliesAreLost, wired } from "./bodies/reply-lost.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using it = await wired();
await repliesAreLost(t, it, { kills: 20 });

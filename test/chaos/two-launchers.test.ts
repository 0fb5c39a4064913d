/**
 * Two launchers on one ledger: both work, one is frozen until after its claims' end, one is asked to stop. (Faults 7, 8, 65 in
 * GUARANTEES.md.)
 */
import t from "tap";
import { openSystem } from "../harness/system.ts";
import { twoLaunchers } from "./bodies/two-launchers.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using system = await openSystem();
await twoLaunchers(t, system);

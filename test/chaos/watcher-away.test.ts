/** The watcher is away, dies with an unconfirmed fact, or runs twice. (Faults 11, 12, 24 in GUARANTEES.md.) */
import t from "tap";
import { openSystem } from "../harness/system.ts";
import { watcherIsAway } from "./bodies/watcher-away.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using system = await openSystem();
await watcherIsAway(t, system);

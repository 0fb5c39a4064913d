/** The parts that the controllers and the server share. */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Store } from "../server/store.ts";
import type { Agenda } from "./agenda.ts";
import type { Delays } from "./delays.ts";

export interface Parts {
  readonly store: Store;
  readonly clock: Clock;
  readonly agenda: Agenda;
  readonly delays: Delays;
}

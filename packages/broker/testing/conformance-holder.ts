/** A process for the conformance suite: takes a number of messages, reports that, settles none, and waits to be killed. */
import { once } from "node:events";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import type { Names } from "../settings.ts";
import { openBroker } from "../brokers.ts";

if (import.meta.main) {
  const [{ url, names, count }] = (await once(process, "message")) as [{ url: string; names: Names; count: number }];
  process.once("disconnect", () => process.exit()); // the test is gone
  const broker = await openBroker({ url, names, log: silentLog, clock: systemClock });
  const deliveries = broker.receive("commands", { inFlightMax: count, signal: new AbortController().signal });
  for (let n = 0; n < count; n++) await deliveries.next();
  process.send?.("holding");
}

/**
 * The recorder's connection to the ledger. It migrates nothing and writes nothing but what sinks were told: the role that
 * `longshore ledger roles` prints for it allows no more.
 */
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Deliveries } from "./deliveries.ts";
import { openChanges } from "./postgres/changes.ts";
import { deliveryQueries } from "./postgres/events/deliveries.ts";
import { serverOf } from "./postgres/events/feed.ts";
import { type MadeOptions, openMade } from "./postgres/open-made.ts";

export const openDeliveries = (options: MadeOptions): Promise<Deliveries> =>
  openMade(options, async (database) => {
    const { url, log } = options;
    const changes = openChanges(url, { clock: systemClock, log, isOwn: () => false, kinds: ["outbox"] });
    return {
      ...deliveryQueries(database, { server: await serverOf(database), log }),
      changes: (signal) => changes.listen(signal),
      [Symbol.asyncDispose]: async () => {
        await changes.close();
        await database.close();
      },
    };
  });

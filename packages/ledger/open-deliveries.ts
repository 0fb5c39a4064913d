/**
 * The recorder's connection to the ledger. It migrates nothing and writes nothing but what sinks were told: the role that
 * `longshore ledger roles` prints for it allows no more.
 */
import type { Installation } from "@longshore/contract/ids.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Deliveries } from "./deliveries.ts";
import { openChanges } from "./postgres/changes.ts";
import { openDatabase } from "./postgres/connection.ts";
import { deliveryQueries } from "./postgres/events/deliveries.ts";
import { serverOf } from "./postgres/events/feed.ts";
import { epochOf, prepareSchema } from "./postgres/schema/version.ts";

export interface DeliveriesOptions {
  /** postgres://user:password@host:5432/database */
  readonly url: string;
  readonly installation: Installation;
  readonly log: Log;
  readonly poolMax?: number;
}

export async function openDeliveries({ url, installation, log, poolMax = 4 }: DeliveriesOptions): Promise<Deliveries> {
  const database = openDatabase(url, { poolMax, log });
  try {
    await prepareSchema(database, url, { migrate: false });
    await epochOf(database, installation);
    const changes = openChanges(url, { clock: systemClock, log, isOwn: () => false, kinds: ["outbox"] });
    return {
      ...deliveryQueries(database, { server: await serverOf(database), log }),
      changes: (signal) => changes.listen(signal),
      [Symbol.asyncDispose]: async () => {
        await changes.close();
        await database.close();
      },
    };
  } catch (error) {
    await database.close();
    throw error;
  }
}

/**
 * Makes what the slower tiers need before their first test, so that no test's time is spent on a build.
 *
 *   node test/harness/prepare.ts brokers | clusters
 */
import { toStderr } from "./cached.ts";
import { nodePrograms } from "./kubernetes/node-programs.ts";
import { askedVersion, programs } from "./kubernetes/programs.ts";
import { natsServer } from "./nats.ts";
import { bringRabbitmq } from "./rabbitmq.ts";

async function prepare(what: string | undefined): Promise<void> {
  switch (what) {
    case "brokers":
      await bringRabbitmq("4.0", toStderr);
      await bringRabbitmq("3.10", toStderr);
      await natsServer();
      return;
    case "clusters":
      await programs(askedVersion());
      if (process.getuid?.() === 0) await nodePrograms();
      return;
    case undefined:
    default:
      throw new Error(`prepare knows "brokers" and "clusters", not "${String(what)}"`);
  }
}

if (import.meta.main) await prepare(process.argv[2]);

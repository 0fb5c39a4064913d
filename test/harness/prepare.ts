/**
 * Makes what the slower tiers need before their first test, so that no test's time is spent on a build.
 *
 *   node test/harness/prepare.ts brokers | clusters
 */
import { toStderr } from "./cached.ts";
import { programs } from "./kubernetes/programs.ts";
import { natsServer } from "./nats.ts";
import { rabbitmqRoot } from "./rabbitmq-root.ts";

const [what] = process.argv.slice(2);
if (what === "brokers") {
  await rabbitmqRoot("4.0", toStderr);
  await rabbitmqRoot("3.10", toStderr);
  await natsServer();
} else if (what === "clusters") {
  await programs();
} else {
  throw new Error(`prepare knows "brokers" and "clusters", not "${String(what)}"`);
}

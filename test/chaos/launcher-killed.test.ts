/**
 * The launcher dies at each dangerous line of its code, and another takes over. Lines at which it speaks to the broker are tried
 * on each broker, the others on one: no broker has a part in them. (Faults 2–4, 9, 10 in GUARANTEES.md.)
 */
// needs rabbitmq, nats
// runs at most 20 min
import t from "tap";
import { nats } from "../harness/nats/server.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { openSystem } from "../harness/system.ts";
import { AT_THE_BROKER, EVERYWHERE, launcherIsKilled, retryStartsInTime } from "./bodies/launcher-killed.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using natsServer = await nats();

{
  await using system = await openSystem();
  await launcherIsKilled(t, system, "on Postgres", EVERYWHERE);
  await retryStartsInTime(t, system, "on Postgres");
}
for (const [broker, brokerUrl] of [
  ["RabbitMQ", rabbit.url],
  ["NATS", natsServer.url],
] as const) {
  await using system = await openSystem({ brokerUrl });
  await launcherIsKilled(t, system, `on ${broker}`, AT_THE_BROKER);
}

/**
 * The launcher dies at each dangerous line of its code, on each broker, and another takes over. (Faults 2–4, 9, 10 in
 * GUARANTEES.md.)
 */
// needs rabbitmq, nats
// runs at most 20 min
import t from "tap";
import { nats } from "../harness/nats/server.ts";
import { rabbitmq } from "../harness/rabbitmq/server.ts";
import { openSystem } from "../harness/system.ts";
import { launcherIsKilled, retryStartsInTime } from "./bodies/launcher-killed.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using rabbit = await rabbitmq({ version: "4.0", shared: true });
await using natsServer = await nats();

for (const [broker, brokerUrl] of [
  ["Postgres", undefined],
  ["RabbitMQ", rabbit.url],
  ["NATS", natsServer.url],
] as const) {
  await using system = await openSystem(brokerUrl === undefined ? {} : { brokerUrl });
  await launcherIsKilled(t, system, `on ${broker}`);
  if (brokerUrl === undefined) await retryStartsInTime(t, system, `on ${broker}`);
}

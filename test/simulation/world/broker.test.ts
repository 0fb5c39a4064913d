/** The simulation's broker passes the suite that RabbitMQ and the broker in Postgres pass: it is no kinder than they are. */
import { brokerConformance } from "@longshore/broker/testing/conformance.ts";
import { forever, takeAll } from "@longshore/broker/testing/conformance-parts.ts";
import { NAMES } from "@longshore/broker/settings.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import { brokerModel } from "./broker.ts";

const model = brokerModel(systemClock);
model.trouble = { ...model.trouble, delayMs: [0, 2] };

await brokerConformance(t, {
  name: "the simulation's model",
  url: "",
  settled: NAMES,
  open: async (names) => model.connect({ names, withinMs: 1_000 }),
  holdAndDie: async (names, count) => {
    const line = model.connect({ names });
    await takeAll(line.receive("commands", { inFlightMax: count, signal: forever }), count);
    line.forget();
  },
  server: {
    kill: async () => model.down(),
    start: async () => model.up(),
    freeze: async () => model.freeze(),
    thaw: async () => model.thaw(),
    makeQueue: async (name) => model.declare(name),
    readQueue: async (name) => model.waiting(name).map(({ body }) => Buffer.from(body).toString()),
    quarantined: async ({ commands, facts }) =>
      model.quarantined
        .filter(({ queue }) => queue === commands || queue === facts)
        .map(({ id, body, key, problems }) => ({ id, body: Buffer.from(body).toString(), key, problems })),
    deleteQueue: async (name) => model.remove(name),
  },
});

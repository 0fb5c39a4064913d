/**
 * NATS is killed, is frozen, loses its streams, or has a MaxDeliver set by somebody, while runs are under way. (Faults 45, 46,
 * 48, 52, 54.)
 */
// needs nats
// runs at most 12 min
import { NAMES } from "@longshore/broker/settings.ts";
import { streamName } from "@longshore/broker/nats/topology.ts";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import t from "tap";
import { nats } from "../harness/nats/server.ts";
import { connected } from "../harness/nats/upstream.ts";
import { openSystem } from "../harness/system.ts";
import { brokerIsFrozen, brokerIsKilled, factsAreLost, names, queuesAreDeleted, sent } from "./bodies/broker-broken.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using natsServer = await nats();
await using system = await openSystem({ brokerUrl: natsServer.url, instant: true, jobs: 1000 });

/** An operator's connection, apart from Longshore's own. */
async function asOther<R>(work: (manager: JetStreamManager) => Promise<R>): Promise<R> {
  const connection = await connected(natsServer.url);
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}
const server = { ...natsServer, deleteQueue: (name: string) => asOther(({ streams }) => streams.delete(streamName(name))) };

await using watcher = await system.watcher();
await using launcher = await system.launcher();

await brokerIsKilled(t, system, server);
await brokerIsFrozen(t, system, server, launcher);

await launcher.stop();
await factsAreLost(t, system, server, watcher);

await using _later = await system.watcher();
await using _again = await system.launcher();
await queuesAreDeleted(t, system, server);

await t.test("somebody gives both consumers a MaxDeliver of 1 and the server is killed: no run is lost", async (t) => {
  await asOther(async ({ consumers }) => {
    for (const stream of [NAMES.commands, NAMES.facts].map(streamName)) {
      for (const { name } of await consumers.list(stream).next()) await consumers.update(stream, name, { max_deliver: 1 });
    }
  });
  const runs = names("limited", 100);
  const sending = sent(system, runs);
  await system.heard("run.launched", "limited/10");
  await natsServer.kill();
  await natsServer.start();
  await sending;
  t.same(await system.faults(runs, { withinMs: 180_000 }), []);
});

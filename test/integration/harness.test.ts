/** The servers that tests ask for have the named versions, start again on their data, and leave nothing behind. */
// runs at most 15 min
// needs nats
import t from "tap";
import { greeting, nats } from "../harness/nats/server.ts";

t.setTimeout(0);

t.test("nats: JetStream of a version that knows message lifetimes, killed and started again on the same port", async (t) => {
  await using server = await nats();
  const { version, jetstream } = await greeting(server.port);
  t.match(version, /^2\.1[2-9]\./);
  t.equal(jetstream, true);

  const first = server.pid;
  await server.kill();
  t.equal(server.pid, undefined);
  await server.start();
  t.not(server.pid, first);
  t.equal((await greeting(server.port)).version, version);
});

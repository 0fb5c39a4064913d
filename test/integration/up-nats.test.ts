/**
 * `longshore up --broker nats://…` as a person starts it: a run by `publish`, its story in the terminal, and `doctor`.
 *
 * The failure this prevents: a broker that passes every test of its adapter, and that the command line cannot use.
 */
// needs nats
import { streamName } from "@longshore/broker/nats/topology.ts";
import { jetstream } from "@nats-io/jetstream";
import t from "tap";
import { emptyFolder, longshore, longshoreUp } from "../harness/longshore.ts";
import { nats } from "../harness/nats/server.ts";
import { connected } from "../harness/nats/upstream.ts";

t.setTimeout(0); // each wait of the harness has its own bound

await using server = await nats();
await using folder = await emptyFolder();
const up = await longshoreUp(folder.path, "--broker", server.url);
t.teardown(() => up[Symbol.asyncDispose]());

await t.test("a run is published, followed to its end", async (t) => {
  const { code, out, err } = await longshore(
    folder.path,
    "publish",
    "--image",
    "busybox",
    "--follow",
    "--",
    "sh",
    "-c",
    "echo hi",
  );
  t.equal(code, 0, out + err);
  t.match(out, /succeeded/);
});

await t.test("doctor names the server, and says where what is quarantined can be read", async (t) => {
  const well = await longshore(folder.path, "doctor");
  t.match(well.out, /broker +ok +NATS 2\.\d+\.\d+ \(JetStream\), user operator; waiting: 0 commands, 0 facts/);
  const connection = await connected(server.url);
  await jetstream(connection).publish("longshore.commands.poison", "this is no command");
  for (let kept = 0; kept === 0; )
    kept = (await (await jetstream(connection).jetstreamManager()).streams.info(streamName("longshore.quarantine"))).state
      .messages;
  await connection.close();
  const ill = await longshore(folder.path, "doctor");
  t.match(ill.out, /WARN +1 message in quarantine.*\n.*nats sub --all "longshore\.quarantine\.>"/);
});

await t.test("an unreachable broker is told in one sentence before anything is up", async (t) => {
  await using another = await emptyFolder();
  const { code, err, out } = await longshore(another.path, "up", "--broker", server.url.replace(/:p[^@]+@/, ":wrong@"));
  t.not(code, 0);
  t.match(err + out, /NATS at 127\.0\.0\.1:\d+ does not let the user "operator" in\. Check the user and the password\./);
  t.notMatch(err + out, /wrong@/);
});

await t.test("a start without the broker of the last start says so, and how to use that one again", async (t) => {
  await up.kill("SIGTERM");
  await using inside = await longshoreUp(folder.path);
  const first = (await inside.kill("SIGTERM")).out.replaceAll(/\s+/g, " ");
  t.match(
    first,
    /The last start from this folder used another broker, nats:\/\/\[redacted\]@127\.0\.0\.1:\d+\S* What is published there waits/,
  );
  t.match(first, /npm start -- --broker nats:\/\/127\.0\.0\.1:\d+/);
  await using again = await longshoreUp(folder.path);
  t.notMatch((await again.kill("SIGTERM")).out, /another broker/, "the same one as the last start's");
});

/** The NATS adapter passes the conformance suite on a private server, and explains itself when it cannot be opened. */
// needs nats
// runs at most 12 min
import { brokerConformance } from "@longshore/broker/testing/conformance.ts";
import { freshNames, type Quarantined } from "@longshore/broker/testing/conformance-parts.ts";
import type { Names } from "@longshore/broker/names.ts";
import { streamName } from "@longshore/broker/nats/subjects.ts";
import { openBroker } from "@longshore/broker/open.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import { type JetStreamManager, jetstreamManager, type StoredMsg } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import t from "tap";
import { nats } from "../harness/nats/server.ts";

t.setTimeout(900_000);
const server = await nats();
t.teardown(() => server[Symbol.asyncDispose]());

const open = (url: string, names: Partial<Names> = {}) =>
  openBroker({ url, names, log: silentLog, clock: systemClock, publishWithinMs: 1_000 });

/** What an operator or an upstream application does, on a connection of its own. */
async function asOther<R>(work: (manager: JetStreamManager) => Promise<R>): Promise<R> {
  const { username, password } = new URL(server.url);
  const connection = await connect({ servers: `127.0.0.1:${server.port}`, user: username, pass: password });
  try {
    return await work(await jetstreamManager(connection));
  } finally {
    await connection.close();
  }
}

async function stored(stream: string): Promise<readonly StoredMsg[]> {
  return await asOther(async ({ streams }) => {
    const { state } = await streams.info(stream);
    const found: StoredMsg[] = [];
    for (let seq = state.first_seq; state.messages > 0 && seq <= state.last_seq; seq++) {
      const message = await streams.getMessage(stream, { seq });
      if (message !== null) found.push(message);
    }
    return found;
  });
}

await brokerConformance(t, {
  name: "NATS",
  url: server.url,
  settled: freshNames(),
  open: (names) => open(server.url, names),
  server: {
    kill: () => server.kill(),
    start: () => server.start(),
    freeze: () => server.freeze(),
    thaw: () => server.thaw(),
    makeQueue: async (name) => void (await asOther(({ streams }) => streams.add({ name, subjects: [name] }))),
    readQueue: async (name) => (await stored(name)).map((it) => it.string()),
    quarantined: async (names) =>
      (await stored(streamName(names.quarantine))).map(
        (it): Quarantined => ({
          id: it.header.get("Longshore-Id"),
          body: it.string(),
          key: it.subject.slice(`${names.quarantine}.commands.`.length),
          problems: JSON.parse(it.header.get("Longshore-Problems")),
        }),
      ),
    deleteQueue: async (name) => void (await asOther(({ streams }) => streams.delete(streamName(name)))),
  },
});

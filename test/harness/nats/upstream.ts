/**
 * The other users of NATS beside Longshore: an operator, and an application with a durable consumer of each stream that it
 * reads.
 */
import { AckPolicy, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect, type NatsConnection } from "@nats-io/transport-node";

/** Connects as an operator or an application does: as the URL's user, and without reconnecting. */
export async function connected(url: string, inboxPrefix = "_INBOX"): Promise<NatsConnection> {
  const { username, password, host } = new URL(url);
  return await connect({ servers: host, user: username, pass: password, reconnect: false, pingInterval: 5_000, inboxPrefix });
}

export async function asOperator<R>(
  url: string,
  work: (manager: JetStreamManager, connection: NatsConnection) => Promise<R>,
): Promise<R> {
  const connection = await connected(url);
  try {
    return await work(await jetstreamManager(connection), connection);
  } finally {
    await connection.close();
  }
}

/** Resolves when consuming has begun. `over` settles when it has ended: the connection was lost, or a stream was deleted. */
export async function consuming(
  url: string,
  { name, streams }: { readonly name: string; readonly streams: readonly string[] },
  take: (stream: string, body: Uint8Array) => void,
  signal: AbortSignal,
): Promise<{ readonly over: Promise<unknown> }> {
  const connection = await connected(url);
  signal.addEventListener("abort", () => void connection.close(), { once: true });
  const durable_name = name.replaceAll(".", "-");
  const reading = streams.map(async (stream) => {
    await (await jetstreamManager(connection)).consumers.add(stream, { durable_name, ack_policy: AckPolicy.Explicit });
    const consumer = await jetstream(connection).consumers.get(stream, durable_name);
    return { stream, messages: await consumer.consume({ max_messages: 500, abort_on_missing_resource: true }) };
  });
  const begun = await Promise.all(reading);
  const ends = begun.map(async ({ stream, messages }) => {
    for await (const message of messages) {
      take(stream, message.data);
      message.ack();
    }
  });
  const over = Promise.race([connection.closed(), ...ends]).then(
    () => connection.close(),
    () => connection.close(), // a stream was deleted
  );
  return { over };
}

/**
 * The other users of NATS beside Longshore: an operator, and an application that reads streams.
 */
import { AckPolicy, DeliverPolicy, type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
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

/** How far a reader has read each stream. A stream that was made anew is read from its beginning. */
export type Read = Map<string, { readonly created: string; readonly last: number }>;

/**
 * Reads streams on from where `read` stands, in their order. Resolves when reading has begun. `over` settles when it has ended:
 * the connection was lost, or a stream was deleted.
 *
 * The server keeps no place for the reader. A durable consumer's place counts messages that were under way when the server died
 * as delivered: they come 30 seconds later, after the ones that followed them.
 */
export async function reading(
  url: string,
  { streams, read }: { readonly streams: readonly string[]; readonly read: Read },
  take: (stream: string, body: Uint8Array) => void,
  signal: AbortSignal,
): Promise<{ readonly over: Promise<unknown> }> {
  const connection = await connected(url);
  signal.addEventListener("abort", () => void connection.close(), { once: true });
  const opening = streams.map(async (stream) => {
    const manager = await jetstreamManager(connection);
    const { created } = await manager.streams.info(stream);
    const before = read.get(stream);
    const from = before?.created === created ? before.last + 1 : 1;
    const start = { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: from } as const;
    const { name } = await manager.consumers.add(stream, { ...start, ack_policy: AckPolicy.None, mem_storage: true });
    const consumer = await jetstream(connection).consumers.get(stream, name);
    return { stream, created, messages: await consumer.consume({ max_messages: 500, abort_on_missing_resource: true }) };
  });
  const begun = await Promise.all(opening);
  const ends = begun.map(async ({ stream, created, messages }) => {
    for await (const message of messages) {
      read.set(stream, { created, last: message.seq });
      take(stream, message.data);
    }
  });
  const over = Promise.race([connection.closed(), ...ends]).then(
    () => connection.close(),
    () => connection.close(), // a stream was deleted
  );
  return { over };
}

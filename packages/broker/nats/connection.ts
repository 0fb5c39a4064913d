/**
 * One connection to NATS. It can be dropped at any moment, even if its server is frozen.
 *
 * The bugs this prevents: sockets to a frozen server that pile up with every try (the client loses track of a socket whose
 * server never said hello), a flush that waits for ever on a lost connection, and a missing permission that looks like a slow
 * server: NATS tells it beside the answers, and the message itself gets none.
 */
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { Failure } from "@longshore/contract/problem.ts";
import { type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection, NodeConnectionOptions } from "@nats-io/transport-node";
import { createInbox, errors, NatsConnectionImpl, setTransportFactory } from "@nats-io/transport-node";
import { NodeTransport, nodeResolveHost } from "@nats-io/transport-node/lib/node_transport.js";
import { type Address, codeOf, hostPort, messageOf, networkFailure } from "../address.ts";
import { either, type Session } from "../session.ts";

const CONNECT_WITHIN_MS = 10_000;
const PING_MS = 5_000;
const PINGS_OUT_MAX = 2;
const API_WITHIN_MS = 5_000;

export interface Link extends Session {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly version: string;
  /** The largest message, in bytes, with its headers. */
  readonly payloadMax: number;
  /** Resolves when the server has read everything that was sent before. Rejects if the connection is lost. */
  flush(): Promise<void>;
  /** Returns a subject for answers, which nobody else may read. */
  inbox(): string;
  /** If the server did not let us publish to the subject, returns true, once for each such subject. */
  wasDenied(subject: string): boolean;
}

export interface LinkOptions {
  readonly address: Address;
  /** The prefix of our inboxes' subjects. */
  readonly inboxes: string;
}

export async function openLink({ address, inboxes }: LinkOptions): Promise<Link> {
  const where = `NATS at ${hostPort(address)}`;
  const dropped = new AbortController();
  try {
    const connection = await connect(address, inboxes, dropped.signal);
    const over = new AbortController();
    const denied = new Set<string>();
    void connection.closed().then((error) => over.abort(error ?? new Error("the connection was closed")));
    void watch(connection, denied, over);
    const { info } = connection;
    if (info?.jetstream !== true) {
      throw new Failure(
        "halt",
        "BrokerJetStream",
        `${where} runs without JetStream. Start it with "jetstream" in its configuration.`,
      );
    }
    return {
      connection,
      manager: await jetstreamManager(connection, { checkAPI: false, timeout: API_WITHIN_MS }),
      version: info.version,
      payloadMax: info.max_payload,
      over: over.signal,
      flush: async () => {
        const flushed = connection.flush();
        await Promise.race([flushed, either(over.signal, over.signal)]);
        over.signal.throwIfAborted();
      },
      inbox: () => createInbox(inboxes),
      wasDenied: (subject) => denied.delete(subject),
      farewell: () => connection.close(),
      drop: () => {
        over.abort(new Error("we closed the connection"));
        dropped.abort();
      },
    };
  } catch (error) {
    dropped.abort();
    throw whyNot(error, address, where);
  }
}

/** Ends with the connection. */
async function watch(connection: NatsConnection, denied: Set<string>, over: AbortController): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === "staleConnection") over.abort(new Error("the server does not answer pings"));
    if (status.type !== "error" || !(status.error instanceof errors.PermissionViolationError)) continue;
    if (status.error.operation === "publish") denied.add(status.error.subject);
  }
}

async function connect(address: Address, inboxPrefix: string, dropped: AbortSignal): Promise<NatsConnection> {
  const { user, password, secure } = address;
  const options: NodeConnectionOptions & Dropped = {
    servers: hostPort(address),
    ...(user === "" ? {} : { user, pass: password }),
    ...(secure ? { tls: {} } : {}),
    name: "longshore",
    inboxPrefix,
    timeout: CONNECT_WITHIN_MS,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT_MAX,
    reconnect: false, // messages for a lost connection must not be sent later, when their publisher has gone on
    noAsyncTraces: true,
    dropped,
  };
  setTransportFactory({ factory: () => new DroppableTransport(), dnsResolveFn: nodeResolveHost });
  return await NatsConnectionImpl.connect(options);
}

interface Dropped {
  readonly dropped: AbortSignal;
}

/**
 * The client's own transport, except that its socket is destroyed when we drop the connection, whatever the client waits for.
 */
class DroppableTransport extends NodeTransport {
  override async dial({ hostname, port }: { readonly hostname: string; readonly port: number }): Promise<Socket> {
    const { dropped } = this.options as unknown as Dropped;
    const socket = connectSocket({ host: hostname, port, noDelay: true, keepAlive: true });
    const destroy = () => socket.destroy();
    dropped.addEventListener("abort", destroy, { once: true });
    socket.once("close", () => dropped.removeEventListener("abort", destroy));
    if (dropped.aborted) destroy();
    await once(socket, "connect");
    return socket;
  }
}

function whyNot(error: unknown, { user, secure }: Address, where: string): Failure {
  if (error instanceof Failure) return error;
  const cause = error instanceof Error && codeOf(error.cause) !== undefined ? error.cause : error;
  const said = messageOf(cause);
  if (error instanceof errors.AuthorizationError && !/timeout/i.test(said)) {
    const who = user === "" ? "a client without a user" : `the user "${user}"`;
    return new Failure("halt", "BrokerAuth", `${where} does not let ${who} in. Check the user and the password.`, error);
  }
  if (error instanceof errors.TimeoutError) {
    const what = `${where} did not answer within ${CONNECT_WITHIN_MS} ms. Is there a firewall between, and is it NATS?`;
    return new Failure("retry", "BrokerUnreachable", what, error);
  }
  if (/unexpected response|undefined error/.test(said)) {
    const what = `${where} does not speak NATS. Check the port of the broker's URL.`;
    return new Failure("retry", "BrokerUnreachable", what, error);
  }
  if (secure && /not support 'tls'|tls.*not available/i.test(said)) {
    const what = `${where} offers no TLS. Configure "tls" there, or write nats:// in the broker's URL.`;
    return new Failure("halt", "BrokerTls", what, error);
  }
  return (
    networkFailure(cause, where) ??
    new Failure("retry", "BrokerUnavailable", `${where} cannot be used at the moment: ${said}`, error)
  );
}

/**
 * One connection to NATS, which can be dropped at any moment, even if its server is frozen. The server's refusals become failures
 * that a person can act on.
 *
 * The bugs this prevents: sockets to a frozen server that pile up (the client loses track of a socket if its server never
 * greeted it), a flush that waits for ever on a lost connection, and a missing permission that looks like a slow server (NATS
 * reports it as a status of the connection, and the message gets no answer).
 */
import { once } from "node:events";
import { connect as connectSocket, type Socket } from "node:net";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection, NodeConnectionOptions, PermissionViolationError } from "@nats-io/transport-node";
import { createInbox, errors, NatsConnectionImpl, setTransportFactory } from "@nats-io/transport-node";
import { NodeTransport, nodeResolveHost } from "@nats-io/transport-node/lib/node_transport.js";
import { type Address, codeOf, hostPort, messageOf, unreachable } from "../address.ts";
import { aborted, type Session } from "../session.ts";

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
  /** True if the server has refused a message to the subject since the last call. */
  wasDenied(subject: string): boolean;
}

/** `inboxes`: the prefix of our inboxes' subjects. */
export async function openLink(address: Address, inboxes: string): Promise<Link> {
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
      const what = `${where} runs without JetStream. Start it with "jetstream" in its configuration.`;
      throw new Failure("halt", "BrokerJetStream", what);
    }
    return {
      connection,
      manager: await jetstreamManager(connection, { checkAPI: false, timeout: API_WITHIN_MS }),
      version: info.version,
      payloadMax: info.max_payload,
      over: over.signal,
      flush: async () => {
        const flushed = connection.flush();
        await Promise.race([flushed, aborted(over.signal)]);
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

/** Notes refused subjects and unanswered pings until the connection ends. */
async function watch(connection: NatsConnection, denied: Set<string>, over: AbortController): Promise<void> {
  for await (const status of connection.status()) {
    if (status.type === "staleConnection") over.abort(new Error("the server does not answer pings"));
    if (status.type !== "error" || !(status.error instanceof errors.PermissionViolationError)) continue;
    if (status.error.operation === "publish") denied.add(status.error.subject);
  }
}

async function connect(address: Address, inboxPrefix: string, dropped: AbortSignal): Promise<NatsConnection> {
  const { user, password, secure } = address;
  const options: NodeConnectionOptions & { readonly dropped: AbortSignal } = {
    servers: hostPort(address),
    ...(user === "" ? {} : { user, pass: password }),
    ...(secure ? { tls: {} } : {}),
    name: "longshore",
    inboxPrefix,
    timeout: CONNECT_WITHIN_MS,
    pingInterval: PING_MS,
    maxPingOut: PINGS_OUT_MAX,
    reconnect: false, // a message that waits for a connection must not be sent after its publisher gave up
    noAsyncTraces: true,
    dropped,
  };
  setTransportFactory({ factory: () => new DroppableTransport(), dnsResolveFn: nodeResolveHost });
  return await NatsConnectionImpl.connect(options);
}

/** The client's own transport, but its socket is destroyed when we drop the connection, whatever the client waits for. */
class DroppableTransport extends NodeTransport {
  override async dial({ hostname, port }: { readonly hostname: string; readonly port: number }): Promise<Socket> {
    const { dropped } = this.options as unknown as { readonly dropped: AbortSignal };
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
    return new Failure("halt", "BrokerAuth", `${where} does not let ${named(user)} in. Check the user and the password.`, error);
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
  return unreachable(cause, where);
}

/** JetStream's error numbers. They are compared because the texts of its errors change. */
export const CODES = {
  consumerNotFound: 10014,
  noJetStream: 10039,
  noJetStreamHere: 10076,
  streamNameTaken: 10058,
  streamNotFound: 10059,
  subjectsOverlap: 10065,
} as const;

/** Returns the error, or the first of its causes, that is of this kind. */
function found<E extends Error>(error: unknown, kind: abstract new (...parts: never[]) => E): E | undefined {
  if (error instanceof kind) return error;
  return error instanceof Error ? found(error.cause, kind) : undefined;
}

export const apiCode = (error: unknown): number | undefined => found(error, JetStreamApiError)?.code;
export const denialIn = (error: unknown): Denial | undefined => found(error, errors.PermissionViolationError);
/** True if nobody takes messages of that subject. */
export const hasNoResponders = (error: unknown): boolean => found(error, errors.NoRespondersError) !== undefined;

/** The operation that our user may not do. */
export type Denial = Pick<PermissionViolationError, "operation" | "subject">;

export interface Where {
  readonly where: string; // "NATS at host:port"
  readonly user: string;
}

export function forbidden({ where, user }: Where, { operation, subject }: Denial, error?: unknown): Failure {
  const what = `${where} does not allow ${named(user)} to ${operation === "publish" ? "publish" : "subscribe"} to "${subject}".`;
  return new Failure("halt", "BrokerForbidden", `${what} Add the subject to the user's permissions.`, error);
}

export function failureOf(error: unknown, at: Where, what: string): Failure {
  if (error instanceof Failure) return error;
  const denied = denialIn(error);
  if (denied !== undefined) return forbidden(at, denied, error);
  const code = apiCode(error);
  if (code === CODES.noJetStream || code === CODES.noJetStreamHere) {
    const off = `${at.where} has no JetStream for the account of our user.`;
    const next = 'Enable it: "jetstream: enabled" in the account\'s configuration.';
    return new Failure("halt", "BrokerJetStream", `${off} ${next}`, error);
  }
  return new Failure("retry", "BrokerUnavailable", `${at.where} ${what}: ${messageOf(error)}`, error);
}

function named(user: string): string {
  return user === "" ? "a client without a user" : `the user "${user}"`;
}

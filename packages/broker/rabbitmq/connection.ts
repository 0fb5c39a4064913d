/**
 * One connection to RabbitMQ, for publishing or for receiving.
 *
 * The bugs this prevents: an error without a listener, which ends the process; a socket to a frozen server that delays the end
 * of our program; and one connection for both, whose acks the server's memory alarm would stop too.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type ChannelModel, connect } from "amqplib";
import { type Address, codeOf, hostPort, messageOf, networkFailure } from "../address.ts";
import { openSessions, type Session, type Sessions } from "../session.ts";

const HEARTBEAT_SECONDS = 10;
const CONNECT_WITHIN_MS = 10_000;

export interface Link extends Session {
  readonly model: ChannelModel;
  readonly version: string;
  /** RabbitMQ's memory alarm: the server does not read from us. */
  blocked(): string | undefined;
}

export interface LinkOptions {
  readonly address: Address;
  readonly purpose: "publish" | "receive";
  readonly clock: Clock;
  readonly log: Log;
  /** Runs on every new connection before any caller gets it. */
  readonly prepare: (link: Link) => Promise<void>;
}

/** Rejects with a `Failure` that explains itself if the first connection fails. */
export function openLinks(options: LinkOptions): Promise<Sessions<Link>> {
  const { clock, log, purpose } = options;
  return openSessions({ clock, log, about: { broker: "rabbitmq", purpose }, open: () => openOne(options) });
}

async function openOne({ address, purpose, prepare }: LinkOptions): Promise<Link> {
  const where = `RabbitMQ at ${hostPort(address)}`;
  const over = new AbortController();
  const socket = new AbortController();
  const drop = () => socket.abort(new Error("we closed the connection"));
  let blocked: string | undefined;
  try {
    const model = await connect(
      {
        protocol: address.secure ? "amqps" : "amqp",
        hostname: address.host,
        port: address.port,
        username: address.user,
        password: address.password,
        vhost: encodeURIComponent(address.space),
        heartbeat: HEARTBEAT_SECONDS,
        frameMax: 131_072,
      },
      socketOptions(purpose, socket.signal),
    );
    // Listeners come first: an "error" without a listener ends the process.
    model.on("error", (error) => over.abort(error));
    model.on("close", (error) => over.abort(error ?? new Error("the connection was closed")));
    model.on("blocked", (reason) => {
      blocked = reason === "" ? "the server did not say why" : reason;
    });
    model.on("unblocked", () => {
      blocked = undefined;
    });
    over.signal.addEventListener("abort", drop, { once: true });
    const version: unknown = model.connection.serverProperties.version;
    const farewell = () => model.close().catch(() => undefined); // the connection may be closed already
    const link: Link = { model, version: String(version), over: over.signal, blocked: () => blocked, farewell, drop };
    await prepare(link).catch((error: unknown) => {
      if (error instanceof Failure) throw error;
      throw new Failure("retry", "BrokerUnavailable", `${where} could not be prepared: ${messageOf(error)}`, error);
    });
    return link;
  } catch (error) {
    drop();
    throw whyNot(error, address, where);
  }
}

function socketOptions(purpose: string, signal: AbortSignal): { noDelay: boolean; timeout: number } {
  const connection = { connection_name: `longshore (${purpose})` };
  const options = { noDelay: true, keepAlive: true, timeout: CONNECT_WITHIN_MS, clientProperties: connection, signal };
  return options; // amqplib passes the signal on to Node's socket: the only way to end a socket whose server is frozen
}

function whyNot(error: unknown, { user, space }: Address, where: string): Failure {
  if (error instanceof Failure) return error;
  const said = messageOf(error);
  if (/403|ACCESS.REFUSED/.test(said) && !/vhost/i.test(said)) {
    const what = `${where} does not let the user "${user}" in. Check the user and the password`;
    return new Failure("halt", "BrokerAuth", `${what} (the user "guest" may come from the same machine only).`, error);
  }
  // amqplib hides the server's words at this step; the only thing that is asked for in it is the virtual host.
  if (/vhost|Expected ConnectionOpenOk; got <ConnectionClose/i.test(said)) {
    const what = `${where} has no virtual host "${space}" that the user "${user}" may use.`;
    return new Failure("halt", "BrokerSpace", `${what} Create it, grant it, or correct the path of the broker's URL.`, error);
  }
  if (said === "connect ETIMEDOUT") {
    return new Failure(
      "retry",
      "BrokerUnreachable",
      `${where} did not answer within ${CONNECT_WITHIN_MS} ms. Is there a firewall between?`,
      error,
    );
  }
  const known = codeOf(error) === "ABORT_ERR" ? undefined : networkFailure(error, where);
  return known ?? new Failure("retry", "BrokerUnavailable", `${where} cannot be used at the moment: ${said}`, error);
}

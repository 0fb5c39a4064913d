/**
 * One connection to RabbitMQ, for publishing or for receiving. A message that is published gets one answer: "stored",
 * "unrouted" or a Failure.
 *
 * The bugs this prevents: an error without a listener, which ends the process; a socket to a frozen server that delays the end
 * of our program; a memory alarm of the server that stops our acks too (so acks have a connection of their own); and a
 * message that counts as stored although it reached no queue (the server returns it, but confirms it too).
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type ChannelModel, type ConfirmChannel, connect, type Options } from "amqplib";
import { type Address, hostPort, messageOf, unreachable } from "../address.ts";
import type { Outgoing, Published } from "../port.ts";
import { giveUpIfAbandoned, openSessions, type Session, type Sessions, type Try } from "../session.ts";

const HEARTBEAT_SECONDS = 10;
const CONNECT_WITHIN_MS = 10_000;
const SHORT_BYTES_MAX = 255;
const TRY = "x-longshore-try";

export interface Link extends Session {
  readonly model: ChannelModel;
  readonly version: string;
  /** Returns the reason of RabbitMQ's memory alarm. During an alarm the server does not read from us. */
  blocked(): string | undefined;
  send(sending: Sending, attempt: Try): Promise<Published>;
}

export interface Sending {
  readonly exchange: string;
  readonly key: string;
  readonly message: Outgoing;
  readonly user?: string | undefined;
  readonly headers?: Readonly<Record<string, unknown>>;
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
    const link: Link = {
      model,
      version: String(model.connection.serverProperties.version),
      over: over.signal,
      blocked: () => blocked,
      send: sender(model, where),
      farewell: () => model.close().catch(() => undefined), // the connection may be closed already
      drop,
    };
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

/** Publishes on one channel, which is opened again when the server has closed it. */
function sender(model: ChannelModel, where: string): Link["send"] {
  const returned = new Set<number>();
  let opened: Promise<ConfirmChannel> | undefined;
  let tries = 0;

  async function open(): Promise<ConfirmChannel> {
    const channel = await model.createConfirmChannel();
    channel.on("error", () => undefined); // "close" follows, and every message in flight is told
    channel.on("close", () => {
      opened = undefined;
    });
    channel.on("return", ({ properties }) => {
      const tried: unknown = properties.headers?.[TRY];
      if (typeof tried === "number") returned.add(tried);
    });
    return channel;
  }

  function confirmed(channel: ConfirmChannel, { exchange, key, message, user, headers }: Sending): Promise<Published> {
    const n = ++tries;
    const options: Options.Publish = {
      persistent: true,
      mandatory: true,
      contentType: "application/cloudevents+json",
      headers: { ...headers, [TRY]: n },
      ...(fits(message.id) ? { messageId: message.id } : {}),
      ...(message.replyTo === undefined ? {} : { replyTo: message.replyTo }),
      ...(message.correlationId !== undefined && fits(message.correlationId) && { correlationId: message.correlationId }),
      ...(user === undefined ? {} : { userId: user }),
    };
    const body = Buffer.from(message.body.buffer, message.body.byteOffset, message.body.byteLength);
    return new Promise((resolve, reject) => {
      channel.publish(exchange, key, body, options, (refusal: unknown) => {
        const unrouted = returned.delete(n); // an unrouted message is returned before it is confirmed
        if (refusal !== null && refusal !== undefined) reject(refusal);
        else resolve(unrouted ? "unrouted" : "stored");
      });
    });
  }

  return async (sending, attempt) => {
    try {
      opened ??= open().catch((error: unknown) => {
        opened = undefined;
        throw error;
      });
      const channel = await opened;
      giveUpIfAbandoned(attempt);
      return await confirmed(channel, sending);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw new Failure("retry", "BrokerUnavailable", `${where} did not confirm a message: ${messageOf(error)}`, error);
    }
  };
}

/** AMQP's short strings take 255 bytes. A longer key would make the library throw while it sends. */
export function checked({ key, replyTo = "" }: Outgoing): void {
  for (const [what, value] of Object.entries({ key, "reply queue": replyTo })) {
    if (!fits(value))
      throw new Failure("refuse", "MessageInvalid", `The ${what} of a message may hold at most ${SHORT_BYTES_MAX} bytes.`);
  }
}

function fits(value: string): boolean {
  return Buffer.byteLength(value) <= SHORT_BYTES_MAX;
}

function whyNot(error: unknown, { user, space }: Address, where: string): Failure {
  if (error instanceof Failure) return error;
  const said = messageOf(error);
  if (/ACCESS.REFUSED/.test(said) && !/vhost/i.test(said)) {
    const what = `${where} does not let the user "${user}" in. Check the user and the password`;
    return new Failure("halt", "BrokerAuth", `${what} (the user "guest" may come from the same machine only).`, error);
  }
  // amqplib hides the server's words at this step. The step only asks for the virtual host, so the refusal is about that.
  if (/vhost|Expected ConnectionOpenOk; got <ConnectionClose/i.test(said)) {
    const what = `${where} has no virtual host "${space}" that the user "${user}" may use.`;
    return new Failure("halt", "BrokerSpace", `${what} Create it, grant it, or correct the path of the broker's URL.`, error);
  }
  if (said === "connect ETIMEDOUT") {
    const what = `${where} did not answer within ${CONNECT_WITHIN_MS} ms. Is there a firewall between?`;
    return new Failure("retry", "BrokerUnreachable", what, error);
  }
  return unreachable(error, where);
}

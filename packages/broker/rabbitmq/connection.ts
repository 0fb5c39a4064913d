/**
 * One connection to RabbitMQ that is opened again whenever it is lost, for as long as the broker is open.
 *
 * The bugs this prevents: a client that gives up after one error, a frozen server that holds up our own end, and
 * publishing and receiving on one connection, where a memory alarm of the server's would stop the acks too.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { type ChannelModel, connect } from "amqplib";
import { type Address, codeOf, hostPort, messageOf, networkFailure } from "../address.ts";
import { atMost } from "../bounded-publishing.ts";
import type { BrokerStatus } from "../port.ts";

const HEARTBEAT_SECONDS = 10;
const CONNECT_WITHIN_MS = 10_000;
const CLOSE_WITHIN_MS = 2_000;

export interface Link {
  readonly model: ChannelModel;
  readonly version: string;
  /** Aborts when the connection is lost or closed. */
  readonly over: AbortSignal;
  /** Why the server does not read from us at the moment. */
  blocked(): string | undefined;
}

export interface Links {
  /** The live connection, as soon as there is one; undefined when the signal aborts or the broker is closed before. */
  current(signal: AbortSignal): Promise<Link | undefined>;
  status(): BrokerStatus;
  close(): Promise<void>;
}

export interface LinkOptions {
  readonly address: Address;
  readonly purpose: "publish" | "receive";
  readonly clock: Clock;
  readonly log: Log;
  /** Done on every new connection before anybody gets it. */
  readonly prepare: (link: Link) => Promise<void>;
}

interface Open extends Link {
  readonly drop: () => void;
}

/** Rejects with a `Failure` that explains itself when the first connection fails; later ones are tried for ever. */
export async function openLinks(options: LinkOptions): Promise<Links> {
  const { clock, log, purpose } = options;
  const closing = new AbortController();
  const pause = backOff(clock, { firstMs: 50, mostMs: 2_000 });
  const waiting = new Set<() => void>();
  let open: Open | undefined = await openOne(options);
  let away: { sinceMs: number; lastError: string } | undefined;

  function wakeAll(): void {
    for (const wake of waiting) wake();
  }

  async function keep(): Promise<void> {
    for (let failures = 0; !closing.signal.aborted; ) {
      if (open === undefined) {
        try {
          open = await openOne(options);
          failures = 0;
          away = undefined;
          log.info("connected to the broker again", { broker: "rabbitmq", purpose });
          wakeAll();
        } catch (error) {
          away = { sinceMs: away?.sinceMs ?? clock.now(), lastError: messageOf(error) };
          await pause(++failures, closing.signal);
          continue;
        }
      }
      const lost = open;
      await either(lost.over, closing.signal);
      if (closing.signal.aborted) break;
      open = undefined;
      away = { sinceMs: clock.now(), lastError: messageOf(lost.over.reason) };
      log.warn("lost the connection to the broker", { broker: "rabbitmq", purpose, error: lost.over.reason });
    }
    if (open === undefined) return;
    const last = open;
    open = undefined;
    await atMost(
      clock,
      CLOSE_WITHIN_MS,
      last.model.close().catch(() => undefined),
    ); // it may be closed already
    last.drop();
  }
  const keeping = keep();

  return {
    current: async (signal) => {
      while (open === undefined || open.over.aborted) {
        if (signal.aborted || closing.signal.aborted) return undefined;
        await new Promise<void>((resolve) => {
          const wake = () => {
            waiting.delete(wake);
            signal.removeEventListener("abort", wake);
            resolve();
          };
          waiting.add(wake);
          signal.addEventListener("abort", wake, { once: true });
        });
      }
      return open;
    },
    status: () => {
      if (away !== undefined) return { kind: "reconnecting", ...away };
      const reason = open?.blocked();
      return reason === undefined ? { kind: "connected" } : { kind: "blocked", reason };
    },
    close: async () => {
      closing.abort();
      wakeAll();
      await keeping;
    },
  };
}

/** Resolves when one of them aborts. */
export function either(one: AbortSignal, other: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      one.removeEventListener("abort", done);
      other.removeEventListener("abort", done);
      resolve();
    };
    if (one.aborted || other.aborted) return done();
    one.addEventListener("abort", done, { once: true });
    other.addEventListener("abort", done, { once: true });
  });
}

async function openOne({ address, purpose, prepare }: LinkOptions): Promise<Open> {
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
    // Listeners first: an "error" nobody listens to ends the process.
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
    const link: Open = { model, version: String(version), over: over.signal, blocked: () => blocked, drop };
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
  return options; // the signal goes on to Node's socket: the only way to end one whose server is frozen
}

function whyNot(error: unknown, { user, space }: Address, where: string): Failure {
  if (error instanceof Failure) return error;
  const said = messageOf(error);
  if (/403|ACCESS.REFUSED/.test(said) && !/vhost/i.test(said)) {
    const what = `${where} does not let the user "${user}" in. Check the user and the password`;
    return new Failure("halt", "BrokerAuth", `${what} (the user "guest" may come from the same machine only).`, error);
  }
  // amqplib keeps the server's words to itself at this step; only the virtual host is asked for in it.
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

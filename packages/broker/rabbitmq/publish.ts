/**
 * Publishes to RabbitMQ: one message, one answer, which is "stored", "unrouted" or a Failure.
 *
 * The bugs this prevents: a message that was confirmed although it reached no queue (the server confirms what it
 * returns), memory that grows while the server is blocked, and a confirm that is waited for on a dead channel.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { ConfirmChannel, Options } from "amqplib";
import { messageOf } from "../address.ts";
import type { Try } from "../bounded-publishing.ts";
import type { Outgoing, Published } from "../port.ts";
import type { Link } from "./connection.ts";

const SHORT_BYTES_MAX = 255;
const TRY = "x-longshore-try";

export interface Sending {
  readonly exchange: string;
  readonly key: string;
  readonly message: Outgoing;
  readonly user?: string | undefined;
  readonly headers?: Readonly<Record<string, unknown>>;
}

export type Send = (link: Link, sending: Sending, attempt: Try) => Promise<Published>;

interface OpenChannel {
  readonly link: Link;
  readonly channel: ConfirmChannel;
  readonly returned: Set<number>;
  closed: boolean;
}

export function publisher(where: string): Send {
  let opening: Promise<OpenChannel> | undefined;
  let tries = 0;

  async function openFor(link: Link): Promise<OpenChannel> {
    const current = await opening?.catch(() => undefined); // the earlier caller got that failure; this one tries again
    if (current !== undefined && current.link === link && !current.closed) return current;
    opening = open(link);
    return await opening;
  }

  return async (link, sending, attempt) => {
    const open = await openFor(link).catch((error: unknown) => {
      throw unavailable(where, error);
    });
    if (attempt.abandoned) throw new Failure("retry", "BrokerSilent", "The message was given up before it was sent.");
    return await confirmed(open, sending, ++tries, where);
  };
}

async function open(link: Link): Promise<OpenChannel> {
  const channel = await link.model.createConfirmChannel();
  const it: OpenChannel = { link, channel, returned: new Set(), closed: false };
  channel.on("error", () => undefined); // "close" follows, and every message in flight is told
  channel.on("close", () => {
    it.closed = true;
  });
  channel.on("return", ({ properties }) => {
    const tried: unknown = properties.headers?.[TRY];
    if (typeof tried === "number") it.returned.add(tried);
  });
  return it;
}

/** The server returns an unrouted message before it confirms it, so at the confirm we know which it was. */
function confirmed(
  open: OpenChannel,
  { exchange, key, message, user, headers }: Sending,
  n: number,
  where: string,
): Promise<Published> {
  return new Promise((resolve, reject) => {
    const options: Options.Publish = {
      persistent: true,
      mandatory: true,
      contentType: "application/cloudevents+json",
      headers: { ...headers, [TRY]: n },
      ...(fits(message.id) ? { messageId: message.id } : {}),
      ...(message.replyTo === undefined ? {} : { replyTo: message.replyTo }),
      ...(user === undefined ? {} : { userId: user }),
    };
    const answered = (refusal: unknown) => {
      const returned = open.returned.delete(n);
      if (refusal !== null && refusal !== undefined) reject(unavailable(where, refusal));
      else resolve(returned ? "unrouted" : "stored");
    };
    try {
      open.channel.publish(exchange, key, buffer(message.body), options, answered);
    } catch (error) {
      reject(unavailable(where, error)); // the channel closed a moment ago
    }
  });
}

function unavailable(where: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure("retry", "BrokerUnavailable", `${where} did not confirm a message: ${messageOf(error)}`, error);
}

/** AMQP's short strings take 255 bytes; a longer key would throw in the middle of the library. */
export function checked({ key, replyTo }: Outgoing): void {
  for (const [what, value] of [
    ["key", key],
    ["reply queue", replyTo ?? ""],
  ] as const) {
    if (!fits(value))
      throw new Failure("refuse", "MessageInvalid", `The ${what} of a message may hold ${SHORT_BYTES_MAX} bytes, not more.`);
  }
}

function fits(value: string): boolean {
  return Buffer.byteLength(value) <= SHORT_BYTES_MAX;
}

export function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Publishes to NATS: to a stream, which confirms each message, or without a stream, to those who subscribe at the moment.
 *
 * The bugs this prevents: a message that is reported as stored because the server took it, though no stream did, and a message
 * that counts as heard although nobody subscribed. Messages carry no Nats-Msg-Id: a stream drops a message whose Nats-Msg-Id it
 * has seen before, and our facts repeat on purpose.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { type ApiError, JetStreamApiError } from "@nats-io/jetstream";
import { headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import type { Delivery, Outgoing, Published } from "../port.ts";
import { denialIn, failureOf, forbidden, hasNoResponders, type Link, type Where } from "./connection.ts";

/** A confirmation can come as long as the connection lives, and the loss of a connection is noticed sooner than this. */
const CONFIRM_WITHIN_MS = 30_000;
const NO_RESPONDERS = 503;
const HEADERS_BYTES = Buffer.byteLength("NATS/1.0\r\n\r\n");

export const HEADER = { id: "Longshore-Id", replyTo: "Reply-To", correlationId: "Correlation-Id", type: "Content-Type" } as const;

export interface Sending {
  readonly subject: string;
  readonly message: Outgoing;
  /** Further headers. "none": the message gets no headers at all. */
  readonly headers?: Readonly<Record<string, string>> | "none";
}

/** Resolves when the stream has the message. "unrouted": no stream takes the subject. */
export async function store(link: Link, stream: string, sending: Sending, at: Where): Promise<Published> {
  const { subject, message } = sending;
  try {
    const all = headersOf(link, sending, { "Nats-Expected-Stream": stream });
    const options = { timeout: CONFIRM_WITHIN_MS, ...(all === undefined ? {} : { headers: all }) };
    const answer = await link.connection.request(subject, message.body, options);
    const { error } = answer.json<{ readonly error?: ApiError }>();
    if (error !== undefined) throw new JetStreamApiError(error);
    return "stored";
  } catch (error) {
    if (hasNoResponders(error)) return "unrouted";
    const denied = denialIn(error);
    // A permission can be granted while we run, so the publisher tries again.
    if (denied !== undefined) throw new Failure("retry", "BrokerForbidden", forbidden(at, denied).message, error);
    throw failureOf(error, at, "did not confirm a message");
  }
}

/** Publishes to those who subscribe at the moment. If nobody does, the server says so at once. */
export function passer(at: Where): (link: Link, sending: Sending) => Promise<Published> {
  let answers: { readonly link: Link; readonly inbox: string; readonly unheard: Set<string> } | undefined;
  let tries = 0;

  function answersOn(link: Link): NonNullable<typeof answers> {
    if (answers?.link === link) return answers;
    const inbox = link.inbox();
    const unheard = new Set<string>();
    link.connection.subscribe(`${inbox}.*`, {
      callback: (_error, { subject, headers }) => {
        if (headers?.code === NO_RESPONDERS) unheard.add(subject);
      },
    });
    answers = { link, inbox, unheard };
    return answers;
  }

  return async (link, sending) => {
    const { subject, message } = sending;
    try {
      const { inbox, unheard } = answersOn(link);
      const reply = `${inbox}.${++tries}`;
      const all = headersOf(link, sending, {});
      link.connection.publish(subject, message.body, { reply, ...(all === undefined ? {} : { headers: all }) });
      await link.flush();
      if (link.wasDenied(subject))
        throw new Failure("retry", "BrokerForbidden", forbidden(at, { operation: "publish", subject }).message);
      return unheard.delete(reply) ? "unrouted" : "stored";
    } catch (error) {
      throw failureOf(error, at, "did not take a message");
    }
  };
}

function headersOf(
  link: Link,
  { message, headers: own = {} }: Sending,
  more: Readonly<Record<string, string>>,
): MsgHdrs | undefined {
  if (own === "none") return undefined;
  const { id, replyTo, correlationId, body } = message;
  const all = headers();
  let bytes = body.byteLength + HEADERS_BYTES;
  const put = (name: string, value: string): void => {
    all.set(name, value);
    bytes += Buffer.byteLength(`${name}: ${value}\r\n`);
  };
  put(HEADER.type, "application/cloudevents+json");
  if (fits(id)) put(HEADER.id, id);
  if (replyTo !== undefined) put(HEADER.replyTo, replyTo);
  if (correlationId !== undefined && fits(correlationId)) put(HEADER.correlationId, correlationId);
  for (const [name, value] of Object.entries({ ...own, ...more })) put(name, value);
  if (bytes <= link.payloadMax) return all;
  const what = `A message has ${bytes} bytes with its headers, and the server takes ${link.payloadMax}.`;
  throw new Failure("refuse", "MessageInvalid", `${what} Raise "max_payload" in its configuration.`);
}

/** Returns the id that another publisher set (NATS' header Nats-Msg-Id), else the id that Longshore set. */
export function idOf({ headers }: Msg): string {
  return headers?.get("Nats-Msg-Id") || headers?.get(HEADER.id) || "";
}

/** Returns where the sender wants its answer, and the mark that the answer carries back. */
export const answerHeaders = ({ headers }: Msg): Pick<Delivery, "replyTo" | "correlationId"> => ({
  replyTo: headers?.get(HEADER.replyTo) || undefined,
  correlationId: headers?.get(HEADER.correlationId) || undefined,
});

function fits(value: string): boolean {
  return value !== "" && !/[\r\n]/.test(value);
}

/** A header is one line. A line break would make the library throw while it sends. */
export function checked({ replyTo = "" }: Outgoing): void {
  if (/[\r\n]/.test(replyTo)) throw new Failure("refuse", "MessageInvalid", "The reply subject of a message holds a line break.");
}

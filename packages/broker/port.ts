/** All that Longshore asks of a broker. An adapter opens a `Broker` and passes conformance.ts. */
import type { Problem } from "@longshore/contract/problems/problem.ts";

/** Logical names; each adapter maps them to its own queues, subjects or tables. */
export type Queue = "commands" | "facts";
export type Topic = Queue | "events";

export interface Broker extends AsyncDisposable {
  /**
   * Resolves when the broker has the message. If that is uncertain, throws `Failure` "retry": publish again with the same id.
   */
  publish(topic: Topic, message: Outgoing, signal: AbortSignal): Promise<Published>;
  /** Publishes to the queue that a sender named (`reply_to`). "unrouted": the queue is gone, or it is one of ours. */
  reply(queue: string, message: Outgoing, signal: AbortSignal): Promise<Published>;
  /**
   * Receives until the signal aborts, also after lost connections, cancelled consumers and restarts. Several lanes may share
   * the iterator.
   */
  receive(queue: Queue, options: ReceiveOptions): AsyncIterableIterator<Delivery>;
  /** Follows events for one follower: a temporary queue bound to `pattern` ("shop.#"). Resolves when the queue is bound. */
  follow(pattern: string, options: ReceiveOptions): Promise<AsyncIterableIterator<Delivery>>;
  /** Broadcasts to everybody who listens at this moment; "unrouted": nobody does. Nothing is kept for later listeners. */
  broadcast(message: Outgoing, signal: AbortSignal): Promise<Published>;
  /**
   * Hears broadcasts with matching keys from the moment when this resolves. Broadcasts that are sent while the connection is
   * lost are missed, so broadcasters repeat them.
   */
  listen(pattern: string, options: ReceiveOptions): Promise<AsyncIterableIterator<Uint8Array>>;
  status(): BrokerStatus;
  /** Tells `doctor` and the metrics which user we are at the broker, and how many messages wait. Throws `Failure`. */
  inspect(signal: AbortSignal): Promise<BrokerReport>;
}

export interface Outgoing {
  readonly id: string; // the CloudEvents id: the same message sent again has the same id
  readonly key: string; // for routing: "shop.prod-a.run.failed"
  readonly body: Uint8Array;
  readonly replyTo?: string | undefined;
  readonly correlationId?: string | undefined;
}

/** "unrouted": confirmed and dropped, because no queue is bound to receive it. */
export type Published = "stored" | "unrouted";

export interface ReceiveOptions {
  readonly inFlightMax: number; // limit of unsettled deliveries; also the bound on memory
  readonly signal: AbortSignal; // ends the iteration; messages in flight may still be settled
}

/**
 * Settled once, by `ack`, `requeue` or `quarantine`. After a lost connection these do nothing: the broker delivers the message
 * again.
 */
export interface Delivery {
  /** The broker's own message id if the publisher set one, else "". Never trusted for identity. */
  readonly id: string;
  readonly body: Uint8Array;
  /** How often the broker delivered this before, as far as the broker can tell; 1 if it only says "redelivered". */
  readonly redeliveries: number;
  /** The user that the broker authenticated, if the broker vouches for the user. */
  readonly user: string | undefined;
  readonly replyTo: string | undefined;
  /** The sender's own mark, which its answers carry back. */
  readonly correlationId: string | undefined;
  ack(): Promise<void>;
  requeue(): Promise<void>;
  /** Publishes the message to quarantine and acks when that is confirmed: the message is never lost in between. */
  quarantine(problems: readonly Problem[]): Promise<void>;
}

export type BrokerStatus =
  | { readonly kind: "connected" }
  | { readonly kind: "blocked"; readonly reason: string } // RabbitMQ's memory alarm: publishers wait, but not for ever
  | { readonly kind: "reconnecting"; readonly sinceMs: number; readonly lastError: string };

export interface BrokerReport {
  readonly product: string; // "RabbitMQ 4.0.5"
  readonly user: string;
  readonly waiting: Readonly<Record<Queue | "quarantine", number>>;
  readonly clockSkewMs?: number;
}

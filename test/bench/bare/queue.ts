/** The bare path of a message: one queue of the kind that Longshore uses, with nobody else on it. */
import { CONTENT_TYPE } from "@longshore/contract/messages/envelope.ts";
import { connect } from "amqplib";

export interface BareQueue extends AsyncDisposable {
  /** Publishes one message; resolves to the milliseconds until it was confirmed and consumed. */
  passed(): Promise<number>;
}

const QUEUE = "bench.bare";
/** About as long as an event of ours. */
const BODY = Buffer.alloc(600, "x");

export async function openBareQueue(url: string): Promise<BareQueue> {
  const connection = await connect(url);
  const [out, into] = [await connection.createConfirmChannel(), await connection.createChannel()];
  await into.assertQueue(QUEUE, { durable: true, arguments: { "x-queue-type": "quorum" } });
  let consumed = Promise.withResolvers<void>();
  await into.consume(QUEUE, (message) => {
    if (message === null) throw new Error("the broker took the bench's queue away");
    into.ack(message);
    consumed.resolve();
  });
  const confirmed = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const options = { contentType: CONTENT_TYPE, deliveryMode: 2, mandatory: true };
      out.publish("", QUEUE, BODY, options, (error: Error | null) => (error === null ? resolve() : reject(error)));
    });
  return {
    passed: async () => {
      consumed = Promise.withResolvers<void>();
      const beganMs = performance.now();
      await Promise.all([confirmed(), consumed.promise]);
      return performance.now() - beganMs;
    },
    [Symbol.asyncDispose]: () => connection.close(),
  };
}

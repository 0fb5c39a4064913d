/**
 * The bounds of publishing, the same for every adapter: how long one message waits, and how many may wait at once.
 *
 * The bug this prevents: a broker that is frozen or out of memory makes each publisher wait for ever and the process grow until
 * it is killed. A publisher that is turned away still has the message and publishes it again, under the same id.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";

export const PUBLISH_WITHIN_MS = 10_000;
const MESSAGES_MAX = 5_000;
const BYTES_MAX = 64 * 1024 * 1024;

export interface Bounds {
  readonly clock: Clock;
  readonly where: string; // "RabbitMQ at host:port"
  readonly withinMs?: number;
}

/** One publisher's try. `abandoned` is set when no caller waits for the try any longer. */
export interface Try {
  abandoned: boolean;
}

export type Bounded = <R>(bytes: number, signal: AbortSignal, work: (attempt: Try) => Promise<R>) => Promise<R>;

export function boundedPublishing({ clock, where, withinMs = PUBLISH_WITHIN_MS }: Bounds): Bounded {
  let messages = 0;
  let bytesWaiting = 0;

  return async (bytes, signal, work) => {
    if (signal.aborted) throw new Failure("retry", "Interrupted", "The publisher was stopped before the message was sent.");
    if (messages >= MESSAGES_MAX || bytesWaiting + bytes > BYTES_MAX) {
      const how = `${messages} messages (${bytesWaiting} bytes) wait for ${where} to confirm them`;
      throw new Failure("retry", "BrokerOverloaded", `${how}: no more are taken until it does.`);
    }
    messages++;
    bytesWaiting += bytes;
    const attempt: Try = { abandoned: false };
    const working = work(attempt).finally(() => {
      messages--;
      bytesWaiting -= bytes;
    });
    working.catch(() => undefined); // nobody awaits an abandoned try, so its rejection is ignored here
    try {
      return await orGiveUp(working, clock, withinMs, signal, where);
    } finally {
      attempt.abandoned = true;
    }
  };
}

function orGiveUp<R>(working: Promise<R>, clock: Clock, ms: number, signal: AbortSignal, where: string): Promise<R> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void): void => {
      callOff();
      signal.removeEventListener("abort", stop);
      finish();
    };
    const giveUp = (code: string, message: string): void => settle(() => reject(new Failure("retry", code, message)));
    const stop = (): void => giveUp("Interrupted", `The publisher was stopped before ${where} confirmed the message.`);
    const callOff = clock.alarm(ms, () =>
      giveUp("BrokerSilent", `${where} did not confirm the message within ${ms} ms; it may or may not have it.`),
    );
    signal.addEventListener("abort", stop, { once: true });
    working.then(
      (result) => settle(() => resolve(result)),
      (error: unknown) => settle(() => reject(error)),
    );
  });
}

/** For farewells: waits for the end of the work, but at most `ms`. A failure of the work is thrown. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const callOff = clock.alarm(ms, resolve);
  try {
    await Promise.race([work, late]);
  } finally {
    callOff();
  }
}

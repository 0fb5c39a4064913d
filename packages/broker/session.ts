/**
 * Shared by all adapters: a connection that is opened again whenever it is lost, and bounds for all work that waits for the
 * server.
 *
 * The bugs this prevents: a client that gives up after one error, a status that says "connected" without a connection, a caller
 * that waits for ever after the broker was closed, and a frozen server that makes publishers wait until the process is killed
 * for its memory, or that delays the end of our program.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { messageOf } from "./address.ts";
import type { BrokerStatus } from "./port.ts";

const FAREWELL_MS = 2_000;

/** The life of one connection. */
export interface Session {
  /** Aborts when the connection is lost, with the reason. */
  readonly over: AbortSignal;
  /** Returns the reason why the server takes no messages from us at the moment, if there is one. */
  blocked?(): string | undefined;
  /** Says goodbye to the server in an orderly way. Callers wait at most two seconds for it. */
  farewell(): Promise<unknown>;
  /** Drops the connection at once, whatever the server does. Called once, at the end of each session. */
  drop(): void;
}

export interface Sessions<S extends Session> {
  /** Returns the live session, as soon as there is one; undefined if the signal aborts or the broker is closed before. */
  current(signal: AbortSignal): Promise<S | undefined>;
  status(): BrokerStatus;
  close(): Promise<void>;
}

export interface SessionOptions<S extends Session> {
  readonly clock: Clock;
  readonly log: Log;
  /** Names the broker and the connection in the log of each loss. */
  readonly about: Readonly<Record<string, string>>;
  /** Opens a connection. `previous` is the one that was lost. */
  readonly open: (previous: S | undefined) => Promise<S>;
}

/** Rejects with the error of `open` if the first connection fails; later ones are tried for ever. */
export async function openSessions<S extends Session>({ clock, log, about, open }: SessionOptions<S>): Promise<Sessions<S>> {
  const closing = new AbortController();
  const pause = backOff(clock, { firstMs: 50, mostMs: 2_000 });
  const waiting = new Set<() => void>();
  let live: S | undefined = await open(undefined);
  let away: { sinceMs: number; lastError: string } | undefined;

  const isAway = (error: unknown): void => {
    away = { sinceMs: away?.sinceMs ?? clock.now(), lastError: messageOf(error) };
  };

  /** Returns the next session; undefined if the broker is closed before. */
  async function openAgain(previous: S): Promise<S | undefined> {
    for (let failures = 1; !closing.signal.aborted; failures++) {
      try {
        return await open(previous);
      } catch (error) {
        isAway(error);
        await pause(failures, closing.signal);
      }
    }
    return undefined;
  }

  async function keep(first: S): Promise<void> {
    for (let session: S | undefined = first; session !== undefined; ) {
      await aborted(session.over, closing.signal);
      live = undefined;
      if (session.over.aborted) {
        isAway(session.over.reason);
        log.warn("lost the connection to the broker", { ...about, error: session.over.reason });
      } else {
        await atMost(clock, FAREWELL_MS, session.farewell());
      }
      session.drop();
      session = await openAgain(session);
      if (session === undefined) return;
      live = session;
      away = undefined;
      log.info("connected to the broker again", about);
      for (const wake of waiting) wake();
    }
  }
  const keeping = keep(live);

  return {
    current: async (signal) => {
      while (live === undefined || live.over.aborted) {
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
      return live;
    },
    status: () => {
      if (live?.over.aborted === true) isAway(live.over.reason);
      if (away !== undefined) return { kind: "reconnecting", ...away };
      const reason = live?.blocked?.();
      return reason === undefined ? { kind: "connected" } : { kind: "blocked", reason };
    },
    close: async () => {
      closing.abort();
      for (const wake of waiting) wake();
      await keeping;
    },
  };
}

/** Resolves when one of the signals aborts. */
export function aborted(...signals: readonly AbortSignal[]): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      for (const it of signals) it.removeEventListener("abort", done);
      resolve();
    };
    if (signals.some((it) => it.aborted)) return done();
    for (const it of signals) it.addEventListener("abort", done, { once: true });
  });
}

/** Waits for the end of the work, but at most `ms`, so that a farewell cannot hang. A failure of the work is thrown. */
export async function atMost(clock: Clock, ms: number, work: Promise<unknown>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const callOff = clock.alarm(ms, resolve);
  try {
    await Promise.race([work, late]);
  } finally {
    callOff();
  }
}

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

/**
 * Bounds how long one message waits and how much waits at once. A publisher that is turned away publishes the same message
 * again, under the same id.
 */
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

/** Returns the session to send on. Throws if the broker was closed, or no caller waits for the try any longer. */
export async function sessionFor<S extends Session>(attempt: Try, sessions: Sessions<S>, closing: AbortSignal): Promise<S> {
  const session = await sessions.current(closing);
  if (session === undefined) throw new Failure("retry", "Closed", "The broker was closed before the message was sent.");
  giveUpIfAbandoned(attempt);
  return session;
}

export function giveUpIfAbandoned({ abandoned }: Try): void {
  if (abandoned) throw new Failure("retry", "BrokerSilent", "The message was given up before it was sent.");
}

/**
 * Keeps one connection to a broker open: opens another whenever it is lost, and tells callers which one is live.
 *
 * The bugs this prevents: a client that gives up after one error, a status that says "connected" without a connection, a caller
 * that waits for ever after the broker was closed, and a frozen server that delays the end of our program.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff } from "@longshore/runtime/loop.ts";
import { messageOf } from "./address.ts";
import { atMost } from "./bounded-publishing.ts";
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
  /** Logged with each loss: which broker, which connection. */
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
      await either(session.over, closing.signal);
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

/**
 * Hears what other connections wrote, by LISTEN: a hint that saves polling, never a promise.
 *
 * The bug this prevents: a connection that died silently, after which everything is a poll late and nobody knows. It is
 * watched by a question of its own, made again when lost, and whoever listens is rung for everything then.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, linked } from "@longshore/runtime/loop.ts";
import pg from "pg";
import { connectionOf } from "./connection.ts";
import { BELLS, listener, type Listeners } from "../work-kinds.ts";
import type { Bell } from "../port.ts";
import { CHANNEL } from "./write.ts";

const CHECK_MS = 15_000;
const CHECK_WITHIN_MS = 5_000;

export interface Changes {
  /** What this process itself wrote: the way over the server would only be longer. */
  tell(bells: readonly Bell[]): void;
  listen(signal: AbortSignal): AsyncIterableIterator<Bell>;
  close(): Promise<void>;
}

/** One connection for all listeners of this process, opened when the first comes. */
export interface ChangesOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Whose notifications say what `tell` said before. */
  readonly isOwn: (backend: number) => boolean;
}

export function openChanges(url: string, { clock, log, isOwn }: ChangesOptions): Changes {
  const closing = new AbortController();
  const listeners: Listeners = new Set();
  let keeping: Promise<void> | undefined;

  const tell = (bells: readonly Bell[]): void => {
    for (const listener of listeners) listener(bells);
  };

  async function keep(): Promise<void> {
    const pause = backOff(clock, { firstMs: 100, mostMs: 5_000 });
    for (let failures = 0; !closing.signal.aborted; ) {
      const lost = await listenOnce(url, clock, closing.signal, {
        onOpen: () => {
          failures = 0;
          tell(BELLS); // whatever was rung while we did not listen
        },
        onBells: tell,
        isOwn,
      });
      if (closing.signal.aborted) return;
      log.debug("the ledger's bell was lost; it is polled until it is back", { error: lost });
      await pause(++failures, closing.signal);
    }
  }

  return {
    tell,
    listen: (signal) => {
      keeping ??= keep();
      return listener(listeners, AbortSignal.any([signal, closing.signal]));
    },
    close: async () => {
      closing.abort();
      await keeping;
    },
  };
}

interface Heard {
  readonly onOpen: () => void;
  readonly onBells: (bells: readonly Bell[]) => void;
  readonly isOwn: (backend: number) => boolean;
}

/** Until the connection is lost or the signal aborts; returns why. */
async function listenOnce(url: string, clock: Clock, signal: AbortSignal, { onOpen, onBells, isOwn }: Heard): Promise<unknown> {
  const client = new pg.Client({ ...connectionOf(url), query_timeout: CHECK_WITHIN_MS });
  const over = linked(signal);
  client.on("error", (error) => over.abort(error));
  client.on("end", () => over.abort(new Error("the connection ended")));
  client.on("notification", ({ processId, payload = "" }) => {
    if (!isOwn(processId)) onBells(BELLS.filter((bell) => payload.split(",").includes(bell)));
  });
  try {
    await client.connect();
    await client.query(`listen ${CHANNEL}`);
    onOpen();
    while (!over.signal.aborted) {
      await clock.sleep(CHECK_MS, over.signal);
      if (!over.signal.aborted) await client.query("select 1");
    }
    return over.signal.reason;
  } catch (error) {
    return error;
  } finally {
    over.release();
    await client.end().catch(() => undefined); // it is lost already
  }
}

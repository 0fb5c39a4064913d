/**
 * Hears of other connections' writes, by LISTEN: a hint that saves polling, never a promise.
 *
 * The bug this prevents: a connection that died silently, after which everything is one poll late and nobody knows. The
 * connection is checked by a query every 15 seconds and opened again when it is lost; then all listeners are woken, as if for
 * every kind of work.
 */
import { WORK_KINDS, type WorkKind } from "@longshore/domain/run/change.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { backOff, linked } from "@longshore/runtime/loop.ts";
import pg from "pg";
import { type Listeners, workHints } from "../work-hints.ts";
import { CHANNEL, connectionOf } from "./connection.ts";

const CHECK_MS = 15_000;
const CHECK_WITHIN_MS = 5_000;

export interface Changes {
  /** Tells this process's listeners of its own writes at once. The server's NOTIFY would only come later. */
  tell(kinds: readonly WorkKind[]): void;
  listen(signal: AbortSignal): AsyncIterableIterator<WorkKind>;
  close(): Promise<void>;
}

/** One connection listens for all listeners of this process. The first listener opens the connection. */
export interface ChangesOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** True for a backend of this process: its notifications repeat what `tell` said before. */
  readonly isOwn: (backend: number) => boolean;
  /** The kinds of work that the listeners want to hear of. */
  readonly kinds?: readonly WorkKind[];
}

export function openChanges(url: string, { clock, log, isOwn, kinds: wanted = WORK_KINDS }: ChangesOptions): Changes {
  const closing = new AbortController();
  const listeners: Listeners = new Set();
  let keeping: Promise<void> | undefined;

  const tell = (kinds: readonly WorkKind[]): void => {
    for (const listener of listeners) listener(kinds);
  };

  async function keep(): Promise<void> {
    const pause = backOff(clock, { firstMs: 100, mostMs: 5_000 });
    for (let failures = 0; !closing.signal.aborted; ) {
      const lost = await listenOnce(url, clock, closing.signal, {
        onOpen: () => {
          failures = 0;
          tell(wanted); // work of any kind may have come while nobody listened
        },
        onWork: (payload) => tell(wanted.filter((kind) => payload.split(",").includes(kind))),
        isOwn,
      });
      if (closing.signal.aborted) return;
      log.debug("the connection that hears of new work was lost; the ledger is polled until it is back", { error: lost });
      await pause(++failures, closing.signal);
    }
  }

  return {
    tell,
    listen: (signal) => {
      keeping ??= keep();
      return workHints(listeners, AbortSignal.any([signal, closing.signal]));
    },
    close: async () => {
      closing.abort();
      await keeping;
    },
  };
}

interface Heard {
  readonly onOpen: () => void;
  readonly onWork: (payload: string) => void;
  readonly isOwn: (backend: number) => boolean;
}

/** Listens until the connection is lost or the signal aborts; returns the reason. */
async function listenOnce(url: string, clock: Clock, signal: AbortSignal, { onOpen, onWork, isOwn }: Heard): Promise<unknown> {
  const client = new pg.Client({ ...connectionOf(url), query_timeout: CHECK_WITHIN_MS });
  const over = linked(signal);
  client.on("error", (error) => over.abort(error));
  client.on("end", () => over.abort(new Error("the connection ended")));
  client.on("notification", ({ processId, payload = "" }) => {
    if (!isOwn(processId)) onWork(payload);
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
    await client.end().catch(() => undefined); // the connection is lost already
  }
}

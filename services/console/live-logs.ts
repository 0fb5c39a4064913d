/**
 * Reads over the broker what a Job's program prints now, since the console reaches no cluster.
 *
 *   ask ─▶ the first watcher that offers is taken, and named each time that we ask again ─▶ pieces ─▶ lines and gaps
 *
 * The failures this prevents: a log whose missing lines nobody notices (pieces are numbered, and a watcher tells what it left
 * out), a log that stands still because its watcher died (another is asked), and a page that waits for a watcher that does not
 * exist (it is told so).
 */
import { randomUUID } from "node:crypto";
import { type LogMessages, logMessages } from "@longshore/broker/log-messages.ts";
import type { Broker } from "@longshore/broker/port.ts";
import {
  controlKey,
  type ControlData,
  LOG_ASKED_EVERY_MS,
  LOG_LEASE_MS,
  LogPiece,
  toReader,
} from "@longshore/contract/messages/control.ts";
import type { GroupName, Installation, Uid } from "@longshore/contract/ids.ts";
import { Failure, isTransient } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { linked, wakeUp } from "@longshore/runtime/loop.ts";

export type LogNews =
  /** `bytes`: so much was left out, if that is known. */
  | { readonly kind: "gap"; readonly bytes?: number }
  /** Whole lines. */
  | { readonly kind: "lines"; readonly text: string }
  /** No watcher offers to read it: none has the key and the group, or the broker is away. It is asked again. */
  | { readonly kind: "nobody" };

export interface LogOf {
  readonly group: GroupName;
  readonly job: Uid;
}

/** Reads until the program has ended or the signal aborts. */
export type ReadLog = (of: LogOf, signal: AbortSignal) => AsyncGenerator<LogNews, void, undefined>;

interface Reading {
  readonly broker: Pick<Broker, "broadcast" | "listen">;
  readonly clock: Clock;
  readonly installation: Installation;
  /** The text of the key's file. */
  readonly key: string;
  /** The source of our messages. */
  readonly source: string;
}

/** Of the lines that are there already, so many of the last. */
const TAIL_LINES = 1_000;
/** Offers come within this time, or nobody has the log. */
const OFFERED_WITHIN_MS = 5_000;
/** Messages that wait to be read. One more is dropped, which the numbers tell. */
const WAITING_MOST = 64;
/** Logs that are read at the same time: each has a queue at the broker. */
const READ_MOST = 500;

export function openLogReader({ key, installation, source, ...parts }: Reading): ReadLog {
  const messages = logMessages(key, installation, source);
  let open = 0;
  return async function* (of, signal) {
    if (open >= READ_MOST) throw new Failure("retry", "ManyLogs", `${READ_MOST} logs are read already.`);
    open++;
    try {
      yield* read({ ...parts, messages }, of, signal);
    } finally {
      open--;
    }
  };
}

type ReaderParts = Pick<Reading, "broker" | "clock"> & { readonly messages: LogMessages };

async function* read(
  { broker, clock, messages }: ReaderParts,
  { group, job }: LogOf,
  outer: AbortSignal,
): AsyncGenerator<LogNews, void, undefined> {
  const { installation } = messages;
  const reader = randomUUID();
  const own = linked(outer);
  const { signal } = own;
  const news = wakeUp(clock);
  const inbox: Uint8Array[] = [];
  let watcher: string | undefined;
  let last = 0; // the number of the newest piece
  let isBegun = false;
  let askedAtMs = -Infinity;
  let heardAtMs = clock.now();

  async function hear(): Promise<void> {
    const heard = await broker.listen(toReader(installation, reader), { inFlightMax: 64, signal });
    news.wake();
    for await (const body of heard) {
      if (inbox.length < WAITING_MOST) inbox.push(body);
      news.wake();
    }
  }

  async function ask(): Promise<void> {
    askedAtMs = clock.now();
    const at = new Date(clock.now()).toISOString();
    const tailLines = isBegun ? 0 : TAIL_LINES;
    const data = { reader, at, group, job, tailLines, ...(watcher !== undefined && { watcher }) };
    const message = messages.write(controlKey(installation, "log.asked"), "log.asked", data as ControlData<"log.asked">);
    await broker.broadcast(message, signal).catch((error: unknown) => {
      if (!isTransient(error)) throw error; // a broker that is away: it is asked again
    });
  }

  function* told(body: Uint8Array): Generator<LogNews, "ended" | undefined, undefined> {
    const it = messages.read(body);
    if (it === undefined || typeof it === "string" || it.type === "log.asked") return undefined;
    if (it.type === "log.offered") watcher ??= it.data.watcher;
    if (it.data.watcher !== watcher) return undefined;
    heardAtMs = clock.now();
    if (it.type === "log.offered") return undefined;
    const { number } = it.data;
    const piece = LogPiece.safeParse(JSON.parse(it.text)).data;
    // The first piece again: the watcher had stopped, as while the broker was away, and began anew.
    if (piece === undefined || (number <= last && (number > 1 || last === 1))) return undefined;
    if (number !== last + 1 || (number === 1 && isBegun)) yield { kind: "gap" };
    if (piece.gap !== undefined) yield { kind: "gap", ...(piece.gap.bytes !== undefined && { bytes: piece.gap.bytes }) };
    if (piece.text !== "") yield { kind: "lines", text: piece.text };
    last = number;
    isBegun = true;
    return piece.ends === true ? "ended" : undefined;
  }

  let failure: { readonly error: unknown } | undefined;
  const hearing = hear().catch((error: unknown) => {
    failure = { error };
    news.wake();
  });
  try {
    await news.wait(OFFERED_WITHIN_MS, signal); // an offer that comes before we listen is lost
    while (!signal.aborted) {
      if (failure !== undefined) throw failure.error;
      const before = watcher;
      for (let body = inbox.shift(); body !== undefined; body = inbox.shift()) {
        if ((yield* told(body)) === "ended") return;
      }
      if (watcher !== undefined && clock.now() - heardAtMs > LOG_LEASE_MS) {
        watcher = undefined;
        last = 0;
      }
      const pause = watcher === undefined ? OFFERED_WITHIN_MS : LOG_ASKED_EVERY_MS;
      if (watcher !== before || clock.now() - askedAtMs >= pause) {
        if (watcher === undefined && before === undefined && askedAtMs > 0) yield { kind: "nobody" };
        await ask();
      }
      await news.wait(Math.max(1, askedAtMs + pause - clock.now()), signal);
    }
  } finally {
    own.abort();
    own.release();
    await hearing;
  }
}

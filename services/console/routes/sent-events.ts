/**
 * A stream of server-sent events to one page.
 *
 * The failures this prevents: a person who was signed out in another tab, or whose rights were taken, and who goes on hearing; a
 * reader that stopped reading and fills our memory; and a proxy that ends a silent stream. A stream that is ended is opened again
 * by its browser, and gets what is true then.
 */
import { onAbort } from "@longshore/runtime/clock.ts";
import type { ServerResponse } from "node:http";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Parts } from "../parts.ts";
import { signedIn } from "../sign-in/session.ts";

const PING_MS = 15_000;
const RIGHTS_MS = 60_000;
const UNREAD_BYTES_MAX = 4 * 1024 * 1024;
const UNREAD_MS = 10_000;

export interface SentEvent {
  readonly id?: string | undefined;
  /** Absent for a plain message. */
  readonly event?: string | undefined;
  /** Absent if the id alone moves on: that is no news. */
  readonly data?: string | undefined;
}

export interface Reader {
  /** Aborts when the page has gone. */
  readonly gone: AbortSignal;
  send(news: SentEvent): void;
  /** False once the stream has to end. Asked at each turn of a stream, it also shows that we are still here. */
  goesOn(): Promise<boolean>;
}

interface Streamed {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  /** True while the person may hear this. */
  readonly isOpen: () => Promise<boolean>;
}

function textOf({ id, event, data }: SentEvent): string {
  const field = (name: string, value: string | undefined): string => (value === undefined ? "" : `${name}: ${value}\n`);
  return `${field("id", id)}${field("event", event)}${field("data", data)}\n`;
}

/** Resolves when the work has ended, and the stream with it. */
export async function sendEvents(
  options: Parts,
  { request, reply, isOpen }: Streamed,
  work: (reader: Reader) => Promise<void>,
): Promise<void> {
  const { clock, log } = options;
  const { raw } = reply;
  reply.hijack();
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    "content-type": "text/event-stream",
    "cache-control": "no-store",
  });
  const gone = new AbortController();
  raw.once("close", () => gone.abort());
  const stopListening = onAbort(options.signal, () => raw.end());
  raw.write(`retry: ${Math.round(1_000 + 2_000 * clock.random())}\n\n`);
  let saidAtMs = clock.now();
  let askedAtMs = clock.now();

  const write = (text: string): void => {
    raw.write(text);
    saidAtMs = clock.now();
    if (raw.writableLength > UNREAD_BYTES_MAX) raw.destroy();
  };
  const mayHear = async (): Promise<boolean> => {
    if (clock.now() - askedAtMs < RIGHTS_MS) return true;
    askedAtMs = clock.now();
    return (await signedIn(request, options)) !== undefined && (await isOpen());
  };
  try {
    await work({
      gone: gone.signal,
      send: (news) => write(textOf(news)),
      goesOn: async () => {
        if (!gone.signal.aborted && clock.now() - saidAtMs >= PING_MS) write(": still here\n\n");
        return !gone.signal.aborted && (await isRead(raw, clock)) && (await mayHear());
      },
    });
  } catch (error) {
    log.debug("a stream ended", { error });
  } finally {
    stopListening();
    raw.end();
  }
}

/** Waits until what was written has left for the reader. One that takes nothing for so long is let go. */
async function isRead(raw: ServerResponse, clock: Clock): Promise<boolean> {
  if (!raw.writableNeedDrain) return true;
  const over = Promise.withResolvers<boolean>();
  const read = (): void => over.resolve(true);
  const closed = (): void => over.resolve(false);
  raw.once("drain", read).once("close", closed);
  const callOff = clock.alarm(UNREAD_MS, () => {
    closed();
    raw.destroy();
  });
  try {
    return await over.promise;
  } finally {
    callOff();
    raw.off("drain", read).off("close", closed);
  }
}

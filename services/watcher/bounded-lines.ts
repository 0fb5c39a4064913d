/**
 * The lines of one log that wait to be sent.
 *
 * The failure this prevents: a program that prints a gigabyte, and a watcher and a broker that carry it. So many bytes a second
 * pass; what is more is dropped and counted, so that the reader is told of the gap and sees what is printed now.
 */
import type { LogPiece } from "@longshore/contract/messages/control.ts";
import type { Clock } from "@longshore/runtime/clock.ts";

export interface LineLimits {
  readonly bytesPerSecond: number;
  /** So much passes at once after a silence: a log's last lines come at the beginning. */
  readonly burstBytes: number;
}

export interface BoundedLines {
  give(line: string): void;
  /** Lines are missing, and nobody knows how many. */
  lose(): void;
  /** Returns what waits, at most one piece; undefined if nothing does. */
  take(): LogPiece | undefined;
}

/** A broker carries messages of this size without trouble, also when each byte becomes six in JSON. */
const PIECE_BYTES = 32 * 1024;

export function boundedLines({ bytesPerSecond, burstBytes }: LineLimits, clock: Pick<Clock, "now">): BoundedLines {
  let allowed = burstBytes;
  let atMs = clock.now();
  let waiting: string[] = [];
  let before: LogPiece["gap"];
  let after: LogPiece["gap"];

  function refill(): void {
    const now = clock.now();
    allowed = Math.min(burstBytes, allowed + ((now - atMs) / 1000) * bytesPerSecond);
    atMs = now;
  }

  function drop(bytes: number): void {
    const known = after === undefined ? 0 : after.bytes;
    after = known === undefined ? {} : { bytes: known + bytes };
  }

  function give(line: string): void {
    refill();
    const bytes = Buffer.byteLength(line) + 1;
    // Once something was dropped, what waits must leave before anything else is taken: there is one gap, and it has a place.
    if (after !== undefined && waiting.length > 0) return drop(bytes);
    if (bytes > allowed || bytes > PIECE_BYTES) return drop(bytes);
    if (after !== undefined) [before, after] = [after, undefined];
    allowed -= bytes;
    waiting.push(`${line}\n`);
  }

  function take(): LogPiece | undefined {
    if (waiting.length === 0 && before === undefined) {
      if (after === undefined) return undefined;
      [before, after] = [after, undefined];
    }
    let text = "";
    let left = PIECE_BYTES;
    let count = 0;
    for (const line of waiting) {
      left -= Buffer.byteLength(line);
      if (left < 0) break;
      text += line;
      count++;
    }
    waiting = waiting.slice(count);
    const piece: LogPiece = { ...(before && { gap: before }), text };
    before = undefined;
    return piece;
  }

  return {
    give,
    lose: () => {
      after = {};
    },
    take,
  };
}

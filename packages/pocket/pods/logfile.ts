/**
 * A container's output: the file that its process writes to, its bound, and its followers.
 *
 * The bug this prevents: a chatty process that fills the disk or the memory. The process appends to the file itself, so that its
 * output goes on while no pocket runs. A pocket that runs looks at the file every second: when it has grown to half of the bound,
 * its end is moved to a second file and it begins anew. So the last half of the bound is always kept. What the process writes
 * in the moment of the move is lost, and while no pocket runs the file grows without a bound.
 */
import { closeSync, openSync, readSync, renameSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { StringDecoder } from "node:string_decoder";
import type { Clock } from "@longshore/runtime/clock.ts";

export interface LogFile {
  read(): string;
  follow(line: (text: string | undefined) => void): () => void;
  /** The process has ended: reads what followers have not heard yet, and ends them. */
  close(): void;
}

const LINE_MOST = 16_384;
const LOOK_MS = 1_000;
const LOOK_FOLLOWED_MS = 50;

const olderOf = (path: string): string => `${path}.older`;

/** The kept output, at most the bound. Between two looks, or while no pocket ran, a process may have written far more. */
function lastOf(path: string, size: number, bytesMost: number): Buffer {
  const older = sizeOf(olderOf(path));
  const from = Math.max(0, older + size - bytesMost);
  const last = Buffer.concat([bytesOf(olderOf(path), from, older), bytesOf(path, Math.max(0, from - older), size)]);
  return from > 0 ? fromLineStart(last) : last;
}

export function openLogFile(path: string, bytesMost: number, clock: Clock): LogFile {
  let closed = false;
  let isUncut = false;
  /** How much of the file the followers have heard. */
  let heard = 0;
  let rest = "";
  let decoder = new StringDecoder("utf8");
  const followers = new Set<(text: string | undefined) => void>();
  let callOff = (): void => undefined;
  closeSync(openSync(path, "a"));

  function tell(text: string): void {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    // A long line without an end is passed on in parts.
    if (rest.length > LINE_MOST) lines.push(rest.slice(0, LINE_MOST));
    rest = rest.length > LINE_MOST ? rest.slice(LINE_MOST) : rest;
    for (const line of lines) for (const it of followers) it(line);
  }

  /** Followers that are more than the bound behind miss what lies between. */
  function hear(): number {
    const size = sizeOf(path);
    const from = Math.max(heard, size - bytesMost);
    if (size > from) tell(decoder.write(bytesOf(path, from, size)));
    heard = size;
    return size;
  }

  function look(): void {
    try {
      const size = followers.size > 0 ? hear() : sizeOf(path);
      if (size > bytesMost / 2) move(size);
    } catch (error) {
      // The disk is full. The next look tries again.
      if (!isUncut) process.emitWarning(`${path} cannot be cut: ${error instanceof Error ? error.message : String(error)}`);
      isUncut = true;
    }
  }

  function move(size: number): void {
    const last = bytesOf(path, size - Math.floor(bytesMost / 2), size);
    writeFileSync(`${olderOf(path)}.new`, fromLineStart(last));
    renameSync(`${olderOf(path)}.new`, olderOf(path));
    if (followers.size > 0) hear();
    truncateSync(path);
    heard = 0;
  }

  function lookAgain(): void {
    callOff();
    if (closed) return;
    callOff = clock.alarm(followers.size > 0 ? LOOK_FOLLOWED_MS : LOOK_MS, () => {
      look();
      lookAgain();
    });
  }

  function follow(line: (text: string | undefined) => void): () => void {
    if (followers.size > 0) hear();
    // Reads synchronously, so that nothing is heard between this read and the first line that is followed.
    const size = sizeOf(path);
    const standing = lastOf(path, size, bytesMost);
    if (followers.size === 0) {
      decoder = new StringDecoder("utf8");
      rest = "";
    }
    const lines = (followers.size === 0 ? decoder.write(standing) : standing.toString()).split("\n");
    const last = lines.pop() ?? "";
    for (const it of lines) line(it);
    if (closed) {
      if (last !== "") line(last);
      line(undefined);
      return () => undefined;
    }
    if (followers.size === 0) [heard, rest] = [size, last];
    followers.add(line);
    lookAgain();
    return () => followers.delete(line);
  }

  look();
  lookAgain();
  return {
    read: () => lastOf(path, sizeOf(path), bytesMost).toString(),
    follow,
    close: () => {
      if (closed) return;
      closed = true;
      callOff();
      look();
      if (rest !== "") for (const it of followers) it(rest);
      for (const it of followers) it(undefined);
      followers.clear();
    },
  };
}

/** 0 if there is no such file: somebody may have removed the folder. */
const sizeOf = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0;

function bytesOf(path: string, from: number, to: number): Buffer {
  if (to <= from) return Buffer.alloc(0);
  const bytes = Buffer.alloc(to - from);
  const file = openSync(path, "r");
  try {
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, from));
  } finally {
    closeSync(file);
  }
}

/** The cut may have gone through a line or a character. */
function fromLineStart(bytes: Buffer): Buffer {
  const at = bytes.indexOf("\n");
  return at < 0 ? bytes : bytes.subarray(at + 1);
}

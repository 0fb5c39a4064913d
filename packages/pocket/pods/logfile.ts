/**
 * A container's output, in files of bounded size, and its followers.
 *
 * The bug this prevents: a chatty process that fills the disk or the memory. There are two files, each of half the bound. When
 * the newer is full, the older is dropped, so the last half of the bound is always kept.
 */
import { closeSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { StringDecoder } from "node:string_decoder";

export interface LogFile {
  write(bytes: Buffer): void;
  read(): Promise<string>;
  follow(line: (text: string | undefined) => void): () => void;
  close(): void;
}

const LINE_MOST = 16_384;

export function openLogFile(path: string, bytesMost: number): LogFile {
  const older = `${path}.older`;
  let file = openSync(path, "w");
  let size = 0;
  let rotated = false;
  let closed = false;
  let rest = "";
  const decoder = new StringDecoder("utf8");
  const followers = new Set<(text: string | undefined) => void>();

  function rotate(): void {
    closeSync(file);
    renameSync(path, older);
    rotated = true;
    file = openSync(path, "w");
    size = 0;
  }

  function tell(text: string): void {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    // A long line without an end is passed on in parts.
    if (rest.length > LINE_MOST) lines.push(rest.slice(0, LINE_MOST));
    rest = rest.length > LINE_MOST ? rest.slice(LINE_MOST) : rest;
    for (const line of lines) for (const it of followers) it(line);
  }

  async function read(): Promise<string> {
    const before = rotated ? await readFile(older, "utf8") : "";
    return before + (await readFile(path, "utf8"));
  }

  return {
    write: (bytes) => {
      if (closed) return;
      if (size > 0 && size + bytes.length > bytesMost / 2) rotate();
      size += writeSync(file, bytes);
      tell(decoder.write(bytes));
    },
    read,
    follow: (line) => {
      // Reads synchronously, so that nothing is written between this read and the first line that is followed.
      const standing = (rotated ? readFileSync(older, "utf8") : "") + readFileSync(path, "utf8");
      const lines = standing.split("\n");
      const last = lines.pop() ?? "";
      for (const it of lines) line(it);
      if (!closed) {
        followers.add(line);
        return () => followers.delete(line);
      }
      if (last !== "") line(last);
      line(undefined);
      return () => undefined;
    },
    close: () => {
      if (closed) return;
      closed = true;
      closeSync(file);
      if (rest !== "") for (const it of followers) it(rest);
      for (const it of followers) it(undefined);
      followers.clear();
    },
  };
}

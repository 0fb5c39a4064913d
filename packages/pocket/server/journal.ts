/**
 * The objects on disk: one file to which each change is appended as a line of JSON before anybody hears of it.
 *
 * The bugs this prevents: a cluster that forgets its Jobs when its process ends, and an object that is half written. A kill in
 * the middle of a write leaves a line without an end, which the next start drops: nobody had heard of that change. The file is
 * forced to the disk once a second, so a machine that loses its power may lose the changes of the last second or two.
 */
import { copyFileSync, existsSync, readFileSync, renameSync } from "node:fs";
import { closeSync, fdatasync, fsyncSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Clock } from "@longshore/runtime/clock.ts";
import { type ApiObject, isFields, RESOURCES, type Resource, textOf } from "../objects.ts";
import { type Change, type Disk, keyOf, type Kept } from "./store.ts";

const FORMAT = 1;
const FILE = "objects.jsonl";
const SYNC_MS = 1_000;
/** The file is written anew when it is larger than this, and more than double of what it was when it was last written anew. */
const REWRITE_BYTES = 16_777_216;

type Line =
  | { readonly format: number; readonly version: number }
  | { readonly put: Resource; readonly object: ApiObject }
  | { readonly removed: Resource; readonly key: string; readonly version: number };

export interface Journal extends Disk, AsyncDisposable {}

export function openJournal(
  folder: string,
  clock: Clock,
  { rewriteBytes = REWRITE_BYTES }: { readonly rewriteBytes?: number } = {},
): Journal {
  const path = join(folder, FILE);
  const objects = new Map<string, Kept>();
  const first = load(path, objects);
  let version = first;
  let { file, bytes } = rewrite(path, objects, version);
  let least = bytes;
  let callOff: (() => void) | undefined;

  /** A line that was written in part, on a full disk, is taken back: else the next one would continue it. */
  function write(line: Line): void {
    const text = Buffer.from(`${textOfLine(line)}\n`);
    try {
      writeAt(file, text, bytes);
    } catch (error) {
      ftruncateSync(file, bytes);
      throw error;
    }
    bytes += text.length;
  }

  function append({ type, resource, object, version: next }: Change): void {
    const key = `${resource}/${keyOf(object)}`;
    write(type === "DELETED" ? { removed: resource, key: keyOf(object), version: next } : { put: resource, object });
    version = next;
    if (type === "DELETED") objects.delete(key);
    else objects.set(key, { resource, object });
    callOff ??= clock.alarm(SYNC_MS, sync);
    if (bytes > rewriteBytes && bytes > 2 * least) rewriteNow();
  }

  /** If that fails, on a full disk, the old file goes on, and is written anew when it is twice as large. */
  function rewriteNow(): void {
    try {
      const old = file;
      // First, since the old file has no name any more: what is written to it from here on would be lost.
      ({ file, bytes } = rewrite(path, objects, version));
      closeSync(old);
    } catch (error) {
      process.emitWarning(`${path} could not be written anew: ${error instanceof Error ? error.message : String(error)}`);
    }
    least = bytes;
  }

  /** If it fails, Linux takes what it could not write for written, and no later call would fail: so all is written anew. */
  function sync(): void {
    callOff = undefined;
    const synced = file;
    fdatasync(synced, (error) => {
      if (error !== null && synced === file) rewriteNow();
    });
  }

  return {
    version: first,
    objects: [...objects.values()],
    append,
    [Symbol.asyncDispose]: async () => {
      callOff?.();
      fsyncSync(file);
      closeSync(file);
      file = -1; // a sync that is under way must not write anew what is closed
    },
  };
}

/** Fills in what the file has, and returns the last version that it tells. */
function load(path: string, objects: Map<string, Kept>): number {
  if (!existsSync(path)) return 0;
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1); // what follows the last line's end was cut off
  let version = 0;
  for (const [n, text] of lines.entries()) {
    const line = readLine(text);
    if (line === undefined) {
      setAside(path, lines.length - n);
      break;
    }
    if ("format" in line) {
      if (line.format !== FORMAT) throw newer(path);
      version = Math.max(version, line.version);
    } else if ("put" in line) {
      if (!RESOURCES.includes(line.put)) throw newer(path);
      objects.set(`${line.put}/${keyOf(line.object)}`, { resource: line.put, object: line.object });
      version = Math.max(version, Number(line.object.metadata.resourceVersion));
    } else {
      objects.delete(`${line.removed}/${line.key}`);
      version = Math.max(version, line.version);
    }
  }
  return version;
}

/** A kill leaves at most one line unfinished. If whole lines cannot be read, the disk has lost something: people may look at it. */
function setAside(path: string, lines: number): void {
  let aside = `${path}.damaged`;
  for (let n = 2; existsSync(aside); n++) aside = `${path}.damaged-${n}`;
  copyFileSync(path, aside);
  process.emitWarning(`${path} has ${lines} lines that cannot be read. They are dropped; ${aside} has them.`);
}

const newer = (path: string): Error => new Error(`${path} was written by a newer Longshore than this one`);

function readLine(text: string): Line | undefined {
  let line: unknown;
  try {
    line = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (!isFields(line)) return undefined;
  const whole =
    (typeof line["format"] === "number" && typeof line["version"] === "number") ||
    (typeof line["put"] === "string" && isFields(line["object"])) ||
    (typeof line["removed"] === "string" && typeof line["key"] === "string" && typeof line["version"] === "number");
  return whole ? (line as Line) : undefined;
}

/** The text of an object is the one that watches and answers use, too. */
const textOfLine = (line: Line): string =>
  "put" in line ? `{"put":${JSON.stringify(line.put)},"object":${textOf(line.object)}}` : JSON.stringify(line);

/** By position: after a write that failed, the file's own position lies behind its end. */
function writeAt(file: number, bytes: Buffer, position: number): void {
  for (let written = 0; written < bytes.length; )
    written += writeSync(file, bytes, written, bytes.length - written, position + written);
}

/** Writes the objects into a new file, which takes the old one's place when it is on the disk. */
function rewrite(path: string, objects: ReadonlyMap<string, Kept>, version: number) {
  const file = openSync(`${path}.new`, "w", 0o600);
  try {
    const lines: readonly Line[] = [
      { format: FORMAT, version },
      ...[...objects.values()].map(({ resource, object }) => ({ put: resource, object })),
    ];
    let bytes = 0;
    for (const line of lines) {
      const text = Buffer.from(`${textOfLine(line)}\n`);
      writeAt(file, text, bytes);
      bytes += text.length;
    }
    fsyncSync(file);
    renameSync(`${path}.new`, path);
    syncFolder(dirname(path));
    return { file, bytes };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

/**
 * Without it, a loss of power may bring the old file back. If it fails, that is only said: the new file has the name already, and
 * a caller that went on with the old one would write where nobody reads.
 */
function syncFolder(path: string): void {
  try {
    const folder = openSync(path, "r");
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  } catch (error) {
    process.emitWarning(`${path} could not be forced to the disk: ${error instanceof Error ? error.message : String(error)}`);
  }
}

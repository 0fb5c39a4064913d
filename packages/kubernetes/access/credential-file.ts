/**
 * A file that somebody rotates. It is read again when its last reading is older than a minute, or was rejected.
 *
 * The bugs this prevents: a service that works until its hourly token has expired, and a service that fails because it read the
 * file at the moment when it was being replaced.
 */
import { readFile } from "node:fs/promises";
import type { Clock } from "@longshore/runtime/clock.ts";

export const AGE_MAX_MS = 60_000;
/** Least time between readings: a cluster that answers 401 to everything must not make us read without pause. */
const AGE_MIN_MS = 1_000;
const FILE_MAX_BYTES = 1024 * 1024;

export interface Kept<T> {
  get(): Promise<T>;
  /** The last value was rejected: the next `get` makes it again. */
  doubt(): void;
}

/** Keeps the value that `make` made. If making it again fails, the old value stays in use: it may still be good. */
export function kept<T>(clock: Clock, first: T, make: () => Promise<T>): Kept<T> {
  let value = first;
  let madeMs = clock.now();
  let maxMs = AGE_MAX_MS;
  let making: Promise<T> | undefined;

  async function again(): Promise<T> {
    try {
      value = await make();
    } catch {
      // The failure is told elsewhere and better: by the 401 or the failed handshake of the request that uses the old value in
      // vain.
      return value;
    } finally {
      madeMs = clock.now();
      maxMs = AGE_MAX_MS;
      making = undefined;
    }
    return value;
  }

  return {
    get: () => {
      if (clock.now() - madeMs < maxMs) return Promise.resolve(value);
      making ??= again();
      return making;
    },
    doubt: () => {
      maxMs = AGE_MIN_MS;
    },
  };
}

/** Returns the file's text. Throws a sentence that names the file. */
export async function readText(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    const why =
      code === "ENOENT"
        ? "it does not exist"
        : code === "EACCES"
          ? "we may not read it"
          : code === "EISDIR"
            ? "it is a folder"
            : String(code ?? error);
    throw new Error(`The file ${path} cannot be read: ${why}.`, { cause: error });
  }
  if (bytes.length > FILE_MAX_BYTES) throw new Error(`The file ${path} is larger than ${FILE_MAX_BYTES} bytes.`);
  return bytes.toString("utf8");
}

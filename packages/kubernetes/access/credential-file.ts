/**
 * A file that somebody rotates: read again when what we hold is older than a minute, or was found wanting.
 *
 * The bugs this prevents: a service that works until its token of an hour has expired, and one that fails because it
 * looked in the moment in which the file was being replaced.
 */
import { readFile } from "node:fs/promises";
import type { Clock } from "@longshore/runtime/clock.ts";

export const AGE_MAX_MS = 60_000;
/** However often it is found wanting: a cluster that answers 401 to everything must not make us read without pause. */
const AGE_MIN_MS = 1_000;
const FILE_MAX_BYTES = 1024 * 1024;

export interface Kept<T> {
  get(): Promise<T>;
  /** What `get` gave last did not do: the next one makes it again. */
  doubt(): void;
}

/** Keeps what `make` made. Where making it again fails, what we have stays in use: it may still be good. */
export function kept<T>(clock: Clock, first: T, make: () => Promise<T>): Kept<T> {
  let value = first;
  let madeMs = clock.now();
  let maxMs = AGE_MAX_MS;
  let making: Promise<T> | undefined;

  async function again(): Promise<T> {
    try {
      value = await make();
    } catch {
      // Said elsewhere and better: by the 401 or the failed handshake of whoever uses the old one in vain.
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

/** The file's text. Throws with a sentence that names it. */
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

/**
 * Takes a folder for one process alone.
 *
 * The bug this prevents: two that start in one folder at the same time, and each of them ruins the other's data.
 */
import { randomUUID } from "node:crypto";
import { link, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, systemClock } from "./clock.ts";
import { type Identity, identityOf, isAlive, readIdentity, writeIdentity } from "./birth.ts";

const TRIES_MOST = 10;
/** Several may find the lock of a dead process at once, and a slower one removes the lock of a faster one. */
const SETTLE_MS = 50;

const lockIn = (folder: string): string => join(folder, "pid");

async function holderIn(folder: string): Promise<Identity | undefined> {
  const holder = readIdentity(await readFile(lockIn(folder), "utf8").catch(() => ""));
  return holder !== undefined && isAlive(holder) ? holder : undefined;
}

/** The process that has the folder. */
export const holderOf = async (folder: string): Promise<number | undefined> => (await holderIn(folder))?.pid;

/** `taken` makes the error for the process that has the folder; `undefined` if the folder takes no lock. */
export async function lockFolder(
  folder: string,
  taken: (pid: number | undefined) => Error,
  clock: Clock = systemClock,
): Promise<AsyncDisposable> {
  const lock = lockIn(folder);
  const own = `${lock}.${randomUUID()}`;
  const text = writeIdentity(identityOf(process.pid) ?? { pid: process.pid, birth: "unknown" });
  await writeFile(own, text, { mode: 0o600 });
  /** If several processes try, one of them succeeds. */
  const linked = (): Promise<boolean> =>
    link(own, lock).then(
      () => true,
      () => false,
    );
  try {
    const { ino } = await stat(own);
    const stands = async (): Promise<boolean> => (await stat(lock).catch(() => undefined))?.ino === ino;
    for (let tries = 0; tries < TRIES_MOST; tries++) {
      if (await linked()) {
        await clock.sleep(SETTLE_MS);
        if (!(await stands())) continue;
        return { [Symbol.asyncDispose]: async () => ((await stands()) ? await rm(lock, { force: true }) : undefined) };
      }
      const holder = await holderIn(folder);
      if (holder !== undefined) throw taken(holder.pid);
      await rm(lock, { force: true }); // its process was killed
    }
    throw taken(undefined);
  } finally {
    await rm(own, { force: true });
  }
}

/**
 * Opens a ledger for a program that makes none: it migrates nothing, and is refused by a ledger without its installation.
 *
 * The failure this prevents: a connection that stays open after a start that was refused.
 */
import type { Installation } from "@longshore/contract/ids.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type Database, openDatabase } from "./connection.ts";
import { epochOf, prepareSchema } from "./schema/version.ts";

export interface MadeOptions {
  /** postgres://user:password@host:5432/database */
  readonly url: string;
  readonly installation: Installation;
  readonly log: Log;
  readonly poolMax?: number;
}

/** `use` makes what the program asks the ledger by, and closes the database with it. */
export async function openMade<T>(
  { url, installation, log, poolMax = 4 }: MadeOptions,
  use: (database: Database) => T | Promise<T>,
): Promise<T> {
  const database = openDatabase(url, { poolMax, log });
  try {
    await prepareSchema(database, url, { migrate: false });
    await epochOf(database, installation);
    return await use(database);
  } catch (error) {
    await database.close();
    throw error;
  }
}

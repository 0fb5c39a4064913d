/**
 * The migrations, by Kysely. This file is loaded only if there is something to migrate: loading Kysely is a fifth of a start's
 * cost.
 *
 * The failure this prevents: two launchers that migrate at once.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { Kysely, PostgresDialect } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import pg from "pg";
import { connectionOf, SCHEMA } from "../connection.ts";
import { failureOf, placeOf } from "../failure.ts";
import * as spine from "./migrations/0001-spine.ts";
import * as keyMark from "./migrations/0002-key-mark.ts";
import { MIGRATION_TABLE, type MigrationName } from "./version.ts";

const MIGRATIONS: Readonly<Record<MigrationName, Migration>> = { "0001-spine": spine, "0002-key-mark": keyMark };

/** If migrations are missing and `may` is false, throws a `Failure` ("LedgerBehind", or "LedgerNew" for a database without a ledger). */
export async function migrateSchema(url: string, { may }: { readonly may: boolean }): Promise<void> {
  const place = placeOf(url);
  // No time-out on statements: a later migration may have to rewrite a large table.
  const pool = new pg.Pool({ ...connectionOf(url), max: 1 });
  // If a connection breaks, the query in flight fails and reports the error; without a listener here the error would end the
  // process.
  pool.on("error", () => undefined);
  pool.on("connect", (client) => client.on("error", () => undefined));
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    const migrator = new Migrator({
      db,
      provider: { getMigrations: async () => MIGRATIONS },
      migrationTableSchema: SCHEMA,
      migrationTableName: MIGRATION_TABLE,
      migrationLockTableName: "migration_lock",
    });
    if (may) {
      const { error } = await migrator.migrateToLatest();
      if (error !== undefined) throw error instanceof Error ? error : new Error("the migration failed", { cause: error });
      return;
    }
    const all = await migrator.getMigrations();
    const behind = all.filter(({ executedAt }) => executedAt === undefined);
    if (behind.length === 0) return;
    if (behind.length === all.length)
      throw new Failure(
        "halt",
        "LedgerNew",
        "The database is new: it holds no ledger yet. The first start of a launcher makes the schema (unless it has ledger.migrate: false), with the rights of the database's owner.",
      );
    const what = `The ledger's schema lacks ${behind.map(({ name }) => name).join(", ")}.`;
    throw new Failure(
      "halt",
      "LedgerBehind",
      `${what} Start a launcher that may migrate it, with the rights of the database's owner.`,
    );
  } catch (error) {
    throw failureOf(error, place);
  } finally {
    await db.destroy().catch(() => undefined); // the earlier error is the one that is reported
  }
}

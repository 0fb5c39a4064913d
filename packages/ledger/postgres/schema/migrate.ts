/**
 * The migrations, by Kysely: loaded only where there is something to migrate, since loading it is a fifth of what a start costs.
 *
 * The failure this prevents: two launchers that migrate at once.
 */
import { Failure } from "@longshore/contract/problem.ts";
import { Kysely, PostgresDialect } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import pg from "pg";
import { connectionOf, SCHEMA } from "../connection.ts";
import { failureOf, placeOf } from "../failure.ts";
import * as spine from "./migrations/0001-spine.ts";
import { MIGRATION_TABLE, type MigrationName } from "./version.ts";

const MIGRATIONS: Readonly<Record<MigrationName, Migration>> = { "0001-spine": spine };

/** Where it may not, and something is missing, that is refused. */
export async function migrateSchema(url: string, { may }: { readonly may: boolean }): Promise<void> {
  const place = placeOf(url);
  // No time-out on statements: a later migration may have to rewrite a large table.
  const pool = new pg.Pool({ ...connectionOf(url), max: 1 });
  // The query in flight fails with it, and is what is told; without a listener it would end the process.
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
    const behind = (await migrator.getMigrations()).filter(({ executedAt }) => executedAt === undefined);
    if (behind.length === 0) return;
    const what = `The ledger's schema lacks ${behind.map(({ name }) => name).join(", ")}.`;
    throw new Failure(
      "halt",
      "LedgerBehind",
      `${what} Start a launcher that may migrate it, with the rights of the database's owner.`,
    );
  } catch (error) {
    throw failureOf(error, place);
  } finally {
    await db.destroy().catch(() => undefined); // what went wrong before is told
  }
}

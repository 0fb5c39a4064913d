/**
 * Brings the ledger's schema up to date, and says what is wrong with a database that must not be a ledger.
 *
 * The failures this prevents: two launchers that migrate at once, an old launcher on a newer ledger, one installation that
 * writes into another's ledger, and a database that says "committed" before it is on the disk.
 */
import { Failure } from "@longshore/contract/problem.ts";
import { Kysely, PostgresDialect } from "kysely";
import { type Migration, Migrator } from "kysely/migration";
import pg from "pg";
import { connectionOf, SCHEMA } from "./connection.ts";
import { failureOf, placeOf } from "./failure.ts";
import * as spine from "./migrations/0001-spine.ts";
import * as groups from "./migrations/0002-groups.ts";

const MIGRATIONS: Readonly<Record<string, Migration>> = { "0001-spine": spine, "0002-groups": groups };
export const NEWEST = Object.keys(MIGRATIONS).at(-1) ?? "";

/** Grows with every change that a launcher of before would misunderstand. */
export const PROTOCOL = 1;

export async function prepareSchema(
  url: string,
  { migrate }: { readonly migrate: boolean },
): Promise<{ readonly schema: string }> {
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
      migrationTableName: "migration",
      migrationLockTableName: "migration_lock",
    });
    if (migrate) {
      const { error } = await migrator.migrateToLatest();
      if (error !== undefined) throw error instanceof Error ? error : new Error("the migration failed", { cause: error });
      return { schema: NEWEST };
    }
    const behind = (await migrator.getMigrations()).filter(({ executedAt }) => executedAt === undefined);
    if (behind.length === 0) return { schema: NEWEST };
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

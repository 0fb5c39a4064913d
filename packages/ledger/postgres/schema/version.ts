/**
 * The version of the ledger's schema, and the step that brings the schema up to date.
 *
 * The failures this prevents: a launcher on a schema that lacks columns it writes; and a start that waits for the migration
 * lock although there is nothing to migrate, as at every start but the first.
 */
import { type Database, SCHEMA, type Statement } from "../connection.ts";

export const MIGRATION_TABLE = "migration";
const NAMES = ["0001-spine", "0002-key-mark"] as const;
export type MigrationName = (typeof NAMES)[number];
const NEWEST: MigrationName = NAMES[NAMES.length - 1] ?? NAMES[0];

/** Grows with every change that an older launcher would misunderstand. */
export const PROTOCOL = 1;

export async function prepareSchema(
  database: Database,
  url: string,
  { migrate }: { readonly migrate: boolean },
): Promise<{ readonly schema: string }> {
  if (!(await isUpToDate(database))) {
    const { migrateSchema } = await import("./migrate.ts");
    await migrateSchema(url, { may: migrate });
  }
  return { schema: NEWEST };
}

const THERE: Statement = {
  name: "migrated",
  text: `select to_regclass('${SCHEMA}.${MIGRATION_TABLE}') is not null as there`,
};
const MADE: Statement = { name: "migrations", text: `select name from ${SCHEMA}.${MIGRATION_TABLE}` };

/**
 * A schema that is newer than ours is used as it is. The protocol number, not the schema, tells whether we understand it, as it
 * does for launchers that are already running.
 */
async function isUpToDate(database: Database): Promise<boolean> {
  const [table] = await database.all<{ there: boolean }>(THERE);
  if (table?.there !== true) return false;
  const made = new Set((await database.all<{ name: string }>(MADE)).map(({ name }) => name));
  return NAMES.every((name) => made.has(name));
}

/**
 * How far the ledger's schema is, and who brings it up to date.
 *
 * The failures this prevents: a launcher on a schema that lacks what it writes, and a start that waits for the lock of migrations
 * when there are none to be made, which is every start but the first.
 */
import { type Database, SCHEMA, type Statement } from "./connection.ts";

export const MIGRATION_TABLE = "migration";
const NAMES = ["0001-spine", "0002-groups"] as const;
export type MigrationName = (typeof NAMES)[number];
const NEWEST: MigrationName = NAMES[NAMES.length - 1] ?? NAMES[0];

/** Grows with every change that a launcher of before would misunderstand. */
export const PROTOCOL = 1;

export async function prepareSchema(
  database: Database,
  url: string,
  { migrate }: { readonly migrate: boolean },
): Promise<{ readonly schema: string }> {
  if (!(await isNewest(database))) {
    const { migrateSchema } = await import("./migrate.ts");
    await migrateSchema(url, { may: migrate });
  }
  return { schema: NEWEST };
}

const THERE: Statement = {
  name: "migrated",
  text: `select to_regclass('${SCHEMA}.${MIGRATION_TABLE}') is not null as there`,
};
const MADE: Statement = { name: "migrations", text: `select name from ${SCHEMA}.${MIGRATION_TABLE} order by name` };

/** Neither behind nor ahead of us: what else it may be, the migrator says. */
async function isNewest(database: Database): Promise<boolean> {
  const [table] = await database.all<{ there: boolean }>(THERE);
  if (table?.there !== true) return false;
  const made = await database.all<{ name: string }>(MADE);
  return made.map(({ name }) => name).join() === NAMES.join();
}

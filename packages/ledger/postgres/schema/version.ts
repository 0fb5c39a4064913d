/**
 * How far the ledger's schema is, and who brings it up to date.
 *
 * The failures this prevents: a launcher on a schema that lacks what it writes, and a start that waits for the lock of migrations
 * when there are none to be made, which is every start but the first.
 */
import { type Database, SCHEMA, type Statement } from "../connection.ts";

export const MIGRATION_TABLE = "migration";
const NAMES = ["0001-spine"] as const;
export type MigrationName = (typeof NAMES)[number];
const NEWEST: MigrationName = NAMES[NAMES.length - 1] ?? NAMES[0];

/** Grows with every change that a launcher of before would misunderstand. */
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

/** One that is ahead of us is used as it is: whether we understand it the protocol says, as it does to launchers that run already. */
async function isUpToDate(database: Database): Promise<boolean> {
  const [table] = await database.all<{ there: boolean }>(THERE);
  if (table?.there !== true) return false;
  const made = new Set((await database.all<{ name: string }>(MADE)).map(({ name }) => name));
  return NAMES.every((name) => made.has(name));
}

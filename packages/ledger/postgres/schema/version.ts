/**
 * The version of the ledger's schema, the step that brings the schema up to date, and whose ledger it is.
 *
 * The failures this prevents: a launcher on a schema that lacks columns it writes; a start on another installation's ledger, or
 * on a ledger that a newer Longshore has changed; and a start that waits for the migration
 * lock although there is nothing to migrate, as at every start but the first.
 */
import type { Installation } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
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

const INSTALLED: Statement = { name: "installed", text: "select id, epoch, protocol from installation" };

/** Refuses another installation's ledger, and one that a newer Longshore has changed. */
export async function epochOf(database: Database, installation: Installation): Promise<number> {
  const [found] = await database.all<{ id: string; epoch: number; protocol: number }>(INSTALLED);
  if (found === undefined)
    throw new Failure("halt", "LedgerBroken", "The ledger's installation row vanished. Was it restored halfway?");
  if (found.id !== installation) {
    const what = `This ledger belongs to the installation "${found.id}", and this process is "${installation}".`;
    throw new Failure(
      "halt",
      "LedgerOfAnother",
      `${what} Set installation: ${found.id}, or give this one a database of its own.`,
    );
  }
  if (found.protocol > PROTOCOL) {
    const what = `This ledger was used by a newer Longshore (protocol ${found.protocol}; this one speaks ${PROTOCOL}).`;
    throw new Failure("halt", "LedgerNewer", `${what} Start that version, or a newer one.`);
  }
  return found.epoch;
}

/** The mark of the ledger's key (key-mark.ts). Null until the first start of a launcher that knows it. */
import { type Kysely, sql } from "kysely";

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`alter table installation add column key_mark text collate "C"`.execute(db);
}

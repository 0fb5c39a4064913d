/** What a group's file says of it besides its limits, what its cluster said about room, and when a launcher last served it. */
import { type Kysely, sql } from "kysely";

export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
alter table cluster_group
  add column settings jsonb not null default '{}',
  add column no_room jsonb,
  add column served_at timestamptz`.execute(db);
}

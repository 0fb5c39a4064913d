/**
 * The SQL that makes a role of the database for each service, with no more rights than the service needs.
 *
 * The failure this prevents: the recorder, which talks to foreign addresses, connects as the owner of the ledger. Its role can
 * read the story of each run, but no request (which holds `env`), and can change nothing but what its sinks were told. The
 * console's can change no run and no row of who did what, and reads no secret value, sealed or not.
 */
import { SCHEMA } from "../connection.ts";
import { MIGRATION_TABLE } from "./version.ts";

export const ROLES = ["launcher", "recorder", "console"] as const;
export type RoleName = (typeof ROLES)[number];

export const roleOf = (service: RoleName): string => `longshore_${service}`;

const GRANTS: Readonly<Record<RoleName, readonly string[]>> = {
  launcher: [
    `grant select, insert, update, delete on all tables in schema ${SCHEMA} to ${roleOf("launcher")}`,
    `revoke insert, update, delete on ${SCHEMA}.${MIGRATION_TABLE}, ${SCHEMA}.migration_lock from ${roleOf("launcher")}`,
  ],
  recorder: [
    `grant select on ${SCHEMA}.installation, ${SCHEMA}.${MIGRATION_TABLE}, ${SCHEMA}.told_event to ${roleOf("recorder")}`,
    `grant select (xid, run_key, seq, at) on ${SCHEMA}.event to ${roleOf("recorder")}`,
    `grant select (key, id, seq) on ${SCHEMA}.run to ${roleOf("recorder")}`,
    `grant select, insert, update on ${SCHEMA}.sink, ${SCHEMA}.sink_line to ${roleOf("recorder")}`,
    `grant select, insert, update, delete on ${SCHEMA}.parked_request to ${roleOf("recorder")}`,
  ],
  console: [
    `grant select on ${["installation", MIGRATION_TABLE, "run", "attempt", "event", "object", "cluster_group", "definition", "tag", "ending", "hour", "hour_cursor", "token", "command", "notice", "told_event", "lease", "outbox"].map((it) => `${SCHEMA}.${it}`).join(", ")} to ${roleOf("console")}`,
    `grant select (run_key, spec) on ${SCHEMA}.run_spec to ${roleOf("console")}`,
    `grant select, insert, delete on ${SCHEMA}.sign_in to ${roleOf("console")}`,
    `grant select, insert on ${SCHEMA}.audit to ${roleOf("console")}`,
  ],
};

/** Statements that may be run again: a role that exists keeps its password, and gets the rights of this version. */
export function rolesSql(services: readonly RoleName[]): string {
  const statements = services.flatMap((service) => [
    `do $$ begin create role ${roleOf(service)} login; exception when duplicate_object then null; end $$`,
    `revoke all on all tables in schema ${SCHEMA} from ${roleOf(service)}`,
    `grant usage on schema ${SCHEMA} to ${roleOf(service)}`,
    ...GRANTS[service],
  ]);
  return statements.map((it) => `${it};\n`).join("");
}

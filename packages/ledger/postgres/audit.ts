/**
 * The deeds of people in the console. Rows are only inserted: a deed's answer is read from what the launcher wrote.
 *
 * The failure this prevents: a deed without a row, because the process died between the two; and a row that says "done" of a
 * command that nobody received.
 */
import { ONLY_TENANT } from "@longshore/contract/ids.ts";
import type { Asker } from "@longshore/domain/access/access.ts";
import type { Audit, AuditRow } from "../pages.ts";
import type { Database, Statement } from "./connection.ts";

const NOTE: Statement = {
  name: "audit_note",
  text: "insert into audit (person, deed, about, command) values ($1, $2, $3, $4)",
};

const DENY: Statement = {
  name: "audit_deny",
  text: `
insert into audit (person, deed, about, is_denied)
select $1, $2, $3, true where not exists (
  select from audit where is_denied and at > now() - interval '1 minute' and person = $1::jsonb and deed = $2 and about = $3
)`,
};

const LIST: Statement = {
  name: "audit_list",
  text: `
select a.key, a.at, a.person, a.deed, a.about, case
    when a.is_denied then 'denied'
    when a.deed = 'run' and exists (select from run r where r.id = a.about and r.state <> 'tombstone') then 'done'
    when exists (select from notice n where n.type = 'command.refused' and n.body->>'command' = a.command) then 'refused'
    when exists (select from command c where c.tenant = '${ONLY_TENANT}' and c.source = $3 and c.id = a.command) then 'done'
    else 'open' end as state
from audit a where $1::bigint is null or a.key < $1 order by a.key desc limit $2`,
};

interface Columns {
  readonly key: string;
  readonly at: number;
  readonly person: Asker;
  readonly deed: string;
  readonly about: string;
  readonly state: AuditRow["state"];
}

/** `source`: the source of the console's commands. */
export const auditQueries = (database: Database, source: string): Audit => ({
  note: async ({ person, deed, about, command }) =>
    void (await database.all(NOTE, [JSON.stringify(person), deed, about, command])),
  deny: async ({ person, deed, about }) => void (await database.all(DENY, [JSON.stringify(person), deed, about])),
  list: async ({ before, most }) => {
    const rows = await database.all<Columns>(LIST, [before ?? null, most, source]);
    return rows.map(({ key, at, ...row }) => ({ ...row, atMs: at, cursor: key }));
  },
});

/** The definitions that can be run by name. Launchers put what their files hold, and everybody reads all of them here. */
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { DefinitionName } from "@longshore/contract/ids.ts";
import type { StoredDefinition } from "../port.ts";
import { type Database, type Statement, toJson } from "./connection.ts";

/** A definition that no file has any more is removed; one that did not change keeps the time since when it is so. */
const PUT: Statement = {
  name: "put_definitions",
  text: `
with v as materialized (
  select * from json_to_recordset($1) as v(name text, digest text, body json)
), gone as (
  delete from definition d where d.source = 'file' and not exists (select from v where v.name = d.name)
)
insert into definition (name, source, digest, body, since)
select name, 'file', digest, body, now() from v order by name
on conflict (name) do update set digest = excluded.digest, body = excluded.body, since = excluded.since
where definition.digest <> excluded.digest`,
};

const ALL: Statement = { name: "definitions", text: "select name, source, digest, body, since from definition order by name" };

const ONE: Statement = { name: "definition", text: "select name, digest, body, since from definition where name = $1" };

interface Columns {
  readonly source: NonNullable<StoredDefinition["origin"]>;
  readonly name: DefinitionName;
  readonly digest: string;
  readonly body: Definition;
  readonly since: number;
}

export const definitionQueries = (database: Database) => ({
  putDefinitions: async (definitions: readonly Omit<StoredDefinition, "sinceMs">[]): Promise<void> => {
    await database.all(PUT, [toJson(definitions.map(({ digest, body }) => ({ name: body.name, digest, body })))]);
  },
  definitions: async (): Promise<readonly StoredDefinition[]> =>
    (await database.all<Columns>(ALL)).map(({ source, digest, body, since }) => ({
      origin: source,
      digest,
      body,
      sinceMs: since,
    })),
  definition: async (name: string): Promise<Definition | undefined> => (await database.all<Columns>(ONE, [name]))[0]?.body,
});

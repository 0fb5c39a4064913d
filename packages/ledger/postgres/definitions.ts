/** The definitions that can be run by name. Launchers put what their files hold, and everybody reads all of them here. */
import type { Definition } from "@longshore/contract/request/definition.ts";
import type { DefinitionName } from "@longshore/contract/ids.ts";
import type { Ledger, PreparedGone, PreparedObject, StoredDefinition } from "../port.ts";
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
where definition.source = 'file' and definition.digest <> excluded.digest`,
};

/** Versions of a cluster that was set back are lower than those that it told before: after this time they count again. */
const AGAIN_SECONDS = 600;
/** A definition whose object is gone is shown for so long, with the history of its runs. */
const GONE_SECONDS = 30 * 86_400;

const PUT_PREPARED: Statement = {
  name: "put_prepared",
  text: `
insert into definition (name, source, digest, body, since, prepared, told_at) values ($1, 'cluster', $2, $3, now(), $4, now())
on conflict (name) do update set digest = excluded.digest, body = excluded.body, prepared = excluded.prepared, told_at = excluded.told_at,
  since = case when definition.digest = excluded.digest then definition.since else excluded.since end
where definition.source = 'cluster' and ((definition.prepared ->> 'resourceVersion')::numeric <= (excluded.prepared ->> 'resourceVersion')::numeric
  or definition.told_at < now() - make_interval(secs => ${AGAIN_SECONDS}))`,
};

const LOSE_PREPARED: Statement = {
  name: "lose_prepared",
  text: `
with old as (
  delete from definition where source = 'cluster' and prepared ? 'goneAtMs' and told_at < now() - make_interval(secs => ${GONE_SECONDS})
)
update definition set prepared = prepared || jsonb_build_object('goneAtMs', floor(extract(epoch from now()) * 1000)), told_at = now()
where source = 'cluster' and not prepared ? 'goneAtMs' and prepared ->> 'group' = $1 and prepared ->> 'kind' = $2
  and (prepared ->> 'resourceVersion')::numeric <= $3::numeric
  and case when $4::text is not null then prepared ->> 'uid' = $4 else not prepared ->> 'uid' = any($5::text[]) end`,
};

/** A group that looks for prepared objects no longer has none: its definitions are not there, and come back with the setting. */
const THERE = `from definition d where (d.source = 'file' or exists (
  select from cluster_group g where g.name = d.prepared ->> 'group' and g.settings ? 'discover'))`;

const ALL: Statement = { name: "definitions", text: `select name, digest, body, since, prepared ${THERE} order by name` };

const ONE: Statement = { name: "definition", text: `select name, digest, body, since, prepared ${THERE} and name = $1` };

interface Columns {
  readonly name: DefinitionName;
  readonly digest: string;
  readonly body: Definition;
  readonly since: number;
  readonly prepared: PreparedObject | null;
}

const storedOf = ({ digest, body, since, prepared }: Columns): StoredDefinition => ({
  digest,
  body,
  sinceMs: since,
  ...(prepared && { prepared }),
});

export const definitionQueries = (database: Database) => ({
  putDefinitions: async (definitions: readonly Omit<StoredDefinition, "sinceMs">[]): Promise<void> => {
    await database.all(PUT, [toJson(definitions.map(({ digest, body }) => ({ name: body.name, digest, body })))]);
  },
  definitions: async (): Promise<readonly StoredDefinition[]> => (await database.all<Columns>(ALL)).map(storedOf),
  definition: async (name: string): Promise<StoredDefinition | undefined> =>
    (await database.all<Columns>(ONE, [name])).map(storedOf)[0],
  putPrepared: async ({ digest, body, prepared }: Parameters<Ledger["putPrepared"]>[0]): Promise<void> => {
    await database.all(PUT_PREPARED, [body.name, digest, toJson(body), toJson(prepared)]);
  },
  losePrepared: async ({ group, kind, resourceVersion, uids }: PreparedGone): Promise<void> => {
    const [only, allBut] = "only" in uids ? [uids.only, []] : [null, uids.allBut];
    await database.all(LOSE_PREPARED, [group, kind, resourceVersion, only, allBut]);
  },
});

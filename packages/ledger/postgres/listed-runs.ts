/**
 * Rows of runs for people: the list of the command line, and what the console finds.
 *
 * The failures this prevents: a search for something rare that reads a million runs; and a list that is filtered after it was
 * read, which shows a person by the gaps what they may not see. A search looks through a bounded number of candidates, taken from
 * the index that fits best, and says how far back it came.
 */
import type { DefinitionName, GroupName, RunId, TenantName } from "@longshore/contract/ids.ts";
import type { Outcome } from "@longshore/contract/messages/event.ts";
import type { RunState } from "@longshore/domain/run/record.ts";
import type { FoundRuns, RunSearch } from "../pages.ts";
import type { RunFilter, RunRow } from "../port.ts";
import type { Database, Statement } from "./connection.ts";
import { askedByMe, reachedBy, toReach } from "./reach.ts";
import { type NewestColumns, newestOf, RUN_GROUP } from "./rows.ts";
import { ACTOR } from "./work/tags.ts";

const COLUMNS = `r.key, r.id, r.tenant, r.state, r.outcome, rg.name as group_name, r.definition, r.accepted_at, r.ended_at,
  case when r.generation > 1 then (select max(e.at) from event e where e.run_key = r.key and e.type = 'run.restarted') end as restarted_at,
  (select max(a.outcome->'evidence'->>'finishedAt') from attempt a where a.run_key = r.key and a.generation = r.generation) as finished_at,
  e.type as newest, e.body->>'reason' as reason, e.body->'diagnosis'->>'code' as code, (e.body->>'exitCode')::float8 as exit_code`;

/** The newest event, or in an active pipeline a stall or a wait that still lasts. */
const NEWEST = `left join lateral (
  select e.type, e.body from event e
  where e.run_key = r.key and (e.seq = r.seq or (
    r.state = 'active' and not (r.plan->>'simple')::boolean and e.type in ('run.stalled', 'run.waiting')
    and not exists (select from event l where l.run_key = e.run_key and l.seq > e.seq and l.body->>'step' = e.body->>'step')
  ))
  order by e.type = 'run.stalled' desc, e.type = 'run.waiting' desc, e.seq desc limit 1
) e on true`;

const LIST: Statement = {
  name: "list",
  text: `
select ${COLUMNS}
from run r ${RUN_GROUP} ${NEWEST}
where ($1::text is null and r.state <> 'tombstone' or r.state = $1) and ($2::text is null or r.outcome = $2)
  and ($3::text is null or rg.name = $3) and ($4::bigint is null or r.key < $4)
  and ($6::text[] is null or e.type = any($6))
  and ($7::text is null or starts_with(r.id, $7) and right(r.id, length($8::text)) = $8 and length(r.id) >= length($7) + length($8))
order by r.key desc limit $5`,
};

/** A page looks through at most this many runs; a person goes on from there. */
export const CANDIDATES_MOST = 5_000;

/** A label and a parameter are searched for by the same word. */
const TAG_IS = "t.name = any(array['label:' || $4::text, 'parameter:' || $4::text]) and t.value = $5";
const ID_BEGINS = "r.id >= $6::text and r.id < $6 || chr(1114111)";

/** A run that was restarted has the endings of its earlier generations, too. */
const COUNTS = "n.generation = r.generation and n.outcome = r.outcome";

const GROUP_ID = "(select id from cluster_group where name = $10)";

/** Where candidates come from: each way is one index, read from its newest end. */
const WAYS = {
  all: "select r.key from run r where r.key < $1 order by r.key desc",
  mine: `select t.run_key as key from tag t where t.name = '${ACTOR}' and t.value = $2::jsonb->>'me' and t.run_key < $1 order by t.run_key desc`,
  definition: "select r.key from run r where r.definition = $3 and r.key < $1 order by r.key desc",
  tag: `select key from (
      select t.run_key as key from tag t where ${TAG_IS} and t.run_key < $1
    ) t group by key order by key desc`,
  code: "select n.run_key as key from ending n where n.code = $9 and n.code <> '' and n.run_key < $1 group by n.run_key order by n.run_key desc",
  group: `select key from (
      (select n.run_key as key from ending n where n.group_id = ${GROUP_ID} and n.run_key < $1
        group by n.run_key order by n.run_key desc limit ${CANDIDATES_MOST})
      union
      (select r.key from run r where r.state <> 'ended' and r.group_id = ${GROUP_ID} and r.key < $1 order by r.key desc limit ${CANDIDATES_MOST})
    ) r order by key desc`,
  id: `select key from (
      select r.key from run r where ${ID_BEGINS} and r.key < $1
      union select a.run_key from attempt a where a.name = $6 and a.run_key < $1
    ) r order by key desc`,
} as const;
type Way = keyof typeof WAYS;

/** The conditions of a search, as parameters 2 to 11 say them (`matchValues`). The group's name needs `RUN_GROUP`. */
export const MATCHES = `r.state <> 'tombstone' and ${reachedBy(2)}
    and ($3::text is null or r.definition = $3)
    and ($4::text is null or exists (select from tag t where t.run_key = r.key and ${TAG_IS}))
    and ($6::text is null or ${ID_BEGINS} or exists (select from attempt a where a.run_key = r.key and a.name = $6))
    and ($7::text is null or coalesce(r.outcome, 'active') = $7)
    and (not $8::boolean or ${askedByMe(2)})
    and ($9::text is null or exists (select from ending n where n.run_key = r.key and ${COUNTS} and n.code = $9))
    and ($10::text is null or rg.name = $10 and ${reachedBy(11)})`;

export const matchValues = ({
  reach,
  mine = false,
  definition,
  tag,
  begins,
  code,
  group,
  outcome,
}: Omit<RunSearch, "most">): readonly unknown[] => [
  toReach(reach),
  definition ?? null,
  tag?.name ?? null,
  tag?.value ?? null,
  begins ?? null,
  outcome ?? null,
  mine,
  code ?? null,
  group?.name ?? null,
  group === undefined ? null : toReach(group.reach),
];

const found = (way: Way): Statement => ({
  name: `found_by_${way}`,
  text: `
with candidates as materialized (select key from (${WAYS[way]}) c limit ${CANDIDATES_MOST}),
searched as (
  select case when count(*) = ${CANDIDATES_MOST} then min(key) end as back_to from candidates
), listed as (
  select ${COLUMNS}
  from candidates c join run r on r.key = c.key ${RUN_GROUP} ${NEWEST}
  where ${MATCHES}
  order by r.key desc limit $12
)
select s.back_to, (select accepted_at from run where key = s.back_to) as back_to_at, l.* from searched s left join listed l on true
order by l.key desc`,
});

export const FOUND: Readonly<Record<Way, Statement>> = {
  all: found("all"),
  mine: found("mine"),
  definition: found("definition"),
  tag: found("tag"),
  code: found("code"),
  group: found("group"),
  id: found("id"),
};

interface ListColumns extends NewestColumns {
  readonly key: string;
  readonly id: RunId;
  readonly tenant: TenantName;
  readonly state: RunState;
  readonly outcome: Outcome | null;
  readonly group_name: GroupName | null;
  readonly definition: DefinitionName | null;
  readonly accepted_at: number;
  readonly restarted_at: number | null;
  readonly ended_at: number | null;
  readonly finished_at: string | null;
}

export async function listRuns(
  database: Database,
  { state, outcome, newest, like, group, before, most }: RunFilter,
): Promise<readonly RunRow[]> {
  const after = isKey(before) ? before : null;
  const values = [
    state ?? null,
    outcome ?? null,
    group ?? null,
    after,
    most,
    newest ?? null,
    like?.begins ?? null,
    like?.ends ?? null,
  ];
  return (await database.all<ListColumns>(LIST, values)).map(rowOf);
}

interface FoundColumns {
  readonly back_to: string | null;
  readonly back_to_at: number | null;
}

/** No run has a key as great as this. */
export const NEWEST_KEY = "9223372036854775807";

export async function findRuns(database: Database, search: RunSearch): Promise<FoundRuns> {
  const { before, most } = search;
  const values = [isKey(before) ? before : NEWEST_KEY, ...matchValues(search), most];
  const rows = await database.all<FoundColumns & { [K in keyof ListColumns]: ListColumns[K] | null }>(
    FOUND[wayOf(search)],
    values,
  );
  const listed = rows.flatMap((row) => (row.key === null ? [] : [rowOf(row as FoundColumns & ListColumns)]));
  const { back_to: backTo, back_to_at: backToMs } = rows[0] ?? { back_to: null, back_to_at: null };
  if (listed.length === most) return { rows: listed, before: listed.at(-1)?.cursor };
  return backTo === null || backToMs === null
    ? { rows: listed, before: undefined }
    : { rows: listed, before: backTo, searchedBackToMs: backToMs };
}

/** The index that is likely to leave the fewest candidates. */
function wayOf({ reach, mine = false, definition, tag, begins, code, group }: RunSearch): Way {
  if (tag !== undefined) return "tag";
  if (begins !== undefined) return "id";
  if (mine || reach.all.length === 0) return "mine";
  if (code !== undefined) return "code";
  if (definition !== undefined) return "definition";
  return group === undefined ? "all" : "group";
}

const isKey = (cursor: string | undefined): cursor is string => cursor !== undefined && /^\d{1,18}$/.test(cursor);

const rowOf = (row: ListColumns): RunRow => ({
  id: row.id,
  tenant: row.tenant,
  state: row.state,
  outcome: row.outcome ?? undefined,
  group: row.group_name ?? undefined,
  definition: row.definition ?? undefined,
  acceptedAtMs: row.accepted_at,
  begunAtMs: row.restarted_at ?? row.accepted_at,
  endedAtMs: row.ended_at ?? undefined,
  finishedAtMs: row.finished_at === null ? undefined : Date.parse(row.finished_at),
  newest: newestOf(row),
  cursor: row.key,
});

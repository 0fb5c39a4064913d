/**
 * Writes commands down: new runs with one statement for a whole batch, everything else under the run's lock.
 *
 * The bugs this prevents: one run id with two effects, because two launchers received the same message; a refusal that nobody
 * hears of; and a hundred requests that fail because one of their batch cannot be stored.
 */
import { createHash } from "node:crypto";
import type { RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { CommandProblem } from "@longshore/contract/problems/problem-codes.ts";
import { type Admitting, answerCommand, duplicateOf, isBeginning, isRemembered } from "@longshore/domain/run/admit.ts";
import { type Change, unchanged, workMadeBy } from "@longshore/domain/run/change.ts";
import type { Admitted, Intake, Notice } from "../../port.ts";
import { countUnder, putLines, type Unfinished } from "./concurrency.ts";
import { Bug, CHANNEL, type Queries, type Statement, toJson } from "../connection.ts";
import type { Parts } from "./record.ts";
import { attemptValues, type Locked, lockRuns, runValues } from "../rows.ts";
import { endingsOf } from "./endings.ts";
import { tagsOf } from "./tags.ts";
import { eventsOf, ifBorn, insertAttempts, insertEndings, insertEvents, KEYS, write, type Writing } from "../write.ts";

/**
 * Inserts the runs that do not exist yet, each with all its rows, in the order of their ids. Runs that exist are left alone.
 */
const INTAKE: Statement = {
  name: "intake",
  text: `
with born as (
  insert into run (id, tenant, source, digest, state, outcome, generation, seq, group_id, cancel, plan, steps, accepted_at, ended_at)
  select v.id, v.tenant, v.source, v.digest, v.state, v.outcome, v.generation, v.seq, null, v.cancel, v.plan, v.steps,
    to_timestamp(v.accepted_at / 1000.0), to_timestamp(v.ended_at / 1000.0)
  from json_to_recordset($1) as v(id text, tenant text, source text, digest text, state text, outcome text, generation integer, seq integer,
    cancel jsonb, plan jsonb, steps jsonb, accepted_at float8, ended_at float8)
  order by v.id collate "C"
  on conflict (id) do nothing returning key, id
), ${KEYS}, specs as (
  insert into run_spec (run_key, spec, secrets)
  select (keys.of_run ->> v.run_id)::bigint, v.spec, v.secrets from json_to_recordset($2) as v(run_id text, spec json, secrets text) cross join keys
  ${ifBorn("looked up")}
), attempts as (${insertAttempts("$3", "looked up")}
), ${insertEvents("$4", "looked up")}, commands as (
  insert into command (tenant, source, id, kind, run_id, at)
  select v.tenant, v.source, v.id, v.kind, v.run_id, now()
  from json_to_recordset($5) as v(tenant text, source text, id text, kind text, run_id text) cross join keys
  ${ifBorn("looked up")} on conflict do nothing
), tags as (
  insert into tag (run_key, name, value)
  select (keys.of_run ->> v.run_id)::bigint, v.name, v.value from json_to_recordset($7) as v(run_id text, name text, value text) cross join keys
  ${ifBorn("looked up")}
), endings as (${insertEndings("$8", "looked up")}
), announced as (
  select pg_notify('${CHANNEL}', $6) where $6 <> '' and exists (select from born)
)
select born.id, (select count(*) from announced) as announced from born`,
};

const SEEN: Statement = {
  name: "commands_seen",
  text: `select c.tenant, c.source, c.id from command c
    join json_to_recordset($1) as v(tenant text, source text, id text) on c.tenant = v.tenant and c.source = v.source and c.id = v.id`,
};

const REMEMBER: Statement = {
  name: "remember",
  text: `
with commands as (
  insert into command (tenant, source, id, kind, run_id, at)
  select v.tenant, v.source, v.id, v.kind, v.run_id, now()
  from json_to_recordset($1) as v(tenant text, source text, id text, kind text, run_id text)
  order by v.tenant collate "C", v.source collate "C", v.id collate "C" on conflict do nothing
), notices as (
  insert into notice (id, tenant, type, body, reply_to, correlation_id, at)
  select v.id, v.tenant, v.type, v.body, v.reply_to, v.correlation_id, now()
  from json_to_recordset($2) as v(id text, tenant text, type text, body json, reply_to text, correlation_id text) order by v.id collate "C" on conflict do nothing returning 1
)
select pg_notify('${CHANNEL}', 'notices') where exists (select from notices)`,
};

interface Numbered {
  readonly intake: Intake;
  readonly index: number;
}

/** One run's intakes that are not answered yet, in the order they came. */
type Queue = Numbered[];

interface Batch {
  readonly answers: Admitted[];
  readonly queues: ReadonlyMap<RunId, Queue>;
  readonly commands: object[];
  readonly notices: object[];
}

export async function admit(parts: Parts, batch: readonly Intake[]): Promise<readonly Admitted[]> {
  if (batch.length === 0) return [];
  try {
    return await admitAll(parts, batch);
  } catch (error) {
    if (!(error instanceof Failure && error.disposition === "refuse")) throw error;
    if (batch.length === 1) return await refuseUnstorable(parts, batch, error);
  }
  const answers: Admitted[] = [];
  for (const intake of batch) answers.push(...(await admit(parts, [intake])));
  return answers;
}

async function admitAll(parts: Parts, intakes: readonly Intake[]): Promise<readonly Admitted[]> {
  return await parts.database.transaction(async (queries, now) => {
    const nowMs = await now;
    const batch = begin(intakes);
    const unfinished = await countUnder(
      queries,
      intakes.flatMap(({ admission }) => (admission.kind === "run" ? [admission.run] : [])),
    );
    const at: At = { nowMs, epoch: parts.epoch, jobName: parts.jobName, unfinished };
    let open = [...batch.queues.keys()].sort();
    while (open.length > 0) {
      await createNew(queries, batch, open, at);
      await decideUnderLocks(queries, batch, open, at);
      open = open.filter((id) => (batch.queues.get(id)?.length ?? 0) > 0);
    }
    if (batch.commands.length + batch.notices.length > 0) await remember(queries, batch);
    return batch.answers;
  });
}

function begin(intakes: readonly Intake[]): Batch {
  const batch: Batch = { answers: [], queues: new Map(), commands: [], notices: [] };
  const queues = new Map<RunId, Queue>();
  for (const [index, intake] of intakes.entries()) {
    if (intake.run !== undefined) queues.set(intake.run, [...(queues.get(intake.run) ?? []), { intake, index }]);
    else if (intake.admission.kind === "invalid") refuse(batch, { intake, index }, intake.admission.problems);
    else throw new Bug(`a ${intake.admission.kind} admission without a run`);
  }
  return { ...batch, queues };
}

// ── New runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface At extends Omit<Admitting, "unfinished"> {
  readonly unfinished: Unfinished;
}

const admittingAt = ({ unfinished, ...at }: At): Admitting => ({ ...at, unfinished: unfinished.of });

/** Notes that a run with a concurrency key is being created, or that it was not. */
function noteNew({ admission }: Intake, { unfinished }: At, by: 1 | -1): void {
  if (admission.kind === "run" && admission.run.plan.concurrency !== undefined) unfinished.add(admission.run, by);
}

async function createNew(queries: Queries, batch: Batch, ids: readonly RunId[], at: At): Promise<void> {
  const { nowMs, epoch } = at;
  const made = ids.flatMap((id) => {
    const head = batch.queues.get(id)?.[0];
    if (head === undefined || !isBeginning(head.intake)) return [];
    const answer = answerCommand(undefined, head.intake, admittingAt(at));
    if (answer.kind !== "write") return [];
    noteNew(head.intake, at, 1);
    return [{ id, head, change: answer.change }];
  });
  if (made.length === 0) return;
  const lists = [
    made.map(({ id, change }) => ({ id, ...runValues(change.after.run, undefined) })),
    made.flatMap(({ id, head, change }) => specOf(head.intake, change).map((it) => ({ run_id: id, ...it }))),
    made.flatMap(({ id, change }) => change.after.attempts.map((it) => ({ run_id: id, ...attemptValues(it, undefined) }))),
    made.flatMap(({ id, change }) => eventsOf({ run_id: id }, change, nowMs, epoch)),
    made.flatMap(({ head }) => (isRemembered(head.intake) ? [commandValues(head.intake)] : [])),
  ];
  const tags = made.flatMap(({ id, head: { intake }, change }) =>
    intake.request === undefined ? [] : tagsOf(change, intake.request).map((it) => ({ run_id: id, ...it })),
  );
  const endings = made.flatMap(({ id, change }) => endingsOf(change, nowMs).map((it) => ({ run_id: id, ...it })));
  const kinds = workMadeBy(
    made.map(({ change }) => change),
    nowMs,
  );
  const born = await queries.all<{ id: RunId }>(INTAKE, [...lists.map(toJson), kinds.join(","), toJson(tags), toJson(endings)]);
  if (born.length > 0) queries.announce(kinds);
  const isBorn = new Set(born.map(({ id }) => id));
  await putLines(queries, made.flatMap(({ id, change }) => (isBorn.has(id) ? [change] : []))); // biome-ignore format: one call
  for (const { id, head } of made) {
    if (!isBorn.has(id)) noteNew(head.intake, at, -1);
    else {
      batch.queues.get(id)?.shift();
      batch.answers[head.index] = { kind: "recorded" };
    }
  }
}

function specOf({ admission, request, sealed }: Intake, { after }: Change): readonly object[] {
  if (admission.kind !== "run" || after.run.state === "tombstone") return [];
  if (request === undefined) throw new Bug(`the run ${after.run.id} was admitted without its request`);
  return [{ spec: request, secrets: sealed }];
}

// ── Existing runs ────────────────────────────────────────────────────────────────────────────────────────────────────

async function decideUnderLocks(queries: Queries, batch: Batch, ids: readonly RunId[], at: At): Promise<void> {
  const waiting = ids.filter((id) => (batch.queues.get(id)?.length ?? 0) > 0);
  if (waiting.length === 0) return;
  const held = await lockRuns(queries, waiting);
  const seen = await commandsSeen(
    queries,
    waiting.flatMap((id) => batch.queues.get(id) ?? []),
  );
  const writings = waiting.flatMap((id) => decideOne(batch, batch.queues.get(id) ?? [], held.get(id), seen, at));
  await write(queries, writings, at.nowMs, at.epoch);
}

/**
 * Answers the intakes of one run, and stops before one that has to create the run: the run does not exist yet, or was a
 * tombstone that has been pruned. The next round creates the run and answers the rest.
 */
function decideOne(batch: Batch, queue: Queue, held: Locked | undefined, seen: Set<string>, at: At): readonly Writing[] {
  const { nowMs } = at;
  let change: Change | undefined = held && unchanged(held.record);
  let given: Pick<Intake, "request" | "sealed"> = {};
  for (let head = queue[0]; head !== undefined; head = queue[0]) {
    if (change === undefined && isBeginning(head.intake) && !isRefused(head.intake, at)) break;
    queue.shift();
    const { intake, index } = head;
    if (isRemembered(intake)) {
      if (seen.has(commandId(intake))) {
        answerDuplicate(batch, head, change, nowMs);
        continue;
      }
      seen.add(commandId(intake));
      batch.commands.push(commandValues(intake));
    }
    const answer = answerCommand(change, intake, admittingAt(at));
    if (answer.kind === "refuse") refuse(batch, head, answer.problems);
    else if (answer.kind === "duplicate") answerDuplicate(batch, head, change, nowMs);
    else {
      change = answer.change;
      if (intake.admission.kind === "run") given = { request: intake.request, sealed: intake.sealed };
      else if (intake.sealed !== undefined) given = { ...given, sealed: intake.sealed };
      batch.answers[index] = { kind: "recorded" };
    }
  }
  return held === undefined || change === undefined ? [] : [{ change, held, ...given }];
}

/** A new run that may not wait for its concurrency key is not created, so that the next round would meet it again. */
const isRefused = (intake: Intake, at: At): boolean => answerCommand(undefined, intake, admittingAt(at)).kind === "refuse";

async function commandsSeen(queries: Queries, waiting: readonly Numbered[]): Promise<Set<string>> {
  const asked = waiting.filter(({ intake }) => isRemembered(intake)).map(({ intake }) => commandValues(intake));
  if (asked.length === 0) return new Set();
  const rows = await queries.all<{ tenant: string; source: string; id: string }>(SEEN, [toJson(asked)]);
  return new Set(rows.map(({ tenant, source, id }) => commandId({ tenant, source, command: id })));
}

const commandValues = ({ tenant, source, command, admission, run }: Intake): object => ({
  tenant,
  source,
  id: command,
  kind: admission.kind,
  run_id: run,
});

// ── Answers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export const commandId = ({ tenant, source, command }: Sent): string => hash([tenant, source, command]);

/**
 * A command that the broker delivers twice gets one refusal. The problems are part of its id: somebody may correct one of two
 * mistakes, send the message again with the same id, and must hear of the other.
 */
export const refusalId = ({ tenant, source, command }: Sent, problems: readonly CommandProblem[]): string =>
  hash([tenant, source, command, problems]);

interface Sent {
  readonly tenant: string;
  readonly source: string;
  readonly command: string;
}

/** A command that is sent again is answered again, since its run may have changed meanwhile. */
export const duplicateId = ({ tenant, source, command }: Sent, nowMs: number): string => hash([tenant, source, command, nowMs]);

const hash = (parts: readonly unknown[]): string => createHash("sha256").update(JSON.stringify(parts)).digest("base64url");

export const refusalOf = ({ run, command }: Intake, problems: readonly CommandProblem[]): object => ({
  ...(run !== undefined && { run }),
  command,
  problems,
});

function refuse(batch: Batch, { intake, index }: Numbered, problems: readonly CommandProblem[]): void {
  batch.answers[index] = { kind: "refused", problems };
  answer(batch, intake, { id: refusalId(intake, problems), type: "command.refused", body: refusalOf(intake, problems) });
}

function answerDuplicate(batch: Batch, { intake, index }: Numbered, existing: Change | undefined, nowMs: number): void {
  batch.answers[index] = { kind: "duplicate" };
  const body = duplicateOf(existing, intake);
  if (body === undefined) return;
  answer(batch, intake, { id: duplicateId(intake, nowMs), type: "command.duplicate", body });
}

function answer(
  batch: Batch,
  { tenant, replyTo, correlationId }: Intake,
  said: { readonly id: string; readonly type: Notice["type"]; readonly body: object },
): void {
  batch.notices.push({ ...said, tenant, reply_to: replyTo, correlation_id: correlationId });
}

async function remember(queries: Queries, { commands, notices }: Batch): Promise<void> {
  if ((await queries.all(REMEMBER, [toJson(commands), toJson(notices)])).length > 0) queries.announce(["notices"]);
}

async function refuseUnstorable(parts: Parts, intakes: readonly Intake[], failure: Failure): Promise<readonly Admitted[]> {
  parts.log.error("a command cannot be stored and was refused", { run: intakes[0]?.run, error: failure });
  const message = "The ledger cannot store this request: a value in it is out of the range that Postgres can hold.";
  const problems = [{ path: "", code: "RequestInvalid", message } as const];
  return await parts.database.transaction(async (queries, now) => {
    await now;
    const batch = begin([]);
    for (const [index, intake] of intakes.entries()) refuse(batch, { intake, index }, problems);
    await remember(queries, batch);
    return batch.answers;
  });
}

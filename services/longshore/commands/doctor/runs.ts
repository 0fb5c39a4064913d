/**
 * The runs that go no further until a person acts: they wait for a group that is not there, or their Job is stalled.
 *
 * The failure this prevents: "all well" above a run that would wait for ever.
 */
import { WAITING, type WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import type { Ledger } from "@longshore/ledger/port.ts";
import { configWords } from "../../command.ts";
import { hintAt, placeOf } from "../../place.ts";
import type { Longshore } from "../../which-longshore.ts";
import type { Finding } from "./doctor.ts";

/** The oldest of more such runs are not looked at: each look is a query. */
const LOOKED_AT_MOST = 200;
const NAMED_MOST = 5;

export async function runsThatWait(
  ledger: Pick<Ledger, "find" | "list">,
  longshore: Pick<Longshore, "groupsFile" | "installation">,
  config: string | undefined,
): Promise<readonly Finding[]> {
  const found: Finding[] = [];
  const lines = new Map<string, number>();
  for (const { id } of await ledger.list({ state: "active", newest: ["run.waiting", "run.stalled"], most: LOOKED_AT_MOST })) {
    const record = (await ledger.find(id))?.record;
    const finding = record === undefined ? undefined : findingOf(record, longshore, config);
    if (finding !== undefined) found.push(finding);
    const line = record && lineOf(record);
    if (line !== undefined) lines.set(line, (lines.get(line) ?? 0) + 1);
  }
  const inLine = [...lines].map(
    ([line, count]): Finding => ({ part: "runs", state: "ok", says: `${count} ${count === 1 ? "waits" : "wait"} ${line}` }),
  );
  return [...inLine, ...shortened(found, config)];
}

/** The line of a concurrency key in which the run waits: it needs nobody, and a person asks why nothing starts. */
function lineOf({ run: { plan }, attempts }: RunRecord): string | undefined {
  const waits = attempts.some(({ state, notes }) => state === "waiting" && notes.waiting === "ConcurrencyLimit");
  if (!waits || plan.concurrency === undefined) return undefined;
  const { key, limit } = plan.concurrency;
  return `in line for the concurrency key "${key}": ${limit} may go on at a time`;
}

function shortened(found: readonly Finding[], config: string | undefined): readonly Finding[] {
  const more = found.length - NAMED_MOST;
  if (more <= 0) return found;
  const says = `${more} more ${more === 1 ? "run needs" : "runs need"} a person`;
  const todo = `see \`longshore runs list --state active${configWords(config)}\``;
  return [...found.slice(0, NAMED_MOST), { part: "runs", state: "WARN", says, todo }];
}

function findingOf(
  record: RunRecord,
  longshore: Pick<Longshore, "groupsFile" | "installation">,
  config: string | undefined,
): Finding | undefined {
  const { run, attempts } = record;
  for (const { state, notes } of attempts) {
    if (state === "live" && notes.stall !== undefined) {
      const { code, sentence } = notes.stall;
      const todo = hintAt(placeOf(record, longshore, config), notes.stall);
      return { part: "runs", state: "WARN", says: `${run.id} is stalled (${code}): ${sentence}`, todo };
    }
    const todo = state === "waiting" && notes.waiting !== undefined ? todoFor(notes.waiting) : undefined;
    if (todo === undefined) continue;
    const why = notes.considered?.map(({ group, why }) => `${group}: ${why}`).join(" ") ?? "";
    const cancel = `longshore runs cancel ${run.id}${configWords(config)}`;
    return { part: "runs", state: "WARN", says: `${run.id} waits (${notes.waiting}). ${why}`.trim(), todo: `${todo}: ${cancel}` };
  }
  return undefined;
}

/** Room comes back by itself, and a pause was somebody's wish: those waits need nobody. */
function todoFor(word: WaitWord): string | undefined {
  const { mend, todo } = WAITING[word];
  const words = mend === "group" ? "mend the group, whose lines stand below" : todo;
  return mend === undefined ? undefined : `${words}, or cancel the run`;
}

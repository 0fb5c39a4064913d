/**
 * The runs that go no further until a person acts: they wait for a group that is paused or not there, or their Job is stalled.
 *
 * The failures this prevents: "all well" above a run that would wait for ever, and one cause that is told once for each run.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { WAITING, type WaitWord } from "@longshore/contract/messages/waiting.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import type { Ledger, StoryEvent } from "@longshore/ledger/port.ts";
import { configWords } from "../../command.ts";
import { hintAt, placeOf } from "../../place.ts";
import type { Longshore } from "../../which-longshore.ts";
import type { Finding } from "./doctor.ts";

/** The oldest of more such runs are not looked at: each look is a query. */
const LOOKED_AT_MOST = 200;
const NAMED_MOST = 5;

/** A run that needs a person, or several with the same cause. */
interface Needy {
  readonly ids: readonly string[];
  /** "stalled (ImageNotFound): …" */
  readonly how: string;
  /** What to do about the cause, and the command that it stands before, which names the first run. */
  readonly todo: string;
}

interface Waiting {
  readonly reason?: string;
  readonly diagnosis?: Diagnosis;
}

export async function runsThatWait(
  ledger: Pick<Ledger, "find" | "list" | "story">,
  longshore: Pick<Longshore, "groupsFile" | "installation">,
  config: string | undefined,
): Promise<readonly Finding[]> {
  const found = new Map<string, Needy>();
  const lines = new Map<string, number>();
  for (const { id } of await ledger.list({ state: "active", newest: ["run.waiting", "run.stalled"], most: LOOKED_AT_MOST })) {
    const record = (await ledger.find(id))?.record;
    const [newest] = record === undefined ? [] : await ledger.story(id, record.run.seq - 1, 1);
    const needy = record && needyOf(record, newest, longshore, config);
    const alike = needy && found.get(needy.how);
    if (needy !== undefined) found.set(needy.how, alike ? { ...alike, ids: [...alike.ids, ...needy.ids] } : needy);
    const line = record && lineOf(record);
    if (line !== undefined) lines.set(line, (lines.get(line) ?? 0) + 1);
  }
  const inLine = [...lines].map(
    ([line, count]): Finding => ({ part: "runs", state: "ok", says: `${count} ${count === 1 ? "waits" : "wait"} ${line}` }),
  );
  return [...inLine, ...shortened([...found.values()], config)];
}

/** The line of a concurrency key in which the run waits: it needs nobody, and a person asks why nothing starts. */
function lineOf({ run: { plan }, attempts }: RunRecord): string | undefined {
  const waits = attempts.some(({ state, notes }) => state === "waiting" && notes.waiting === "ConcurrencyLimit");
  if (!waits || plan.concurrency === undefined) return undefined;
  const { key, limit } = plan.concurrency;
  return `in line for the concurrency key "${key}": ${limit} may go on at a time`;
}

function shortened(found: readonly Needy[], config: string | undefined): readonly Finding[] {
  const told = found.slice(0, NAMED_MOST).map(findingOf);
  const more = found.slice(NAMED_MOST).flatMap(({ ids }) => ids).length;
  if (more === 0) return told;
  const says = `${more} more ${more === 1 ? "run needs" : "runs need"} a person`;
  const todo = `see \`longshore runs list --state active${configWords(config)}\``;
  return [...told, { part: "runs", state: "WARN", says, todo }];
}

function findingOf({ ids, how, todo }: Needy): Finding {
  const [first = ""] = ids;
  if (ids.length === 1) return { part: "runs", state: "WARN", says: `${first} is ${how}`, todo };
  const named = ids.slice(0, NAMED_MOST).join(", ");
  const more = ids.length > NAMED_MOST ? ` and ${ids.length - NAMED_MOST} more` : "";
  return { part: "runs", state: "WARN", says: `${ids.length} runs are ${how} (${named}${more})`, todo };
}

/** `newest`: the event that tells of the wait; its hint stands on the run's own page, too. */
function needyOf(
  record: RunRecord,
  newest: Pick<StoryEvent, "data"> | undefined,
  longshore: Pick<Longshore, "groupsFile" | "installation">,
  config: string | undefined,
): Needy | undefined {
  const { run, attempts } = record;
  for (const { state, notes } of attempts) {
    if (state === "live" && notes.stall !== undefined) {
      const { code, sentence } = notes.stall;
      const todo = hintAt(placeOf(record, longshore, config), notes.stall);
      return { ids: [run.id], how: `stalled (${code}): ${sentence}`, todo };
    }
    const groups = notes.considered?.map(({ group }) => group) ?? [];
    const todo = state === "waiting" && notes.waiting !== undefined ? todoFor(notes.waiting, groups) : undefined;
    if (todo === undefined) continue;
    const why = notes.considered?.map(({ group, why }) => `${group}: ${why}`).join(" ") ?? "";
    const how = `waiting (${notes.waiting}). ${why}`.trim();
    const { reason, diagnosis } = (newest?.data ?? {}) as Waiting;
    if (notes.waiting === "NoGroup" && reason === "NoGroup" && diagnosis !== undefined)
      return { ids: [run.id], how, todo: hintAt(placeOf(record, longshore, config), diagnosis) };
    const cancel = `longshore runs cancel ${run.id}${configWords(config)}`;
    return { ids: [run.id], how, todo: `${todo}: ${cancel}` };
  }
  return undefined;
}

/** Room comes back by itself: such a wait needs nobody. A pause was somebody's wish, and may have been forgotten. */
function todoFor(word: WaitWord, groups: readonly string[]): string | undefined {
  const { mend, todo } = WAITING[word];
  if (word === "GroupsPaused") {
    const group = groups.length === 1 ? groups[0] : "GROUP";
    return `resume the group when its pause is over (\`longshore group resume ${group}\`), or cancel the run`;
  }
  const words = mend === "group" ? "mend the group, whose lines stand below" : todo;
  return mend === undefined ? undefined : `${words}, or cancel the run`;
}

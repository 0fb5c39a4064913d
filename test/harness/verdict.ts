/**
 * What is wrong with what happened: judged by what upstream heard, by the cluster's own log of its answers and by the ledger.
 *
 * The failure this prevents: a test that asks the program under test whether it did well.
 */
import type { ReceivedEvent } from "@longshore/contract/envelope.ts";
import { isTerminal } from "@longshore/contract/event.ts";
import { RunId } from "@longshore/contract/ids.ts";
import type { Ledger } from "@longshore/ledger/port.ts";

export interface Created {
  readonly name: string;
  readonly at: string;
}

/** One terminal event a generation, a dense sequence, every repeat the same event: judged by what a consumer received. */
export function faultsOfStory(run: string, events: readonly ReceivedEvent[]): readonly string[] {
  const byId = new Map<string, ReceivedEvent>();
  const found: string[] = [];
  for (const event of events) {
    const before = byId.get(event.id);
    if (before !== undefined && (before.type !== event.type || before.sequence !== event.sequence))
      found.push(`${run}: one id for two events: ${before.type}, ${event.type}`);
    byId.set(event.id, event);
  }
  const story = [...byId.values()].toSorted((a, b) => (a.sequence ?? 0) - (b.sequence ?? 0));
  const gap = story.findIndex(({ sequence }, at) => sequence !== at + 1);
  if (gap >= 0)
    found.push(`${run}: the sequence is not dense: ${story.map(({ sequence, type }) => `${sequence} ${type}`).join(", ")}`);
  const firsts = events
    .filter(({ id }, at) => events.findIndex((it) => it.id === id) === at)
    .map(({ sequence }) => sequence ?? 0);
  if (firsts.some((sequence, at) => at > 0 && sequence < (firsts[at - 1] ?? 0)))
    found.push(`${run}: told out of order: ${firsts.join(" ")}`);
  for (const generation of new Set(story.map((it) => it.generation))) {
    const ends = story.filter((it) => it.generation === generation && isTerminal(it.type));
    if (ends.length !== 1) found.push(`${run}: ${ends.length} terminal events in generation ${generation}`);
    if (ends.length === 1 && story.filter((it) => it.generation === generation).at(-1) !== ends[0])
      found.push(`${run}: something was told after its end`);
  }
  return found;
}

/** At most one Job per attempt, by the cluster's own log; and no Job that no attempt asked for. */
export async function faultsOfJobs(
  runs: readonly string[],
  ledger: Ledger,
  created: readonly Created[],
): Promise<readonly string[]> {
  const records = await Promise.all(runs.map((run) => ledger.find(RunId.parse(run))));
  const missing = runs.filter((_, at) => records[at] === undefined).map((run) => `${run}: the ledger does not know it`);
  const names = new Set(records.flatMap((it) => it?.record.attempts.map(({ name }) => name) ?? []));
  const counts = Map.groupBy(created, ({ name }) => name);
  const surplus = [...counts].flatMap(([name, posts]) =>
    posts.length > 1 ? [`${posts.length} creates of ${name} were answered 201`] : [],
  );
  const strangers = [...counts.keys()]
    .filter((name) => !names.has(name))
    .map((name) => `${name} was created, and no attempt has that name`);
  return [...missing, ...surplus, ...strangers];
}

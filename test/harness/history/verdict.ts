/**
 * What is wrong with the stories that upstream heard.
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

/** Runs of which the ledger knows nothing. */
export async function missing(runs: readonly string[], ledger: Ledger): Promise<readonly string[]> {
  const records = await Promise.all(runs.map((run) => ledger.find(RunId.parse(run))));
  return runs.filter((_, at) => records[at] === undefined).map((run) => `${run}: the ledger does not know it`);
}

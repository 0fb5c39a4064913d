/**
 * G6: a run's events are dense and in order, each generation has one end, and listeners heard the same events as the ledger
 * has.
 *
 * The failure this prevents: a story that is right in the ledger and wrong where it is heard.
 */
import type { ReceivedEvent } from "@longshore/contract/messages/envelope.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { problemsOfStory } from "@longshore/domain/attempt/testing/invariants.ts";
import type { Heard, Run, Told, View } from "./view.ts";

export function stories({ runs, told, heard }: View): readonly string[] {
  const toldOf = Map.groupBy(told, ({ run }) => run);
  const heardOf = Map.groupBy(heard, ({ run }) => run);
  const known = new Set(runs.map(({ id }) => id));
  return [
    ...runs.flatMap((run) => storyOf(run, toldOf.get(run.id) ?? [], heardOf.get(run.id) ?? [])),
    ...[...heardOf.keys()]
      .filter((run) => !known.has(run))
      .map((run) => `events of ${run} were published, and the ledger does not know it`),
  ];
}

function storyOf({ id, state, seq }: Run, told: readonly Told[], heard: readonly Heard[]): readonly string[] {
  if (state === "tombstone" && told.length === 0 && heard.length === 0) return [];
  const lines = (events: readonly Omit<Heard, "id">[]): readonly string[] =>
    events.map(({ sequence, type, generation }) => `event ${sequence} of ${id}, ${type} of generation ${generation},`);
  const [theirs, ours] = [new Set(lines(heard)), new Set(lines(told))];
  return [
    ...faultsOfHeard(id, heard),
    ...[...ours.difference(theirs)].map((it) => `${it} is in the ledger, and was not published`),
    ...[...theirs.difference(ours)].map((it) => `${it} was published, and is not in the ledger`),
    ...(told.length === seq ? [] : [`the ledger has ${told.length} events of ${id}, and the run is at ${seq}`]),
  ];
}

/** Returns nothing for an event that belongs to no run's story. */
export const heardOf = ({ id, subject, sequence, generation = 0, type }: ReceivedEvent): readonly Heard[] =>
  sequence === undefined ? [] : [{ id, run: subject ?? "", sequence, generation, type }];

/** Judges everything that one listener heard of an ended run, in the order in which it came, repeats included. */
export function faultsOfHeard(run: string, heard: readonly Heard[]): readonly string[] {
  const firsts = firstsOf(heard);
  const order = firsts.map(({ sequence }) => sequence);
  const story = bySequence(firsts);
  const last = story.at(-1);
  const changed = heard.filter(({ id, type, sequence }) =>
    firsts.some((it) => it.id === id && (it.type !== type || it.sequence !== sequence)),
  );
  return [
    ...changed.map(({ id, type }) => `${run}: one id for two events: ${id} is ${type} too`),
    ...(order.some((it, index) => it < (order[index - 1] ?? 0)) ? [`${run}: told out of order: ${order.join(" ")}`] : []),
    ...problemsOfStory(story).map((problem) => `${run}: ${problem}`),
    ...(last !== undefined && isTerminal(last.type) ? [] : [`${run}: its story has no end`]),
  ];
}

const firstsOf = (heard: readonly Heard[]): readonly Heard[] => {
  const seen = new Set<string>();
  return heard.filter(({ id }) => !seen.has(id) && seen.add(id));
};

const bySequence = <T extends { readonly sequence: number }>(events: readonly T[]): readonly T[] =>
  events.toSorted((a, b) => a.sequence - b.sequence);

/** G6: each run's events are dense, in order, with one end a generation, and what the ledger holds is what was published. */
import { ENDS, type EventRow, type History, type Passed } from "./journals.ts";

export function faultsOfStories({ ledger, passed }: History): readonly string[] {
  const stories = Map.groupBy(ledger.events, ({ run }) => run);
  const heard = Map.groupBy(
    passed.filter((it) => it.through === "events" && it.sequence !== undefined),
    ({ run }) => run,
  );
  const known = new Set(ledger.runs.map(({ id }) => id));
  return [
    ...ledger.runs.flatMap(({ id, seq }) => {
      const story = (stories.get(id) ?? []).toSorted((a, b) => a.sequence - b.sequence);
      return [...ofStory(id, story, seq), ...ofHeard(id, story, heard.get(id) ?? [])];
    }),
    ...[...heard.keys()]
      .filter((run) => run === undefined || !known.has(run))
      .map((run) => `G6: events of ${run} were published, and the ledger does not know it`),
  ];
}

function ofStory(run: string, story: readonly EventRow[], seq: number): readonly string[] {
  const found: string[] = [];
  if (story.some(({ sequence }, index) => sequence !== index + 1) || story.length !== seq)
    found.push(
      `G6: the sequence of ${run} is not dense: ${story.map(({ sequence }) => sequence).join(" ")}, and the run is at ${seq}`,
    );
  for (const [generation, events] of Map.groupBy(story, (it) => it.generation)) {
    const ends = events.filter(({ type }) => ENDS.includes(type));
    const opens = generation === 1 ? "run.accepted" : "run.restarted";
    if (events[0]?.type !== opens) found.push(`G6: generation ${generation} of ${run} begins with ${events[0]?.type}`);
    if (ends.length !== 1) found.push(`G6: ${ends.length} terminal events in generation ${generation} of ${run}`);
    else if (events.at(-1) !== ends[0]) found.push(`G6: ${events.at(-1)?.type} of ${run} was told after its end`);
  }
  return found;
}

/** What was published, repeats too, in the order in which it was. */
function ofHeard(run: string, story: readonly EventRow[], heard: readonly Passed[]): readonly string[] {
  const found: string[] = [];
  const firsts = heard.filter((it, index) => heard.findIndex(({ id }) => id === it.id) === index);
  const order = firsts.map(({ sequence }) => sequence ?? 0);
  if (order.some((sequence, index) => index > 0 && sequence < (order[index - 1] ?? 0)))
    found.push(`G6: the events of ${run} were published out of order: ${order.join(" ")}`);
  for (const repeat of heard) {
    const first = firsts.find(({ id }) => id === repeat.id);
    if (first?.type !== repeat.type || first.sequence !== repeat.sequence)
      found.push(`G6: one id for two events of ${run}: ${first?.type}, ${repeat.type}`);
  }
  for (const { sequence, type } of story) {
    const it = firsts.filter((event) => event.sequence === sequence);
    if (it.length !== 1 || it[0]?.type !== type)
      found.push(
        `G6: event ${sequence} of ${run} is ${type} in the ledger, and was published as ${it.map((event) => event.type).join(", ") || "nothing"}`,
      );
  }
  const last = story.length;
  for (const { sequence, type } of firsts)
    if ((sequence ?? 0) > last)
      found.push(`G6: ${type} of ${run} was published as event ${sequence}, and the ledger has ${last}`);
  return found;
}

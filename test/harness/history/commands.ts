/** G1 and G2: what became of each confirmed command, and that one run id has one effect. */
import type { History, Sent } from "./journals.ts";

export function faultsOfCommands(history: History): readonly string[] {
  return [...unanswered(history), ...effects(history), ...contents(history)];
}

function unanswered({ sent, passed, ledger }: History): readonly string[] {
  const runs = new Set(ledger.runs.filter(({ state }) => state !== "tombstone").map(({ id }) => id));
  const refused = new Set(ledger.refused);
  const taken = new Set(ledger.commands.map(({ source, id }) => `${source} ${id}`));
  const quarantined = passed.filter(({ through }) => through === "quarantine").map(({ text }) => text);
  const confirmed = new Map(sent.filter((it) => it.confirmed).map((it) => [it.id, it]));
  return [...confirmed.values()].flatMap(({ id, source, type, run }) => {
    const done =
      refused.has(id) ||
      (type === "run.requested" ? runs.has(run) : taken.has(`${source} ${id}`)) ||
      quarantined.some((text) => text.includes(id));
    return done ? [] : [`G1: ${type} of ${run} (${id}) was confirmed, and is neither a run, nor refused, nor in quarantine`];
  });
}

function effects({ sent, ledger }: History): readonly string[] {
  const told = Map.groupBy(ledger.events, ({ run }) => run);
  return ledger.runs.flatMap(({ id, generation }) => {
    const story = told.get(id) ?? [];
    const restarts = story.filter(({ type }) => type === "run.restarted").length;
    const asked = new Set(sent.filter((it) => it.run === id && it.type === "run.restart").map((it) => it.id)).size;
    const accepted = story.filter(({ type }) => type === "run.accepted").length;
    return [
      ...(accepted > 1 ? [`G2: ${id} was accepted ${accepted} times`] : []),
      ...(restarts > asked ? [`G2: ${id} was restarted ${restarts} times, and ${asked} restarts were asked for`] : []),
      ...(generation !== restarts + 1 ? [`G2: ${id} is in generation ${generation} after ${restarts} restarts`] : []),
    ];
  });
}

/** Of two contents under one id at most one is carried out; the other's commands are refused. */
function contents({ sent, ledger }: History): readonly string[] {
  const refused = new Set(ledger.refused);
  const requests = sent.filter((it) => it.confirmed && it.type === "run.requested");
  return [...Map.groupBy(requests, ({ run }) => run)].flatMap(([run, all]) => {
    const taken = [...Map.groupBy(all, ({ content }) => content).values()].filter((same: readonly Sent[]) =>
      same.some(({ id }) => !refused.has(id)),
    );
    return taken.length > 1 ? [`G2: ${run} was asked for with ${taken.length} contents, and all were taken`] : [];
  });
}

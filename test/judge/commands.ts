/**
 * G1 and G2: each command has a right end, and one run id has one effect.
 *
 * The failure this prevents: a message that was acknowledged and forgotten, or acted on twice.
 */
import type { Run, View } from "./view.ts";

export function everyCommandEnds({ commands }: View): readonly string[] {
  return commands
    .filter(({ confirmed, is, mayBe }) => confirmed && !mayBe.some((it) => is[it]))
    .map(
      ({ id, type, run, mayBe }) => `${type} of ${run || "nothing"} (${id}) was confirmed, and is not ${mayBe.join(", nor ")}`,
    );
}

export function oneEffect(view: View): readonly string[] {
  const names = new Set(view.attempts.map(({ name }) => name));
  return [
    ...view.runs.flatMap((run) => effectsOf(view, run)),
    ...contents(view),
    ...view.made.filter((name) => !names.has(name)).map((name) => `${name} was created, and no attempt has that name`),
  ];
}

function effectsOf({ told, commands }: View, { id, generation }: Run): readonly string[] {
  const times = (type: string): number => told.filter((it) => it.run === id && it.type === type).length;
  const accepted = times("run.accepted");
  const restarts = times("run.restarted");
  const asked = new Set(commands.filter((it) => it.run === id && it.type === "run.restart").map((it) => it.id)).size;
  return [
    ...(accepted > 1 ? [`${id} was accepted ${accepted} times`] : []),
    ...(restarts > asked ? [`${id} was restarted ${restarts} times, and ${asked} restarts were asked for`] : []),
    ...(generation !== restarts + 1 ? [`${id} is in generation ${generation} after ${restarts} restarts`] : []),
  ];
}

/** If two requests have one id and different contents, at most one is carried out, and the other one is refused. */
function contents({ commands }: View): readonly string[] {
  const taken = commands.filter((it) => it.confirmed && it.type === "run.requested" && !it.is.refused);
  return [...Map.groupBy(taken, ({ run }) => run)].flatMap(([run, all]) => {
    const { size } = new Set(all.map(({ content }) => content));
    return size > 1 ? [`${run} was asked for with ${size} contents, and all were taken`] : [];
  });
}

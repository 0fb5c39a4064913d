/** `longshore sinks`: what recorders tell, what waits for a person, and what to do about it. */
import { RunId } from "@longshore/contract/ids.ts";
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Deliveries, Parked, SinkState } from "@longshore/ledger/deliveries.ts";
import { openDeliveries } from "@longshore/ledger/open-deliveries.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import {
  command,
  CONFIG,
  configWords,
  during,
  family,
  iso,
  json,
  JSON_OPTION,
  meant,
  say,
  screenIn,
  type Surroundings,
  tell,
  Usage,
} from "../command.ts";
import { type Column, paragraph, pasted, table } from "../screen/rows.ts";
import { span, timeText } from "../screen/times.ts";
import { findLongshore } from "../which-longshore.ts";

const PARKED_MOST = 1_000;
const SHOWN_MOST = 20;

export const sinks = family({
  name: "sinks",
  summary: "list what recorders tell to whom, and send or drop what waits for a person",
  more: `
A sink is an address that a recorder tells of runs: config/recorder.yaml. A request that its API refused (4xx) is parked, and the run's next events are told; a run whose requests failed for 72 hours is parked as a whole.

  longshore sinks list
  longshore sinks retry bespin orders/8812/export`,
  verbs: {
    list: command({
      name: "sinks list",
      summary: "show each sink's state, and what is parked",
      usage: ["[SINK] [--json]"],
      options: { json: JSON_OPTION, config: CONFIG },
      andMore: true,
      async run({ config, json: asJson = false }, [name, more], surroundings) {
        if (more !== undefined) throw new Usage(`sinks list takes no "${more}"`);
        await using deliveries = await deliveriesOf(config, surroundings);
        const states = await deliveries.states();
        if (name !== undefined) known(name, states);
        const parked = await deliveries.parked({ ...(name !== undefined && { sink: name }), most: PARKED_MOST });
        const found = states.filter((it) => name === undefined || it.name === name);
        if (asJson) surroundings.out(json({ sinks: found.map(recordOf), parked: parked.map(parkedOf) }));
        else show(found, parked, config, surroundings);
        return 0;
      },
    }),
    retry: verb(
      "retry",
      "send again what is parked, and go on with a sink that was stopped",
      (it, sink, run) => it.retry(sink, run),
      {
        done: (count) => `${things(count)} ${count === 1 ? "is" : "are"} sent again, if a recorder serves the sink`,
        more: `
Requests are made anew from the rules that the recorder has now, so mend these first. They keep their webhook-id.`,
      },
    ),
    forget: command({
      name: "sinks forget",
      summary: "forget a sink that no recorder serves any more, with all that is parked of it",
      usage: ["SINK"],
      options: { config: CONFIG },
      words: ["a sink's name"],
      more: `
For a sink that was removed from the recorder's settings. If it comes back, it is told what is recorded from then on.`,
      async run({ config }, [sink = ""], surroundings) {
        await using deliveries = await deliveriesOf(config, surroundings);
        known(sink, await deliveries.states());
        if (!(await deliveries.forget(sink)))
          throw new Failure(
            "refuse",
            "SinkServed",
            `a recorder serves the sink ${sink}; remove it from that recorder's settings first`,
          );
        tell(surroundings, `forgot the sink ${sink}`);
        return 0;
      },
    }),
    drop: verb("drop", "give up what is parked: it is never sent", (it, sink, run) => it.drop(sink, run), {
      done: (count) => `${things(count)} ${count === 1 ? "is" : "are"} given up`,
      more: `
A parked run goes on with its next event; what was recorded until now is not told.`,
    }),
  },
});

const things = (count: number): string => (count === 1 ? "one of the sink's entries" : `${count} of the sink's entries`);

function verb(
  name: string,
  summary: string,
  act: (deliveries: Deliveries, sink: string, run: RunId | undefined) => Promise<number>,
  { done, more }: { readonly done: (count: number) => string; readonly more: string },
) {
  return command({
    name: `sinks ${name}`,
    summary,
    usage: ["SINK [RUN]"],
    options: { config: CONFIG },
    words: ["a sink's name"],
    andMore: true,
    more,
    async run({ config }, [sink = "", id, over], surroundings) {
      if (over !== undefined) throw new Usage(`sinks ${name} takes no "${over}"`);
      const run = id === undefined ? undefined : RunId.safeParse(id);
      if (run?.success === false)
        throw new Usage(`sinks ${name} needs a run's id: ${run.error.issues[0]?.message ?? "this is none"}`);
      await using deliveries = await deliveriesOf(config, surroundings);
      known(sink, await deliveries.states());
      const count = await act(deliveries, sink, run?.data);
      if (count === 0)
        throw new Failure(
          "refuse",
          "NothingParked",
          `nothing of ${id === undefined ? "" : `${id} in `}the sink ${sink} waits for a person`,
        );
      tell(surroundings, done(count));
      return 0;
    },
  });
}

async function deliveriesOf(config: string | undefined, surroundings: Surroundings): Promise<Deliveries> {
  const { ledgerUrl: url, installation } = await findLongshore({ config }, surroundings);
  return await during(surroundings, "waiting for the ledger", () => openDeliveries({ url, installation, log: silentLog }));
}

function known(name: string, states: readonly SinkState[]): void {
  const names = states.map((it) => it.name);
  if (!names.includes(name))
    throw new Usage(
      `there is no sink "${name}"; there ${names.length === 0 ? "is none" : `are ${names.join(", ")}`}${meant(name, names)}`,
    );
}

/** In the order of what a person has to know first. */
function stateOf({ stopped, owner, failure }: SinkState): string {
  if (stopped !== undefined) return "STOPPED";
  if (owner === undefined) return "UNSERVED";
  return failure === undefined ? "WELL" : "FAILING";
}

const COLUMNS: readonly Column<SinkState>[] = [
  { head: "STATE", cell: stateOf },
  { head: "SINK", yields: true, cell: ({ name }) => name },
  { head: "WAITING", cell: ({ waiting }) => String(waiting) },
  { head: "OLDEST", goes: 2, cell: ({ waiting, oldestMs }) => (waiting === 0 ? "-" : span(oldestMs)) },
  { head: "BEHIND", goes: 1, cell: ({ behindMs }) => (behindMs === 0 ? "-" : span(behindMs)) },
  { head: "PARKED", cell: ({ parkedLines, parkedRequests }) => String(parkedLines + parkedRequests) },
];

const PARKED: readonly Column<Parked>[] = [
  { head: "PARKED", cell: ({ kind }) => (kind === "line" ? "run" : kind) },
  { head: "SINK", goes: 2, cell: ({ sink }) => sink },
  { head: "RUN", yields: true, cell: ({ run }) => run },
  { head: "EVENT", cell: ({ sequence }) => String(sequence) },
  { head: "RULE", goes: 3, cell: ({ rule }) => String(rule + 1) },
  { head: "SINCE", goes: 1, cell: ({ atMs }) => timeText(atMs) },
  { head: "WHY", cell: ({ why }) => why.code },
];

function show(
  states: readonly SinkState[],
  parked: readonly Parked[],
  config: string | undefined,
  surroundings: Surroundings,
): void {
  const screen = screenIn(surroundings);
  if (states.length === 0) return tell(surroundings, "no sinks: no recorder has run with this ledger");
  say(surroundings, table(states, COLUMNS, screen));
  for (const { name, stopped, failure } of states) {
    const why = stopped ?? failure;
    if (why !== undefined) say(surroundings, paragraph(`${name}: ${why.sentence}`, { indent: 2 }, screen));
  }
  const [first] = parked;
  if (first === undefined) return;
  say(surroundings, ["", ...table(parked.slice(0, SHOWN_MOST), PARKED, screen)]);
  for (const sentence of new Set(parked.slice(0, SHOWN_MOST).map(({ why }) => why.sentence)))
    say(surroundings, paragraph(sentence, { indent: 2 }, screen));
  if (parked.length > SHOWN_MOST) tell(surroundings, `and more: \`longshore sinks list --json\``);
  const where = configWords(config);
  say(
    surroundings,
    ["retry", "drop"].map((it) => pasted(`longshore sinks ${it}${where} ${first.sink} ${first.run}`, 2, screen)),
  );
}

const recordOf = (it: SinkState): object => ({
  sink: it.name, state: stateOf(it).toLowerCase(), recorder: it.owner ?? null, why: it.stopped ?? it.failure ?? null, waiting: it.waiting,
  oldestSeconds: it.oldestMs / 1000, behindSeconds: it.behindMs / 1000, parkedRequests: it.parkedRequests, parkedRuns: it.parkedLines,
}); // biome-ignore format: as in the list

const parkedOf = ({ sink, run, kind, sequence, rule, why, atMs }: Parked): object => ({
  sink, run, kind: kind === "line" ? "run" : kind, sequence, rule: rule + 1, why, since: iso(atMs),
}); // biome-ignore format: as in the list

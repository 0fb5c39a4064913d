/**
 * One run as its page shows it: a line of stages, what became of it, and what a person can do.
 *
 * The failure this prevents: a page whose stages and whose sentence come from different moments. All of it is read from the
 * story, up to one event.
 */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import type { LogTail } from "@longshore/contract/messages/fact.ts";
import type { Owner } from "@longshore/contract/request/definition.ts";
import type { RunRequest } from "@longshore/contract/request/request.ts";
import type { RunRecord } from "@longshore/domain/run/record.ts";
import type { Person } from "@longshore/ledger/pages.ts";
import type { StoryEvent } from "@longshore/ledger/port.ts";
import type { May, RunView, Stage } from "../answers.ts";
import { operatorsView } from "./operators.ts";
import { stateOf } from "./state.ts";

/** The parts of an event's data that pages read. Which of them are there depends on the event's type. */
interface Told {
  readonly actor?: Person;
  readonly step?: string;
  readonly attempt?: number;
  readonly reason?: string;
  readonly why?: string;
  readonly diagnosis?: Diagnosis;
  readonly owner?: Owner;
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly log?: LogTail;
}

const told = ({ data }: StoryEvent): Told => data as Told;

export function runView(
  record: RunRecord,
  request: RunRequest,
  story: readonly StoryEvent[],
  { title, may, selector }: { readonly title: string | undefined; readonly may: May; readonly selector: string },
): RunView {
  const { run } = record;
  const life = story.filter(({ generation }) => generation === run.generation);
  const newest = story.at(-1);
  const state = stateOf({ ...run, newest: newest && { type: newest.type as never } });
  const end = life.findLast(({ type }) => isTerminal(type));
  const data = end === undefined ? undefined : told(end);
  const why = data?.diagnosis ?? standsInTheWay(life);
  const { definition } = run.plan;
  const by = askedBy(story);
  const owner = data?.owner ?? definition?.owner;
  return {
    id: run.id,
    title: title ?? definition?.name ?? run.id,
    ...(definition && { definition: definition.name }),
    parameters: "parameters" in request && request.parameters ? request.parameters : {},
    may,
    state,
    sequence: run.seq,
    generation: run.generation,
    askedAtMs: run.acceptedAtMs,
    ...(by && { by }),
    ...(run.endedAtMs !== undefined && { endedAtMs: run.endedAtMs }),
    stages: stagesOf(life, end?.atMs),
    steps: run.plan.simple ? [] : run.plan.steps.map(({ name }) => ({ name, state: stepState(run.steps[name]) })),
    ...(why && { why: { code: why.code, sentence: why.sentence, blame: why.blame, ...hintsOf(why, may, data?.log) } }),
    ...(owner && { owner }),
    ...(data?.outputs && Object.keys(data.outputs).length > 0 && { outputs: data.outputs }),
    ...(data?.log && may.log && { log: data.log }),
    story: story.map((it) => ({ sequence: it.sequence, atMs: it.atMs, type: it.type.replace("run.", ""), says: saysOf(it) })),
    ...(may.operate && { operators: operatorsView(record, story, selector) }),
  };
}

/** A hint that names a command is for whoever gets the ticket: people here have no cluster to ask. */
function hintsOf(
  { hint }: Diagnosis,
  may: May,
  log: LogTail | undefined,
): Pick<NonNullable<RunView["why"]>, "hint" | "ticketHint"> {
  if (!/`(kubectl|longshore) /.test(hint)) return { hint };
  return { ticketHint: hint, ...(log && may.log && { hint: "What it printed is in its log." }) };
}

/** The story begins with whoever asked. */
export const askedBy = ([asked]: readonly StoryEvent[]): Person | undefined => asked && told(asked).actor;

/** A stall or a wait that nothing has ended yet. */
function standsInTheWay(life: readonly StoryEvent[]): Diagnosis | undefined {
  const newest = life.at(-1);
  return newest && ["run.stalled", "run.waiting"].includes(newest.type) ? told(newest).diagnosis : undefined;
}

/**
 * The first launch ends the wait and the first start ends the starting: later steps and tries lie within "Running", as the person
 * who asked sees it.
 */
function stagesOf(life: readonly StoryEvent[], endMs: number | undefined): readonly Stage[] {
  const [first] = life;
  if (first === undefined) return [];
  const launched = life.find(({ type }) => type === "run.launched")?.atMs;
  const started = life.find(({ type }) => type === "run.started")?.atMs;
  const tries = life.filter(({ type, atMs }) => type === "run.attempt.failed" && atMs <= (started ?? Infinity)).length;
  const wait = life.findLast(({ type, atMs }) => type === "run.waiting" && atMs <= (launched ?? Infinity));
  const stage = (name: Stage["name"], from: number | undefined, to: number | undefined, note?: string): readonly Stage[] =>
    from === undefined
      ? []
      : [{ name, atMs: from, ...(to !== undefined && { ms: Math.max(0, to - from) }), ...(note !== undefined && { note }) }];
  return [
    ...stage("Asked", first.atMs, first.atMs),
    ...stage("Waiting", first.atMs, launched ?? endMs, wait && waitWords(told(wait).reason)),
    ...stage("Starting", launched, started ?? endMs, tries > 0 ? `at try ${tries + 1}` : undefined),
    ...stage("Running", started, endMs),
  ];
}

/** What a person is told of a wait who knows no groups. */
const waitWords = (reason: string | undefined): string =>
  reason === "ConcurrencyLimit" ? "for the run before it" : reason === "NotBefore" ? "for its time" : "for a free place";

function stepState(step: RunRecord["run"]["steps"][string] | undefined): RunView["steps"][number]["state"] {
  if (step === undefined || step.state === "blocked") return "to come";
  if (step.state === "open") return "running";
  return step.outcome === "succeeded" ? "done" : step.outcome === "skipped" ? "skipped" : "failed";
}

function saysOf(event: StoryEvent): string {
  const { actor, step, attempt, reason, why, diagnosis } = told(event);
  const of = [step === "main" ? undefined : step, attempt !== undefined && attempt > 1 ? `attempt ${attempt}` : undefined];
  const because = diagnosis?.sentence ?? why ?? (event.type === "run.waiting" ? waitWords(reason) : reason);
  return [...of, because, actor && `by ${actor.name}`].filter((it) => it !== undefined).join(", ");
}

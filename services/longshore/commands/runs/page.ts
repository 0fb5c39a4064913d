/** The page of `runs show`: the run's state, the reason, the next step, and the story, on one screen. */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { isTerminal, type RunEventType } from "@longshore/contract/messages/event.ts";
import { ONLY_TENANT, type RunId } from "@longshore/contract/ids.ts";
import { type RunRequest, type StepRequest, stepsOf } from "@longshore/contract/request/request.ts";
import { newestAnchor } from "@longshore/domain/anchor/of-run.ts";
import { storageText } from "@longshore/domain/group/choose-group.ts";
import { stepValues } from "@longshore/domain/run/step-to-run.ts";
import { namespacesOf, selectorOfRun } from "@longshore/domain/run/job-commands.ts";
import { finishedAtMs, type Run, type RunRecord } from "@longshore/domain/run/record.ts";
import { sha256 } from "@longshore/launcher/keys.ts";
import { newestOf, newestOfStory } from "@longshore/ledger/newest-event.ts";
import type { GroupState, Ledger, NewestEvent, StoryEvent } from "@longshore/ledger/port.ts";
import { adviceOn, againOf } from "../../advice.ts";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { CLI } from "../../command.ts";
import { actorAt, hintAt, isSilent, moreAt, type Place, restOf } from "../../place.ts";
import { paragraph, pasted, row, whole } from "../../screen/rows.ts";
import type { Screen } from "../../screen/screen.ts";
import { clipped, plain } from "../../screen/text.ts";
import { span, timeText } from "../../screen/times.ts";
import { type Status, statusOf } from "../../status.ts";
import { diagnosisLines, evidenceBeside, headOf, type Log, logLines, nextLines, storyTable } from "../../terminal.ts";

interface Around {
  readonly place: Place;
  readonly groups: readonly GroupState[];
  /** The runs that have the places for which this one waits. */
  readonly holders?: readonly RunId[];
}

export function pageOf(
  { record, request }: NonNullable<Awaited<ReturnType<Ledger["find"]>>>,
  story: readonly StoryEvent[],
  { place, groups, holders = [] }: Around,
  screen: Screen,
): readonly string[] {
  const { run } = record;
  const end = story.findLast(({ type }) => isTerminal(type));
  const { diagnosis, seconds, log } = (run.state === "ended" ? (end?.data ?? {}) : {}) as {
    readonly diagnosis?: Diagnosis;
    readonly seconds?: Readonly<Record<string, number>>;
    readonly log?: Log;
  };
  const advice = diagnosis
    ? { sentence: diagnosis.sentence, hint: hintAt(place, diagnosis, { log, isOnPage: true }) }
    : adviceOn(record, newestOfStory(run, story), place, { isOnPage: true, holders });
  const phases = Object.entries(seconds ?? {}).map(([phase, value]) => `${phase} ${span(value * 1000)}`);
  const about = (name: string, text: string) => row([{ text: name, tone: "faint" }, text], { widths: [7], indent: 2 }, screen);
  const lineOf = storyTable(screen, advice?.sentence);
  const finishedMs = finishedAtMs(record);
  const rest = restOf(place, advice?.hint);
  const hasPrinted = record.attempts.at(-1)?.started !== "no" && !isSilent(log);
  const verbs = run.state === "ended" ? [] : run.state === "active" ? ["follow", "cancel"] : ["follow"];
  const commands = verbs.map((verb) => `longshore runs ${verb} ${run.id}${place.where}`);
  // A cancel was somebody's wish: there is nothing to mend.
  const needsActor = diagnosis !== undefined && diagnosis.code !== "Cancelled";
  return [
    ...headOf(run.id, statusOfRecord(record, story), needsActor ? actorAt(place, diagnosis.blame) : undefined, screen),
    ...(advice ? diagnosisLines(advice, screen) : []),
    ...(diagnosis === undefined ? [] : evidenceBeside(diagnosis)).flatMap((it) =>
      paragraph(it, { indent: 2, mark: "seen: " }, screen),
    ),
    ...about("from", senderOf(run, story)),
    ...definitionText(run).flatMap((text) => about("made of", text)),
    ...valuesText(request).flatMap((text) => about("with", text)),
    ...about("group", groupText(record, groups)),
    ...ownedText(record).flatMap((text) => about("keeps", text)),
    ...childrenText(record).flatMap((text) => about("pods", text)),
    ...programOf(record, request).flatMap(([name, text]) => about(name, text)),
    ...(phases.length > 0 ? about("time", phases.join(" | ")) : []),
    ...story.flatMap((event, index) =>
      lineOf(event, {
        sinceMs: story[index - 1]?.atMs,
        simple: run.plan.simple,
        finishedMs: event === end && event.generation === run.generation ? finishedMs : undefined,
      }),
    ),
    ...logLines(log, screen, { hint: advice?.hint, rest }),
    ...(log === undefined && hasPrinted && place.hasLog && rest !== undefined
      ? [...paragraph("log: this prints what it has printed", { indent: 2, tone: "faint" }, screen), pasted(rest, 2, screen)]
      : []),
    ...moreAt(place, namespacesOf(record), selectorOf(run.id)).map((it) => whole(it, 2)),
    ...nextLines(commands, againOf(record, place, diagnosis, groups), screen),
  ];
}

/** A tenant is named where there are several. */
function senderOf({ tenant, source }: Run, [asked]: readonly StoryEvent[]): string {
  const { actor } = (asked?.data ?? {}) as { readonly actor?: { readonly name: string } };
  const sender = (source === CLI ? "longshore publish" : source) + (actor === undefined ? "" : `, asked by ${plain(actor.name)}`);
  return tenant === ONLY_TENANT ? sender : `${sender}, tenant ${tenant}`;
}

/** The definition may have changed since: its digest tells which one the run was made of. */
const definitionText = ({ plan: { definition } }: Run): readonly string[] =>
  definition === undefined ? [] : [`${definition.name} (${definition.digest})`];

const VALUES_MOST = 300;

/** The parameters of a run: its command names them, and their values stand nowhere else. */
function valuesText(request: RunRequest): readonly string[] {
  const values = Object.entries("parameters" in request ? (request.parameters ?? {}) : {});
  const text = values.map(([name, value]) => `${name}=${typeof value === "string" ? quoted(value) : JSON.stringify(value)}`).join(" "); // biome-ignore format: one line
  return text === "" ? [] : [clipped(plain(text), VALUES_MOST)];
}

const COMMAND_MOST = 150;
const STEP_COMMAND_MOST = 80;
const STEPS_MOST = 20;

type About = readonly [name: string, text: string];

/** What runs, with its values and the corrections of the last restart: a hint says to try the command in a terminal. */
export function programOf({ run }: RunRecord, request: RunRequest): readonly About[] {
  const steps = stepsOf(request).map((step) => {
    const made = stepValues(run, request, step.name);
    return made.kind === "rendered" ? made.step : step;
  });
  if (!("steps" in request))
    return steps.flatMap((step): readonly About[] => {
      const command = commandText(step, COMMAND_MOST);
      return [["image", step.image], ...(command === "" ? [] : [["command", command] as const])];
    });
  const more = steps.length - STEPS_MOST;
  return [
    ...steps
      .slice(0, STEPS_MOST)
      .map((step) => ["step", `${step.name}: ${step.image} ${commandText(step, STEP_COMMAND_MOST)}`.trimEnd()] as const),
    ...(more > 0 ? [["", `and ${more} more steps`] as const] : []),
  ];
}

function commandText({ command = [], args = [] }: Pick<StepRequest, "command" | "args">, most: number): string {
  const words = [command, args].flat().map(quoted).join(" ");
  const begins = clipped(words, most);
  return begins === words ? words : `${begins}…`;
}

/** More events of a run are not read for a person. */
export const STORY_MOST = 1000;

export const statusOfRecord = ({ run }: RunRecord, story: readonly StoryEvent[]): Status =>
  statusOf({ state: run.state, outcome: run.outcome, newest: newestOfRun(run, story) });

/** A run's story holds events of runs alone. */
export function newestOfRun(run: Run, story: readonly StoryEvent[]): NewestEvent | undefined {
  const newest = newestOfStory(run, story);
  return newest === undefined ? undefined : newestOf({ type: newest.type as RunEventType, data: newest.data });
}

/** The group and its room; while the run has no group, why each one was passed over. */
function groupText({ run, attempts }: RunRecord, groups: readonly GroupState[]): string {
  const group = groups.find(({ name }) => name === run.group);
  if (run.state === "ended") return run.group ?? "-";
  if (group !== undefined) return `${group.name}, ${group.slotsUsed} of ${group.settings.limits.jobs} slots in use`;
  const considered = attempts.at(-1)?.notes.considered ?? [];
  return run.group ?? (considered.map(({ group, why }) => `${group}: ${why}`).join("  ") || "-");
}

/** What the run has in its group beside Jobs, as long as it is there. */
function ownedText(record: RunRecord): readonly string[] {
  const anchor = newestAnchor(record);
  if (anchor === undefined || anchor.state === "gone") return [];
  const { group, state, bytes, dueMs } = anchor;
  const until =
    state === "kept" && dueMs !== undefined ? `, kept until ${timeText(dueMs)}` : state === "sweeping" ? ", being deleted" : "";
  return [`${ownedWords(bytes)} in ${group}${until}`];
}

/** Secret values and large files take no storage. */
export const ownedWords = (bytes: number): string =>
  bytes === 0 ? "secret values or large files" : `volumes of ${storageText(bytes)}`;

/** A step goes on after its program's end while pods that the program made are there, and nothing else says why. */
export const childrenText = ({ attempts }: Pick<RunRecord, "attempts">): readonly string[] =>
  attempts
    .filter(({ notes }) => notes.children === true)
    .map(({ step, group }) => `that ${step} made in ${group ?? "its group"} are being deleted; then the step ends`);

/** Selects every Job and pod of a run. */
export const selectorOf = (run: RunId): string => selectorOfRun(run, sha256);

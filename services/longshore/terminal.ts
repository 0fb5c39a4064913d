/** How runs and their events are written for people. Texts of programs and requests lose their control characters. */
import type { Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import type { SliceCounts } from "@longshore/contract/messages/fact.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import { type RunRequest, stepsOf } from "@longshore/contract/request/request.ts";
import type { Again } from "./advice.ts";
import { hintAt, isShownWhole, isSilent, LOG_LINES_MOST, type Place, restOf, SILENT } from "./place.ts";
import { paragraph, pasted, row, whole } from "./screen/rows.ts";
import { painted, type Screen, toned } from "./screen/screen.ts";
import { plain, printed } from "./screen/text.ts";
import { clockTime, day, span, timeText } from "./screen/times.ts";
import { endMs, type Status, statusText } from "./status.ts";

/** "run.step.succeeded" is "step succeeded" in a story. */
export const wordOf = (type: string): string => type.replace(/^run\./, "").replaceAll(".", " ");

interface Said {
  readonly diagnosis?: { readonly code: string; readonly sentence: string };
  readonly reason?: string;
  readonly considered?: readonly { readonly group: string; readonly verdict: string; readonly why: string }[];
  readonly node?: string;
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly outputsIgnored?: string;
  readonly exitCode?: number;
  readonly from?: string;
  readonly corrected?: readonly string[];
  readonly step?: string;
  readonly why?: string;
  readonly nextAttemptAt?: string;
  readonly slices?: SliceCounts;
  readonly concurrency?: { readonly key: string; readonly limit: number };
}

/** An event's particulars, in a few words. `told`: the sentences that the same screen has told already. */
export function particulars(type: string, data: object, simple: boolean, told: ReadonlySet<string> = new Set()): string {
  const said = data as Said;
  const parts = [
    !simple && said.step !== undefined && said.step,
    type === "run.restarted" && restartedHow(said),
    type === "run.started" && said.node !== undefined && `node ${said.node}`,
    type === "run.waiting" && waitsFor(said),
    (type === "run.cancelling" || type === "run.cancelled" || type === "run.lost") && said.reason,
    isTerminal(type) && said.exitCode !== undefined && said.diagnosis?.code !== "StartError" && `exit ${said.exitCode}`,
    said.diagnosis &&
      said.diagnosis.code !== said.reason &&
      (isTerminal(type) || told.has(said.diagnosis.sentence)
        ? said.diagnosis.code
        : `${said.diagnosis.code}: ${said.diagnosis.sentence}`),
    said.nextAttemptAt !== undefined && `again at ${timeText(Date.parse(said.nextAttemptAt))}`,
    said.slices && slicesText(said.slices),
    said.outputs && Object.keys(said.outputs).length > 0 && JSON.stringify(said.outputs),
    said.outputsIgnored !== undefined && `no outputs: ${inside(said.outputsIgnored)}`,
    said.why,
  ];
  return parts.filter((it) => typeof it === "string" && it !== "").join("  ");
}

/** A line has room for this many characters of indexes. */
const INDEXES_MOST = 40;

/** "7 of 9 slices succeeded, failed: 3,8" */
function slicesText({ count, succeeded, failed }: SliceCounts): string {
  const which = failed.length > INDEXES_MOST ? `${failed.slice(0, INDEXES_MOST)}…` : failed;
  return `${succeeded} of ${count} slices succeeded${which === "" ? "" : `, failed: ${which}`}`;
}

/** A line has room for this many fields. */
const FIELDS_MOST = 5;

/** "from start, corrected: image, env.MODE". `failed`, the default, is no name of a step, and the run may have been cancelled. */
function restartedHow({ from = "failed", corrected = [] }: Said): string {
  const [named, more] = [corrected.slice(0, FIELDS_MOST), corrected.length - FIELDS_MOST];
  const fields = [...named, ...(more > 0 ? [`${more} more`] : [])].join(", ");
  return [from !== "failed" && `from ${from}`, fields !== "" && `corrected: ${fields}`].filter((it) => it !== false).join(", ");
}

/** A line has room for this many groups. */
const GROUPS_MOST = 3;

/** "NoGroup: no group has this name (prod-a)" */
function waitsFor({ reason = "", considered = [], concurrency }: Said): string {
  if (concurrency !== undefined) return `${reason}: of "${concurrency.key}", ${concurrency.limit} may go on at a time`;
  const skipped = considered.filter(({ verdict }) => verdict === "skipped");
  if (skipped.length === 0) return reason === "NoGroup" ? "NoGroup: there is no group yet" : reason;
  const whys = skipped.slice(0, GROUPS_MOST).map(({ group, why }) => `${inside(why)} (${group})`);
  const more = skipped.length - whys.length;
  return `${reason}: ${whys.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

/** Writes a sentence as a part of another one. */
const inside = (sentence: string): string =>
  sentence.replace(/\.$/, "").replace(/^(It|Its|No|The) /, (word) => word.toLowerCase());

export interface StoryLine {
  readonly sequence: number;
  readonly atMs: number;
  readonly type: string;
  readonly data: unknown;
}

/** Widths of the columns: the sequence, the time, how long the state before lasted ("+23 h 59 m"), and the longest word. */
const STORY = { widths: [4, 10, 10, 14] };
/** Fits all words but "attempt failed". */
const NARROW_STORY = { widths: [3, 10, 9, 9] };
const NARROW_MOST = 79;

export interface Telling {
  readonly sinceMs: number | undefined;
  readonly simple: boolean;
  readonly finishedMs?: number | undefined;
}

/**
 * Returns how the next event of a story is printed. The header names the day, and is printed anew when another day begins.
 * `sinceMs`: when the state before the event began. `finishedMs`: when the run's last program ended, if the event is its end. A
 * sentence is told once: each try of a run may fail in the same way. `verdict`: the sentence that the screen has told before.
 */
export function storyTable(screen: Screen, verdict?: string): (line: StoryLine, how: Telling) => readonly string[] {
  const shape = (screen.columns ?? Number.POSITIVE_INFINITY) > NARROW_MOST ? STORY : NARROW_STORY;
  const [sequenceWidth = 0] = shape.widths;
  let today: string | undefined;
  const told = new Set(verdict === undefined ? [] : [verdict]);
  return ({ sequence, atMs: toldMs, type, data }, { sinceMs, simple, finishedMs }) => {
    // The events before it may have been told late, too: a story's times never go back.
    const atMs = Math.max(endMs(toldMs, finishedMs), Math.min(toldMs, sinceMs ?? 0));
    const late = atMs < toldMs ? `told ${span(toldMs - atMs)} later` : "";
    const lasted = sinceMs === undefined ? "" : `+${span(Math.max(0, atMs - sinceMs))}`;
    const header = day(atMs) === today ? [] : ["#".padStart(sequenceWidth), day(atMs), "AFTER", "EVENT"];
    today = day(atMs);
    const what = [particulars(type, data as object, simple, told), late].filter((it) => it !== "").join("  ");
    const { diagnosis } = data as Said;
    if (diagnosis !== undefined) told.add(diagnosis.sentence);
    const cells = [faint(String(sequence).padStart(sequenceWidth)), faint(clockTime(atMs)), faint(lasted), eventWord(type)];
    return [...row(header.map(faint), shape, screen), ...row([...cells, what], shape, screen)];
  };
}

const faint = (text: string) => ({ text, tone: "faint" }) as const;
const eventWord = (type: string) => ({ ...toned(wordOf(type).replace(/^(step|attempt) /, "")), text: wordOf(type) });

/** The run's id and how it is. If an id is too long for that, the rest stands beneath it. */
export function headOf(id: string, status: Status, actor: string | undefined, screen: Screen): readonly string[] {
  const how = statusText(status);
  const why = actor === undefined ? "" : `, ${actor}`;
  const { columns = Number.POSITIVE_INFINITY } = screen;
  const isShort = id.length + 4 + how.text.length + why.length <= columns;
  const rest = painted(plain(how.text), how.tone, screen) + plain(why);
  const name = painted(id, "strong", screen);
  return isShort ? [`${name}    ${rest}`] : [name, `    ${rest}`];
}

export interface Log {
  readonly state: string;
  readonly lines: number;
  readonly tail: string;
}

interface End {
  readonly diagnosis?: Diagnosis;
  readonly log?: Log;
}

/**
 * The text at a run's end: why it failed, what it printed, and what to do next. `isShown`: what it printed stands above already.
 */
export function afterEnd(data: object, again: Again, screen: Screen, place: Place, isShown = false): readonly string[] {
  const { diagnosis, log }: End = data;
  const hint = diagnosis && hintAt(place, diagnosis, { log });
  return [
    ...(diagnosis ? diagnosisLines({ sentence: diagnosis.sentence, hint }, screen) : []),
    ...(isShown ? [] : logLines(log, screen, { hint, rest: restOf(place, hint) })),
    ...nextLines([`longshore runs show ${place.run}${place.where}`], again, screen),
  ];
}

/** The commands that may come next, beneath a word that keeps them apart from the output above. */
export function nextLines(commands: readonly string[], { command, instead }: Again, screen: Screen): readonly string[] {
  const all = command === undefined ? commands : [...commands, command];
  return [
    ...(instead === undefined ? [] : paragraph(instead, { indent: 2 }, screen)),
    ...(all.length === 0 ? [] : paragraph("next:", { indent: 2, tone: "faint" }, screen)),
    ...all.map((it) => pasted(it, 4, screen)),
  ];
}

/** The Job's own word for the end of each try says nothing beside the pod's, and some of the pod's words stand in the sentence. */
export function evidenceBeside({ sentence, evidence }: Pick<Diagnosis, "sentence" | "evidence">): readonly string[] {
  const ofPods = evidence.filter((it) => !/^Job \S+: (BackoffLimitExceeded|FailedIndexes|MaxFailedIndexesExceeded)\b/.test(it));
  const all = ofPods.length > 0 ? ofPods : evidence;
  return all.filter((it) => !sentence.includes(it.slice(it.lastIndexOf(": ") + 2).replace(/^(Error|ended), /, "")));
}

export const NO_COMMAND = "the pocket cluster runs commands, not images, and this request has none.";

/** In the pocket, such a step succeeds at once, which looks like a program that ran. A definition has commands of its own. */
export const isWithoutCommand = (request: RunRequest): boolean =>
  !("definition" in request) && stepsOf(request).some(({ command = [] }) => command.length === 0);

export const diagnosisLines = (
  { sentence, hint }: { readonly sentence?: string | undefined; readonly hint?: string | undefined },
  screen: Screen,
): readonly string[] => [
  ...(sentence === undefined ? [] : paragraph(sentence, { indent: 2, tone: "strong" }, screen)),
  ...(hint === undefined ? [] : paragraph(hint, { indent: 2, mark: "Hint: " }, screen)),
];

/** `rest`: the command that prints the whole log. `hint`: what the screen has told already. */
export function logLines(
  log: Log | undefined,
  screen: Screen,
  { hint = "", rest }: { readonly hint: string | undefined; readonly rest: string | undefined },
): readonly string[] {
  if (log === undefined) return [];
  const title = (text: string) => paragraph(text, { indent: 2, tone: "faint" }, screen);
  if (log.state === "unavailable") return title("log: unavailable, the pod was gone or its node did not answer");
  if (log.tail === "") return isSilent(log) && !hint.startsWith(SILENT) ? title("log: it printed nothing") : [];
  const tail = log.tail.trimEnd().split("\n");
  const shown = tail.slice(-LOG_LINES_MOST);
  const isWhole = isShownWhole(log);
  const count = `${isWhole ? tail.length : shown.length}${log.state === "complete" && !isWhole ? ` of ${log.lines}` : ""}`;
  const lines = count === "1" ? "line" : "lines";
  const more = rest === undefined ? "" : "; the command beneath prints all";
  return [
    ...title(isWhole ? `log: ${count} ${lines}` : `log: the last ${count} ${lines}${more}`),
    ...shown.map((it) => whole(printed(it), 4)),
    ...(isWhole || rest === undefined ? [] : [pasted(rest, 2, screen)]),
  ];
}

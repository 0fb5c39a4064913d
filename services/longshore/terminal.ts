/** How runs and their events are written for people. Texts of programs and requests lose their control characters. */
import { isTerminal } from "@longshore/contract/event.ts";
import { paragraph, row, whole } from "./screen/rows.ts";
import { type Screen, toned } from "./screen/screen.ts";
import { clockTime, day, span, timeText } from "./screen/times.ts";

/** "run.step.succeeded" is "step succeeded" in a story. */
export const wordOf = (type: string): string => type.replace(/^run\./, "").replaceAll(".", " ");

interface Said {
  readonly diagnosis?: { readonly code: string; readonly sentence: string };
  readonly reason?: string;
  readonly considered?: readonly { readonly group: string; readonly verdict: string; readonly why: string }[];
  readonly node?: string;
  readonly outputs?: Readonly<Record<string, unknown>>;
  readonly job?: { readonly namespace: string; readonly name: string };
  readonly exitCode?: number;
  readonly step?: string;
  readonly why?: string;
  readonly nextAttemptAt?: string;
}

/** An event's particulars, in a few words. */
export function particulars(type: string, data: object, simple: boolean): string {
  const said = data as Said;
  const parts = [
    !simple && said.step !== undefined && said.step,
    type === "run.launched" && said.job && `${said.job.namespace}/${said.job.name}`,
    type === "run.started" && said.node !== undefined && `node ${said.node}`,
    type === "run.waiting" && waitsFor(said),
    (type === "run.cancelling" || type === "run.cancelled" || type === "run.lost") && said.reason,
    said.exitCode !== undefined && `exit ${said.exitCode}`,
    said.diagnosis && (isTerminal(type) ? said.diagnosis.code : `${said.diagnosis.code}: ${said.diagnosis.sentence}`),
    said.nextAttemptAt !== undefined && `again at ${timeText(Date.parse(said.nextAttemptAt))}`,
    said.outputs && Object.keys(said.outputs).length > 0 && JSON.stringify(said.outputs),
    said.why,
  ];
  return parts.filter((it) => typeof it === "string" && it !== "").join("  ");
}

/** A line has room for this many groups. */
const GROUPS_MOST = 3;

/** "NoGroup: no group has this name (prod-a)" */
function waitsFor({ reason = "", considered = [] }: Said): string {
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

/**
 * Returns how the next event of a story is printed. The header names the day, and is printed anew when another day begins.
 * `sinceMs`: when the state before the event began.
 */
export function storyTable(screen: Screen): (line: StoryLine, sinceMs: number | undefined, simple: boolean) => readonly string[] {
  let today: string | undefined;
  return ({ sequence, atMs, type, data }, sinceMs, simple) => {
    const lasted = sinceMs === undefined ? "" : `+${span(Math.max(0, atMs - sinceMs))}`;
    const header = day(atMs) === today ? [] : ["   #", day(atMs), "AFTER", "EVENT"];
    today = day(atMs);
    const cells = [faint(String(sequence).padStart(4)), faint(clockTime(atMs)), faint(lasted), eventWord(type)];
    return [
      ...row(header.map(faint), STORY, screen),
      ...row([...cells, particulars(type, data as object, simple)], STORY, screen),
    ];
  };
}

const faint = (text: string) => ({ text, tone: "faint" }) as const;
const eventWord = (type: string) => ({ ...toned(wordOf(type).replace(/^(step|attempt) /, "")), text: wordOf(type) });

interface End {
  readonly diagnosis?: { readonly sentence: string; readonly hint: string };
  readonly log?: { readonly state: string; readonly lines: number; readonly tail: string };
}

/** The text at a run's end: why it failed, what it printed, and what to do next. */
export function afterEnd(run: string, type: string, data: object, screen: Screen, config?: string): readonly string[] {
  const { diagnosis, log }: End = data;
  const where = config === undefined ? "" : ` --config ${config}`;
  return [
    ...(diagnosis ? diagnosisLines(diagnosis, screen) : []),
    ...logLines(log, screen),
    whole(`longshore runs show ${run}${where}`, 2),
    ...(type === "run.succeeded" ? [] : [whole(`longshore runs restart ${run}${where}`, 2)]),
  ];
}

export const diagnosisLines = ({ sentence, hint }: NonNullable<End["diagnosis"]>, screen: Screen): readonly string[] => [
  ...paragraph(sentence, { indent: 2, tone: "strong" }, screen),
  ...paragraph(hint, { indent: 2, mark: "Hint: " }, screen),
];

const LOG_LINES_MOST = 20;

export function logLines(log: End["log"], screen: Screen): readonly string[] {
  if (log === undefined) return [];
  const title = (text: string) => paragraph(text, { indent: 2, tone: "faint" }, screen);
  if (log.state === "unavailable") return title("log: unavailable, the pod was gone or its node did not answer");
  if (log.tail === "") return [];
  const tail = log.tail.trimEnd().split("\n").slice(-LOG_LINES_MOST);
  return [...title(`log (${log.state}, ${log.lines} ${log.lines === 1 ? "line" : "lines"})`), ...tail.map((it) => whole(it, 4))];
}

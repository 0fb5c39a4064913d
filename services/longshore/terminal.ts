/** How runs and their events are written in a terminal. Texts of programs and requests lose their control characters. */
import { isTerminal } from "@longshore/contract/event.ts";

/** Replaces control characters: an escape sequence in a log or a name could rewrite what the reader sees. */
export const plain = (text: string): string => Array.from(text, (it) => (isControl(it) ? "·" : it)).join("");

function isControl(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return (code < 32 && character !== "\n" && character !== "\t") || (code >= 127 && code < 160);
}

export const clockTime = (ms: number): string => new Date(ms).toISOString().slice(11, 19);

export function span(ms: number): string {
  const seconds = ms / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} m ${Math.round(seconds % 60)} s`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} m`;
  return `${Math.floor(seconds / 86_400)} d`;
}

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
    said.nextAttemptAt !== undefined && `again at ${said.nextAttemptAt.slice(11, 19)}`,
    said.outputs && Object.keys(said.outputs).length > 0 && JSON.stringify(said.outputs),
    said.why,
  ];
  return plain(parts.filter((it) => typeof it === "string" && it !== "").join("  "));
}

/** As many groups are named as a line has room for. */
const GROUPS_MOST = 3;

/** "NoGroup: no group has this name (prod-a)" */
function waitsFor({ reason = "", considered = [] }: Said): string {
  const skipped = considered.filter(({ verdict }) => verdict === "skipped");
  if (skipped.length === 0) return reason === "NoGroup" ? "NoGroup: there is no group yet" : reason;
  const whys = skipped.slice(0, GROUPS_MOST).map(({ group, why }) => `${inside(why)} (${group})`);
  const more = skipped.length - whys.length;
  return `${reason}: ${whys.join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

/** A sentence within another one. */
const inside = (sentence: string): string =>
  sentence.replace(/\.$/, "").replace(/^(It|Its|No|The) /, (word) => word.toLowerCase());

export interface StoryLine {
  readonly sequence: number;
  readonly atMs: number;
  readonly type: string;
  readonly data: unknown;
}

/** The time after the "+" is how long the state before it lasted; `sinceMs` is when that state began. */
export function storyLine({ sequence, atMs, type, data }: StoryLine, sinceMs: number | undefined, simple: boolean): string {
  const lasted = sinceMs === undefined ? "" : `+${span(Math.max(0, atMs - sinceMs))}`;
  const line = `${String(sequence).padStart(4)}  ${clockTime(atMs)}  ${lasted.padEnd(9)} ${wordOf(type).padEnd(15)} `;
  return (line + particulars(type, data as object, simple)).trimEnd();
}

interface End {
  readonly diagnosis?: { readonly sentence: string; readonly hint: string };
  readonly log?: { readonly state: string; readonly lines: number; readonly tail: string };
}

/** What a person needs at a run's end: why it failed, what it printed, and what to do next. */
export function afterEnd(run: string, type: string, data: object, config?: string): readonly string[] {
  const { diagnosis, log }: End = data;
  const where = config === undefined ? "" : ` --config ${config}`;
  return [
    ...(diagnosis ? [`  ${diagnosis.sentence}`, `  Hint: ${diagnosis.hint}`] : []),
    ...logLines(log),
    `  longshore runs show ${run}${where}`,
    ...(type === "run.succeeded" ? [] : [`  longshore runs restart ${run}${where}`]),
  ];
}

const LOG_LINES_MOST = 20;

export function logLines(log: End["log"]): readonly string[] {
  if (log === undefined) return [];
  if (log.state === "unavailable") return ["  log: unavailable, the pod was gone or its node did not answer"];
  if (log.tail === "") return [];
  const tail = log.tail.trimEnd().split("\n").slice(-LOG_LINES_MOST);
  return [`  log (${log.state}, ${log.lines} ${log.lines === 1 ? "line" : "lines"})`, ...tail.map((line) => `    ${line}`)];
}

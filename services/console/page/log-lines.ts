/**
 * The lines of a log that the page holds, in blocks: the browser lays out only the blocks that are seen, and still finds and
 * selects text in all of them.
 *
 * The failure this prevents: a page that dies of a log of a million lines. The oldest block goes when there are too many, and a
 * block that is full is never drawn again.
 */
import type { LogTail } from "@longshore/contract/messages/fact.ts";

/** Either what was printed, or a place where lines are missing; `bytes` if it is known how much. */
export type Line = string | { readonly bytes?: number };

export interface Block {
  readonly key: number;
  readonly lines: readonly Line[];
}

export interface Lines {
  readonly blocks: readonly Block[];
  /** True if the page does not hold the first lines. */
  readonly isCut: boolean;
}

export const NO_LINES: Lines = { blocks: [], isCut: false };
export const BLOCK_LINES = 100;
const BLOCKS_MOST = 50;
/** So many lines that are the same show that two texts are of the same place. */
const SAME_LINES = 20;

export const withText = (lines: Lines, text: string): Lines => add(lines, linesOf(text));

export const withGap = (lines: Lines, bytes: number | undefined): Lines => add(lines, [bytes === undefined ? {} : { bytes }]);

/** Ends a log with what was recorded of it: of that, only what is not there yet. */
export function withTail(lines: Lines, { tail, state }: LogTail): Lines {
  const ends = linesOf(tail);
  const there = all(lines);
  if (there.length === 0) return { ...add(lines, ends), isCut: state === "truncated" };
  const fresh = there.slice(there.findLastIndex((it) => typeof it !== "string") + 1);
  const isSame = (count: number): boolean => {
    const compared = Math.min(SAME_LINES, count, fresh.length);
    return compared > 0 && fresh.slice(-compared).every((line, at) => line === ends[count - compared + at]);
  };
  for (let count = ends.length; count > 0; count--) if (isSame(count)) return add(lines, ends.slice(count));
  return ends.length === 0 ? lines : add(fresh.length === 0 ? lines : withGap(lines, undefined), ends);
}

/** As a person reads it who has no page. */
export const textOf = (lines: Lines): string =>
  all(lines)
    .map((it) => `${typeof it === "string" ? it : gapWords(it)}\n`)
    .join("");

export const gapWords = ({ bytes }: Exclude<Line, string>): string =>
  bytes === undefined ? "… some lines are missing …" : `… ${size(bytes)} skipped: more was printed than is shown live …`;

const size = (bytes: number): string =>
  bytes < 1024 ? `${bytes} bytes` : bytes < 1024 ** 2 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1024 ** 2).toFixed(1)} MB`;

const all = ({ blocks }: Lines): readonly Line[] => blocks.flatMap(({ lines }) => lines);

/** A line that was printed over itself, as progress is, is what it was last. */
const lastWords = (line: string): string => {
  const shown = line.replace(/\r+$/, "");
  return shown.slice(shown.lastIndexOf("\r") + 1);
};

const linesOf = (text: string): readonly string[] => (text === "" ? [] : text.replace(/\n$/, "").split("\n").map(lastWords));

function add({ blocks, isCut }: Lines, more: readonly Line[]): Lines {
  const last = blocks.at(-1);
  const open = last !== undefined && last.lines.length < BLOCK_LINES ? last : { key: (last?.key ?? -1) + 1, lines: [] };
  const joined = [...open.lines, ...more];
  const made: Block[] = [];
  for (let at = 0; at < joined.length; at += BLOCK_LINES)
    made.push({ key: open.key + made.length, lines: joined.slice(at, at + BLOCK_LINES) });
  const whole = [...blocks.slice(0, open === last ? -1 : undefined), ...made];
  return { blocks: whole.slice(-BLOCKS_MOST), isCut: isCut || whole.length > BLOCKS_MOST };
}

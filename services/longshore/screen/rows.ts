/**
 * Rows, tables and paragraphs that fit the terminal.
 *
 * The failure this prevents: a long id that is cut and cannot be copied, or that pushes every other column out of line. In a
 * terminal, a cell that is too long for its column has a line of its own, whole, and the row goes on beneath it.
 */
import { typeable, typed } from "../called-as.ts";
import { painted, type Screen, type Tone, type Toned } from "./screen.ts";
import { folded, oneLine, plain, widthOf } from "./text.ts";

export type Cell = string | Toned;

const GAP = 2;
/** If less room is left for a row's last cell, the cell stands beneath the row. */
const LAST_LEAST = 24;
const BENEATH = 6;

export interface Shape {
  /** How wide each column is. The last one takes what is left. */
  readonly widths: readonly number[];
  readonly indent?: number;
}

/** The lines of one row. Its last cell is folded. */
export function row(cells: readonly Cell[], { widths, indent = 0 }: Shape, screen: Screen): readonly string[] {
  const { columns } = screen;
  const lines: string[] = [];
  let [line, at] = [" ".repeat(indent), indent];
  for (const [index, width] of widths.entries()) {
    const { text, tone } = cellOf(cells[index] ?? "");
    const isLong = columns !== undefined && widthOf(text) > width;
    at += width + GAP;
    line += painted(text, tone, screen);
    if (isLong) lines.push(line);
    line = isLong ? " ".repeat(at) : line + " ".repeat(Math.max(0, width - widthOf(text)) + GAP);
  }
  const { text, tone } = cellOf(cells[widths.length] ?? "");
  const room = columns === undefined ? Number.POSITIVE_INFINITY : columns - at;
  // Beneath the row there is more room for a long word, such as the name of a Job.
  const fits = room >= LAST_LEAST && folded(text, room).every((it) => widthOf(it) <= room);
  if (widthOf(text) <= room) lines.push(line + painted(text, tone, screen));
  else if (fits) lines.push(...hung(line, text, { at, tone }, screen));
  else lines.push(line, ...hung(" ".repeat(BENEATH), text, { at: BENEATH, tone }, screen));
  return lines.map((it) => it.trimEnd()).filter((it) => it !== "");
}

function cellOf(cell: Cell): Toned {
  const { text, tone } = typeof cell === "string" ? { text: cell, tone: undefined } : cell;
  return { text: oneLine(text), tone };
}

function hung(
  before: string,
  text: string,
  { at, tone }: { readonly at: number; readonly tone?: Tone | undefined },
  screen: Screen,
): readonly string[] {
  const { columns = Number.POSITIVE_INFINITY } = screen;
  return folded(text, columns - at).map((it, index) => (index === 0 ? before : " ".repeat(at)) + painted(it, tone, screen));
}

/** A text for a person, folded. `mark` stands before its first line; the other lines are as far to the right as its text. */
export function paragraph(
  text: string,
  { indent = 0, mark = "", tone }: { readonly indent?: number; readonly mark?: string; readonly tone?: Tone | undefined },
  screen: Screen,
): readonly string[] {
  const before = `${" ".repeat(indent)}${mark}`;
  const line = typeable(oneLine(text), screen.program);
  if (screen.columns === undefined) return [before + painted(line, tone, screen)];
  return hung(before, line, { at: widthOf(before), tone }, screen);
}

/** A command that a person pastes. It is never folded. */
export const pasted = (text: string, indent: number, { program }: Screen): string => whole(typed(text, program), indent);

/** A line of a program's output, or a command of another program. It is never folded: a person copies it. */
export const whole = (text: string, indent: number): string => " ".repeat(indent) + plain(text);

export interface Column<R> {
  readonly head: string;
  readonly cell: (it: R) => Cell;
  /** The one column that gives up room for the others; a cell that is too long then has a line of its own. For ids. */
  readonly yields?: true;
  /** How a cell of the column that yields is shortened in a terminal, instead of having a line of its own. */
  readonly shorten?: (text: string, width: number) => string;
  /** If the terminal is too narrow, the column with the lowest number goes first. Absent: the column stays. */
  readonly goes?: number;
}

/** The least width of a column that yields: if there is less room, another column goes. */
const YIELDS_LEAST = 24;
/** The same, if its cells can be shortened. */
const SHORTENED_LEAST = 16;
/** In a pipe, a longer cell moves the rest of its own row, and not of all rows. */
const PADDED_MOST = 40;

/** The lines of a table, with its header. `below` returns lines that stand beneath a row. */
export function table<R>(
  rows: readonly R[],
  columns: readonly Column<R>[],
  screen: Screen,
  below: (it: R) => readonly string[] = () => [],
): readonly string[] {
  const widthsOf = new Map(
    columns.map((it) => [it, [it.head, ...rows.map((one) => cellOf(it.cell(one)).text)].map(widthOf)] as const),
  );
  const fitting = fittingIn(columns, widthsOf, screen);
  const widths = fitting.widths.slice(0, -1);
  const header = row(fitting.columns.map(({ head }) => ({ text: head, tone: "faint" })), { widths }, screen); // biome-ignore format: one row
  return [
    ...header,
    ...rows.flatMap((it) => [
      ...row(
        fitting.columns.map((column, index) => shortIn(column, column.cell(it), fitting.widths[index] ?? 0, screen)),
        { widths },
        screen,
      ),
      ...below(it),
    ]),
  ];
}

function shortIn<R>({ shorten }: Column<R>, cell: Cell, width: number, { columns }: Screen): Cell {
  const { text, tone } = cellOf(cell);
  return shorten === undefined || columns === undefined ? cell : { text: shorten(text, width), tone };
}

/** Returns the columns for which there is room, and how wide they are. */
function fittingIn<R>(columns: readonly Column<R>[], widthsOf: ReadonlyMap<Column<R>, readonly number[]>, screen: Screen) {
  const needed = (it: Column<R>): number => Math.max(...(widthsOf.get(it) ?? []));
  for (let left = columns; ; ) {
    const fixed = left.filter((it) => it.yields !== true).reduce((sum, it) => sum + needed(it), 0);
    const room = (screen.columns ?? Number.POSITIVE_INFINITY) - fixed - GAP * (left.length - 1);
    const least = (it: Column<R>): number => (it.shorten === undefined ? YIELDS_LEAST : SHORTENED_LEAST);
    const isCramped = left.some((it) => it.yields === true && room < Math.min(needed(it), least(it)));
    const [first] = left.filter((it) => it.goes !== undefined).toSorted((a, b) => (a.goes ?? 0) - (b.goes ?? 0));
    const most = screen.columns === undefined ? PADDED_MOST : Number.POSITIVE_INFINITY;
    if (isCramped && first !== undefined) {
      left = left.filter((it) => it !== first);
      continue;
    }
    // Cells that are too wide get a line of their own, so they do not widen their column.
    const inRoom = (it: Column<R>): number =>
      it.shorten !== undefined && screen.columns !== undefined
        ? Math.min(needed(it), Math.max(room, least(it)))
        : Math.max(it.head.length, ...(widthsOf.get(it) ?? []).filter((width) => width <= Math.min(room, most)));
    return { columns: left, widths: left.map((it) => (it.yields === true ? inRoom(it) : needed(it))) };
  }
}

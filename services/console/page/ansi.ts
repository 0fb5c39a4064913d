/**
 * The colours of a log, as names of classes: the page allows no style of its own. Loaded when a log has colours.
 *
 * The failure this prevents: text that vanishes. The parser takes a sequence that moves the cursor for the beginning of a colour, and
 * swallows all up to the next "m", so that such sequences go first.
 */
import { type Color, parseAnsiSequences } from "ansi-sequence-parser";

export interface Part {
  readonly text: string;
  readonly look: string;
}

const ESCAPE = "\u001b";
/** What moves the cursor, clears a line or names a window, and no colour. */
const OTHERS = new RegExp(`${ESCAPE}(?:\\[[0-?]*[ -/]*[@-ln-~]|\\][^\\u0007${ESCAPE}]*(?:\\u0007|${ESCAPE}\\\\))`, "g");

export function parts(text: string): readonly Part[] {
  const colours = text.replaceAll(OTHERS, "").replaceAll(`${ESCAPE}[m`, `${ESCAPE}[0m`);
  return parseAnsiSequences(colours).map(({ value, foreground, decorations }) => ({
    text: value,
    look: [...named(foreground), ...[...decorations].filter((it) => it !== "hidden")].join(" "),
  }));
}

/** Only the sixteen colours that each terminal shows in its own shades: ours are read on light and on dark. */
const named = (color: Color | null): readonly string[] =>
  color?.type === "named" ? [color.name.replace(/^bright(.)/, (_, first: string) => first.toLowerCase())] : [];

/**
 * Text as a terminal shows it: how wide it is, where it folds, and what it must not contain.
 *
 * The failures this prevents: an escape sequence in a log or a name, which could rewrite what the reader sees; and columns that
 * wide characters (CJK, emoji) push apart.
 */

/** Control characters, and those that change the order in which the rest of a line is shown. */
const OBEYED = /[^\P{Cc}\n\t]|[\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;

/** Replaces each character that a terminal would obey instead of showing it. */
export const plain = (text: string): string => text.replace(OBEYED, "·");

/** ESC [ … m, and the same with one character for ESC [: colours and weights, which only change how the text looks. */
const [ESCAPE, CSI] = ["\u001b", "\u009b"];
const STYLING = new RegExp(String.raw`(?:${ESCAPE}\[|${CSI})[\d;:]*m`, "g");

/** A line of a program's output as a terminal would leave it: without colours, and only what stands after the last return. */
export function printed(line: string): string {
  const bare = line.replaceAll(STYLING, "").replace(/\r+$/, "");
  return bare.slice(bare.lastIndexOf("\r") + 1);
}

/** The same text in one line: a line break in a name or a reason could forge the next row of a table. */
export const oneLine = (text: string): string => plain(text.replaceAll(/[\n\t]/g, " "));

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
const NO_WIDTH = /^[\p{Mn}\p{Me}\p{Cf}]+$/u;
/** Emoji, and the blocks whose characters Unicode calls wide. */
const WIDE =
  /^(?:\p{RGI_Emoji}|\p{Emoji_Presentation}|[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff01-\uff60\uffe0-\uffe6\u{1f300}-\u{1faff}\u{20000}-\u{3fffd}])/v;

/** Returns how many columns of a terminal the text takes. */
export function widthOf(text: string): number {
  if (/^[ -~]*$/.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += NO_WIDTH.test(segment) ? 0 : WIDE.test(segment) ? 2 : 1;
  return width;
}

/** Returns as much of the text as fits. */
export function clipped(text: string, width: number): string {
  let [kept, left] = ["", width];
  for (const { segment } of graphemes.segment(text)) {
    left -= widthOf(segment);
    if (left < 0) return kept;
    kept += segment;
  }
  return kept;
}

/** A word without spaces, cut in its middle: its begin and its end tell it from others. */
export function shortened(text: string, width: number): string {
  if (text.length <= width) return text;
  const end = Math.floor((width - 1) / 2);
  return `${text.slice(0, width - 1 - end)}…${text.slice(text.length - end)}`;
}

/** A word, or a command in backquotes with all its spaces. */
const WORDS = /(\s*)((?:`[^`]*`|[^\s`])+|`)/g;

/**
 * Folds a text at its spaces. A word that is too long stays whole, and so does a command in backquotes: the terminal breaks it at
 * its edge, and a person can still copy it in one piece.
 */
export function folded(text: string, width: number): readonly string[] {
  const lines: string[] = [];
  let line: string | undefined;
  for (const [, gap = "", word = ""] of text.matchAll(WORDS)) {
    if (line !== undefined && widthOf(line) + gap.length + widthOf(word) > width) {
      lines.push(line);
      line = word;
    } else line = line === undefined ? word : line + gap + word;
  }
  return line === undefined ? [""] : [...lines, line];
}

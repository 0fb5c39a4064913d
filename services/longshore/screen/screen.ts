/**
 * Tells how wide the place is where a command's output is shown, and whether it shows colours.
 *
 * If the output goes into a pipe or a file, nothing is folded or coloured, so that each row stays one line for grep and awk.
 */
import { styleText } from "node:util";

export interface Screen {
  /** undefined: no terminal, so that nothing is folded. */
  readonly columns: number | undefined;
  readonly styled: boolean;
  /** How a person who reads it calls this program. Absent: `longshore`. */
  readonly program?: string;
}

export const PIPE: Screen = { columns: undefined, styled: false };

export type Tone = "strong" | "faint" | "good" | "warn" | "bad";

/** The terminal's own colours, because each theme makes them readable. A colour only repeats the meaning of its word. */
const STYLES: Readonly<Record<Tone, Parameters<typeof styleText>[0]>> = {
  strong: "bold",
  faint: "dim",
  good: "green",
  warn: "yellow",
  bad: ["bold", "red"],
};

export interface Toned {
  readonly text: string;
  readonly tone: Tone | undefined;
}

/** The text must be free of control characters. */
export const painted = (text: string, tone: Tone | undefined, { styled }: Pick<Screen, "styled">): string =>
  styled && tone !== undefined && text !== "" ? styleText(STYLES[tone], text, { validateStream: false }) : text;

const TONE_OF: Readonly<Record<Tone, readonly string[]>> = {
  strong: [],
  faint: [],
  good: ["succeeded", "healthy", "ok"],
  warn: ["stalled", "retrying", "waiting", "paused", "unserved", "unwatched", "warn"],
  bad: ["failed", "lost", "refused", "unhealthy", "fail"],
};

/** A word for how something is, in the tone of its meaning. */
export function toned(word: string): Toned {
  const [tone] = Object.entries(TONE_OF).find(([, words]) => words.includes(word.toLowerCase())) ?? [];
  return { text: word, tone: tone as Tone | undefined };
}

/** The width of a terminal that does not tell its own. */
const WIDTH_UNSAID = 80;

/** Colours by Node's own rule: NO_COLOR, FORCE_COLOR, TERM=dumb, and whether the stream is a terminal. */
export const screenOf = (stream: NodeJS.WriteStream, program: string): Screen => ({
  program,
  get columns() {
    return stream.isTTY ? stream.columns || WIDTH_UNSAID : undefined;
  },
  styled: styleText("bold", "x", { stream }) !== "x",
});

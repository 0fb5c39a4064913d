/** Writes a command's help page from its declaration, and folds its lines. */
import type { Command, Page } from "./command.ts";
import { typeable, typed } from "./called-as.ts";
import { paragraph, row } from "./screen/rows.ts";
import type { Screen } from "./screen/screen.ts";
import { widthOf } from "./screen/text.ts";

/** Longer lines are hard to read, and a page in a pipe is read by a person, too. */
const WIDTH_MOST = 100;

export function helpOf({ name, summary, usage, options, more, verbs }: Page & Pick<Command, "verbs">, screen: Screen): string {
  const ways = usage.flatMap((it) => wayOf(`longshore ${name} `, it, screen));
  const all = Object.entries(verbs).map(([verb, it]) => [`longshore ${name} ${verb}`, it.summary] as const);
  const named = Object.entries(options).map(([option, { value, words, short, about }]) => {
    const text = `${short === undefined ? "" : `or -${short}: `}${about}${words ? `: ${words.join(", ")}` : ""}`;
    return [value === undefined ? `--${option}` : `--${option} ${value}`, text] as const;
  });
  const verbHelp = all.length > 0 ? table([[`longshore ${name} VERB --help`, "what a verb does, with its options"]], screen) : "";
  const parts = [
    prose(`longshore ${name}: ${summary}.`, screen),
    ways.join("\n"),
    table(all, screen),
    verbHelp,
    table(named, screen),
    prose(more ?? "", screen),
  ];
  return `${parts.filter((it) => it !== "").join("\n\n")}\n`;
}

/** Stands for a space within brackets: an option and its value stay on one line. */
const JOINED = "\ue000";

/** The words of a way to call the command stand beneath each other if they need several lines. */
function wayOf(command: string, words: string, screen: Screen): readonly string[] {
  const joined = words.replaceAll(/\[[^\]]*\]/g, (option) => option.replaceAll(" ", JOINED));
  const lines = paragraph(joined, { indent: 2, mark: typed(command, screen.program) }, narrowed(screen));
  return lines.map((it) => it.replaceAll(JOINED, " ").trimEnd());
}

const narrowed = ({ columns = WIDTH_MOST, ...same }: Screen): Screen => ({ ...same, columns: Math.min(columns, WIDTH_MOST) });

export function table(given: readonly (readonly [string, string])[], screen: Screen): string {
  const rows = given.map(([left, right]) => [typed(left, screen.program), typeable(right, screen.program)] as const);
  const widths = [Math.max(0, ...rows.map(([left]) => widthOf(left)))];
  return rows.flatMap((cells) => row(cells, { widths, indent: 2 }, narrowed(screen))).join("\n");
}

/** Folds paragraphs. Lines that begin with a space stay as they are: they are commands. */
export const prose = (text: string, screen: Screen): string =>
  text
    .replace(/^\n+|\s+$/g, "")
    .split("\n")
    .flatMap((line) => (line.startsWith(" ") ? [typed(line, screen.program)] : paragraph(line, {}, narrowed(screen))))
    .join("\n");

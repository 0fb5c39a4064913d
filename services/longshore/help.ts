/** Writes a command's help page from its declaration, and folds its lines. */
import type { Command, Page } from "./command.ts";

const WIDTH = 100;

export function helpOf({ name, summary, usage, options, more, verbs }: Page & Pick<Command, "verbs">): string {
  const ways = usage.map((it) => `  longshore ${name} ${it}`.trimEnd());
  const all = Object.entries(verbs).map(([verb, it]) => [`longshore ${name} ${verb}`, it.summary] as const);
  const named = Object.entries(options).map(([option, { value, words, about }]) => {
    const text = `${about}${words ? `: ${words.join(", ")}` : ""}`;
    return [value === undefined ? `--${option}` : `--${option} ${value}`, text] as const;
  });
  const verbHelp = all.length > 0 ? `  longshore ${name} VERB --help    what a verb does, with its options` : "";
  const parts = [`longshore ${name}: ${summary}.`, ways.join("\n"), table(all), verbHelp, table(named), paragraphs(more ?? "")];
  return `${parts.filter((it) => it !== "").join("\n\n")}\n`;
}

export function table(rows: readonly (readonly [string, string])[]): string {
  const wide = Math.max(0, ...rows.map(([left]) => left.length)) + 2;
  return rows
    .map(([left, right]) => {
      const [first = "", ...others] = wrapped(right, WIDTH - wide - 2);
      return [`  ${left.padEnd(wide)}${first}`, ...others.map((it) => `${" ".repeat(wide + 2)}${it}`)].join("\n");
    })
    .join("\n");
}

const paragraphs = (text: string): string =>
  text
    .replace(/^\n+|\s+$/g, "")
    .split("\n")
    .flatMap((line) => (line.startsWith(" ") ? [line] : wrapped(line, WIDTH)))
    .join("\n");

function wrapped(text: string, width: number): readonly string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1) ?? "";
    if (last !== "" && last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines;
}

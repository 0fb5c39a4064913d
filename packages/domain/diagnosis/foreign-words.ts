/** Makes other programs' words fit into a sentence of ours. */

/** The first line of a program's message, short enough for one sentence of ours and without its full stop. */
export function firstLineOf(message: string, most = 240): string {
  const line = (message.trim().split("\n")[0] ?? "").replace(/[.\s]+$/, "");
  return line.length > most ? `${line.slice(0, most - 1).toWellFormed()}…` : line;
}

/** "1 has too little CPU left, 2 are closed and 3 are kept for others" */
export function joined(parts: readonly string[]): string {
  const last = parts.at(-1) ?? "";
  return parts.length < 2 ? last : `${parts.slice(0, -1).join(", ")} and ${last}`;
}

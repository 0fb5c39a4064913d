/**
 * Turns bytes into whole lines.
 *
 * The bugs this prevents: half a line taken for an event when a connection was cut, a character split between two chunks, and a
 * server that never ends its line and so fills our memory.
 */
import { StringDecoder } from "node:string_decoder";
import { Failure } from "@longshore/contract/problem.ts";

export const LINE_MAX_CHARS = 16 * 1024 * 1024;

/** Throws if the last line has no end: the reader would take that line for a whole one. */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  mostChars = LINE_MAX_CHARS,
): AsyncGenerator<string, void, undefined> {
  const decoder = new StringDecoder("utf8");
  let parts: string[] = []; // chunks of the line that has not ended yet; joined once, however many there are
  let held = 0;
  for await (const chunk of chunks) {
    const text = decoder.write(chunk);
    let from = 0;
    for (let end = text.indexOf("\n"); end !== -1; end = text.indexOf("\n", from)) {
      parts.push(text.slice(from, end));
      const line = parts.length === 1 ? (parts[0] ?? "") : parts.join("");
      parts = [];
      held = 0;
      from = end + 1;
      if (line.length > mostChars) throw tooLong(mostChars);
      if (line !== "") yield line;
    }
    if (from < text.length) {
      parts.push(text.slice(from));
      held += text.length - from;
      if (held > mostChars) throw tooLong(mostChars);
    }
  }
  if (held > 0 || decoder.end() !== "") throw new Failure("retry", "unanswered", "The connection ended in the middle of a line.");
}

const tooLong = (most: number) =>
  new Failure("retry", "unanswered", `The API server sent a line of more than ${most} characters.`);

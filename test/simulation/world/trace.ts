/**
 * What happens in a scenario, line by line, for people; and its hash.
 *
 * The bug this prevents: two runs of one seed that differ, and nobody notices.
 */
import { hashOf } from "../scenario/chance.ts";

export interface Trace {
  say(line: string): void;
  hash(): string;
  tail(most: number): readonly string[];
  count(): number;
}

const KEPT_MOST = 20_000;

export function openTrace(now: () => number, startMs: number): Trace {
  let lines: string[] = [];
  let hash = 0x811c9dc5;
  let count = 0;
  return {
    say: (line) => {
      const text = `${((now() - startMs) / 1000).toFixed(3).padStart(10)} ${line}`;
      hash = hashOf(text, hash);
      count++;
      lines.push(text);
      if (lines.length > 2 * KEPT_MOST) lines = lines.slice(-KEPT_MOST);
    },
    hash: () => hash.toString(16).padStart(8, "0"),
    tail: (most) => lines.slice(-most),
    count: () => count,
  };
}

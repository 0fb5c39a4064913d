/** The id of a run that a person asked for: short, with the name of what it runs, so that it can be read out. */
import { randomBytes } from "node:crypto";

/** Crockford's letters and digits, none of which looks like another. */
const LETTERS = "0123456789abcdefghjkmnpqrstvwxyz";
const WORD = 8;

export function newRun(definition: string, _nowMs: number, chance: Uint8Array = randomBytes(WORD)): string {
  return `${definition}/${Array.from(chance, (it) => LETTERS[it % LETTERS.length]).join("")}`;
}

/** The id of a run that a person asked for: short, with the name of what it runs, so that it can be read out. */
import { randomBytes } from "node:crypto";

/** Crockford's letters and digits, none of which looks like another. */
const LETTERS = "0123456789abcdefghjkmnpqrstvwxyz";
const WORD = 8;
/** With the rest, an id has at most 200 letters. */
const NAME_MOST = 180;

export const spelt = (bytes: Uint8Array): string => Array.from(bytes, (it) => LETTERS[it % LETTERS.length]).join("");

/** `mark`: whose id it is (mark.ts). */
export const newRun = (definition: string, mark: string): string =>
  `${definition.slice(0, NAME_MOST)}/${spelt(randomBytes(WORD))}-${mark}`;

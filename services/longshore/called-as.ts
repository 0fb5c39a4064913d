/**
 * How a person calls this program, for each command that is printed to be pasted.
 *
 * The failure this prevents: after `npx longshore publish`, a hint says `longshore runs show`, and the shell answers "command not
 * found".
 */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";

export const NAME = "longshore";
const BY_NPX = `npx ${NAME}`;

/** npm and npx set `npm_command`, and put a folder into PATH that the person's shell does not have. */
export function calledAs({ npm_command: byNpm, PATH = "" }: Readonly<Record<string, string | undefined>>): string {
  const isOnPath = byNpm === undefined && PATH.split(delimiter).some((it) => it !== "" && existsSync(join(it, NAME)));
  return isOnPath ? NAME : BY_NPX;
}

/** The commands in a text. A title, such as "longshore publish: …", is none, and `longshore up` is one only between backticks. */
const COMMANDS =
  /(?<!npx |[\w./-])longshore (?=(?:publish|runs|group|doctor|rbac|completion|COMMAND)\b(?!(?: [a-z]+)?:)|--(?:help|version)\b|(?:up|demo) --help\b)|(?<=`)longshore (?=[a-z])/g;

/** A command line as this person has to type it. */
export const typed = (line: string, program: string = NAME): string =>
  line.replace(/^( *)longshore (?=\S)/, (_, indent: string) => `${indent}${program} `);

/** The text with its commands as this person has to type them. */
export const typeable = (text: string, program: string = NAME): string =>
  program === NAME ? text : text.replaceAll(COMMANDS, `${program} `);

/**
 * The broker and the ledger that a person names for `up`.
 *
 * The failure this prevents: a password in the list of this machine's processes, which every user can read. So a URL may stand
 * in a variable, or in a file that a variable names.
 */
import { readFile } from "node:fs/promises";
import { Failure } from "@longshore/contract/problems/problem.ts";
import { fileAt, type Surroundings, Usage } from "../command.ts";

export const HIDDEN_URLS = `A URL on the command line can be read by every user of this machine, in the list of its processes. If it has a password that matters, write it to a file that you alone can read, and name that file in a variable. LONGSHORE_BROKER_URL and LONGSHORE_LEDGER_URL may hold the URLs themselves.

  LONGSHORE_BROKER_URL_FILE=broker-url npm start`;

const VARIABLES = { broker: "LONGSHORE_BROKER_URL", ledger: "LONGSHORE_LEDGER_URL" } as const;

/** Returns the URL of the option, of its variable, or of the file that the variable names; `undefined` if there is none. */
export async function urlNamed(
  of: keyof typeof VARIABLES,
  option: string | undefined,
  surroundings: Pick<Surroundings, "env" | "cwd">,
): Promise<string | undefined> {
  if (option !== undefined) return checked(`--${of}`, option);
  const { env } = surroundings;
  const variable = VARIABLES[of];
  const [text, file] = [env[variable] || undefined, env[`${variable}_FILE`] || undefined];
  if (text !== undefined && file !== undefined) throw new Usage(`${variable} and ${variable}_FILE are both set: unset one`);
  if (text !== undefined) return checked(variable, text);
  if (file === undefined) return undefined;
  const path = fileAt(file, surroundings);
  const read = await readFile(path, "utf8").catch(({ code }: NodeJS.ErrnoException) => {
    throw new Failure("halt", "Unreadable", `${path}, which ${variable}_FILE names, cannot be read (${code})`);
  });
  return checked(path, read.trim());
}

/** A text that is no URL is not printed: its password could not be found and left out. */
function checked(name: string, url: string): string {
  if (URL.canParse(url)) return url;
  throw new Usage(
    `${name} is no URL: it reads scheme://user:password@host:port/name; in user and password / is written %2F, @ %40, : %3A`,
  );
}

/** The settings are read from the files that `up` writes, in which these URLs stand. */
export const withoutUrls = (env: Surroundings["env"]): Surroundings["env"] =>
  Object.fromEntries(
    Object.entries(env).filter(([name]) => !Object.values(VARIABLES).some((it) => name === it || name === `${it}_FILE`)),
  );

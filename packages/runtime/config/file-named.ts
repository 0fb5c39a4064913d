/**
 * A file that a person named on the command line.
 *
 * The bug this prevents: `npm run` starts a program in the checkout's root, so a path relative to the person's folder is looked
 * for in the wrong place.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** Looks in the program's folder; if npm started the program there, first in the person's folder. */
export function fileNamed(file: string, env: Readonly<Record<string, string | undefined>>, cwd: string): string {
  const inCwd = resolve(cwd, file);
  // A program that npm's program starts in another folder inherits both variables, so npm's folder is compared.
  const { INIT_CWD: stands, npm_package_json: started } = env;
  if (stands === undefined || started === undefined || dirname(started) !== cwd) return inCwd;
  const here = resolve(stands, file);
  return existsSync(here) || !existsSync(inCwd) ? here : inCwd;
}

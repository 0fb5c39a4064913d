/**
 * A file that a person named on the command line.
 *
 * The bug this prevents: `npm run` starts a program in the checkout's root, so that a relative path which is right where the
 * person stands is looked for elsewhere.
 */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";

/** Looks where the program runs; if npm started it there, first where the person stands. */
export function fileNamed(file: string, env: Readonly<Record<string, string | undefined>>, cwd: string): string {
  const inCwd = resolve(cwd, file);
  // Both variables are inherited by what npm's programs start elsewhere.
  const { INIT_CWD: stands, npm_package_json: started } = env;
  if (stands === undefined || started === undefined || dirname(started) !== cwd) return inCwd;
  const here = resolve(stands, file);
  return existsSync(here) || !existsSync(inCwd) ? here : inCwd;
}

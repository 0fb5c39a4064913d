/**
 * The `longshore` program as a person starts it from a folder: one command until it ends, or `up` until Ctrl-C.
 *
 * The failure this prevents: a command that works only inside the test's own process, with the test's own settings.
 */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { quoted } from "@longshore/runtime/shell-word.ts";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { type Ended, type Program, program } from "./servers/program.ts";

const MAIN = fileURLToPath(new URL("../../services/longshore/main.ts", import.meta.url));
const COMMAND_WITHIN_MS = 60_000;
const DEMO_WITHIN_MS = 240_000;

/** Makes a new folder that other users may enter: if the test runs as root, the Postgres of `up` runs as the user nobody. */
export async function emptyFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(path.join(tmpdir(), "longshore-folder-"));
  await chmod(folder, 0o711);
  return { path: folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true, maxRetries: 5 }) };
}

export async function longshore(cwd: string, ...args: readonly string[]): Promise<Ended> {
  await using running = started(cwd, args);
  return await inTime(running.ended, COMMAND_WITHIN_MS, `the end of longshore ${args.join(" ")}`);
}

/** Starts a command that the test stops. */
export const longshoreStarted = (cwd: string, ...args: readonly string[]): Program => started(cwd, args);

/** Runs the demo with `tmp` as its folder for temporary files, so that a test sees what is left behind. */
export async function longshoreDemo(tmp: string): Promise<Ended> {
  await using running = demoStarted(tmp);
  return await inTime(running.ended, DEMO_WITHIN_MS, "the end of the demo");
}

export const demoStarted = (tmp: string): Program => started(tmp, ["demo"], { TMPDIR: tmp });

/** Resolves when `up` says that it is up. */
export async function longshoreUp(cwd: string, ...args: readonly string[]): Promise<Program> {
  await using parts = new AsyncDisposableStack();
  const running = parts.use(started(cwd, ["up", ...args]));
  await running.prints("\n  up.");
  parts.move();
  return running;
}

/** The lines of standard error that tell of something wrong: no info or warning of the log, and nothing that was waited for. */
export const errorsIn = (err: string): readonly string[] =>
  err.split("\n").filter((line) => !/^$|"level":"(info|warn)"| …$/.test(line));

/**
 * One command in a real terminal of this many columns, until it ends. What it prints is what the terminal gets, on both streams;
 * \r\n stands for each line's end. Linux only, by `script` of util-linux.
 */
export async function longshoreInTerminal(
  cwd: string,
  columns: number,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> {
  await using running = inTerminal(cwd, columns, args, env);
  return await inTime(running.ended, COMMAND_WITHIN_MS, `the end of longshore ${args.join(" ")}`);
}

export function inTerminal(
  cwd: string,
  columns: number,
  args: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Program {
  const words = [process.execPath, MAIN, ...args].map(quoted);
  const line = `stty cols ${columns} rows 40; exec ${words.join(" ")}`;
  const { LONGSHORE_CONFIG: _1, NO_COLOR: _2, FORCE_COLOR: _3, CI: _4, ...env } = process.env;
  return program("script", ["-qec", line, "/dev/null"], { cwd, env: { ...env, TERM: "xterm-256color", ...more } });
}

function started(cwd: string, args: readonly string[], more: Readonly<Record<string, string>> = {}): Program {
  const { LONGSHORE_CONFIG: _, ...env } = process.env; // the variable would name another Longshore than the folder's
  return program(process.execPath, [MAIN, ...args], { cwd, env: { ...env, ...more } });
}

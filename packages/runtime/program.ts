/**
 * A program from its first line to its exit code: settings, log, signals, last words.
 *
 * The bugs this prevents: a SIGTERM that cuts work in half, a stop that hangs for ever, an exit code 0 after a failure,
 * and a stack trace where a person needed one sentence. This is the one place that reads the environment.
 *
 * Exit codes: 0 stopped in order (or what the work says), 1 a person has to mend something first (the settings, a password, a
 * permission), 2 a bug of ours, 3 it did not stop in time, 130 or 143 on the second signal.
 */
import { parseArgs } from "node:util";
import type { z } from "zod";
import { causesOf } from "./causes.ts";
import { systemClock } from "./clock.ts";
import { ConfigProblems, readConfig, reason } from "./config/config.ts";
import { fileNamed } from "./config/file-named.ts";
import { withoutCredentials } from "./config/secret.ts";
import { settingsHelp } from "./config/settings-help.ts";
import { isText, type Log, LogSettings, openLog } from "./log.ts";
import type { ProgramEnd } from "./loop.ts";

/** A config schema for a program has these settings beside its own: `z.strictObject({ ...programSettings, … })`. */
export const programSettings = { log: LogSettings.prefault({}) };

interface ProgramOptions {
  readonly graceMs?: number;
  readonly samePressMs?: number;
  /** Returns the error if its message tells a person what to mend. */
  readonly forPerson?: (error: unknown) => { readonly message: string; readonly code: string } | undefined;
}

export type Main<C> = (config: C, log: Log, signal: AbortSignal) => Promise<ProgramEnd>;

/** A second signal within this time comes from the same press of Ctrl-C. */
const SAME_PRESS_MS = 500;

/** How long an orderly stop may take. Below the 30 s that Kubernetes grants before it kills. */
const GRACE_MS = 25_000;

/**
 * Runs the program to its end and exits the process. Settings come from `--config FILE` or LONGSHORE_CONFIG, and from
 * variables. The first SIGTERM or SIGINT aborts the signal; the second ends the process at once.
 */
export async function runProgram<S extends z.ZodType<{ readonly log: LogSettings }>>(
  name: string,
  schema: S,
  main: Main<z.output<S>>,
  { graceMs = GRACE_MS, samePressMs = SAME_PRESS_MS, forPerson = () => undefined }: ProgramOptions = {},
): Promise<never> {
  const config = configure(name, schema);
  const log = openLog(name, config.log);
  const stop = new AbortController();
  lastWords(log);
  stopOnSignals(stop, {
    samePressMs,
    first: (name) => {
      log.info("stopping; the same signal again ends it at once", { signal: name, graceMs });
      void systemClock.sleep(graceMs).then(() => {
        log.error("did not stop in time: some work took longer than it may", { graceMs });
        process.exit(3);
      });
    },
  });
  try {
    const ending = await main(config, log, stop.signal);
    log.info("stopped");
    process.exit(ending.kind === "finished" ? ending.exitCode : 0);
  } catch (error) {
    if (error instanceof ConfigProblems) refuse(name, error.message); // a file named by the settings was wrong
    if (stop.signal.aborted && error === stop.signal.reason) {
      log.info("stopped"); // while it waited to start
      process.exit(0);
    }
    const told = causesOf(error, (it) => forPerson(it) !== undefined).map(forPerson);
    if (!told.every((it) => it !== undefined)) {
      log.error(stop.signal.aborted ? "failed while stopping" : "failed", { error });
      process.exit(2);
    }
    const sentences = [...new Map(told.map((it) => [it.message, it.code]))];
    if (isText(config.log)) refuse(name, sentences.map(([sentence]) => sentence).join("\n"));
    for (const [sentence, code] of sentences)
      log.error("ended, since somebody has to mend this first", { code, error: sentence });
    process.exit(1);
  }
}

function configure<S extends z.ZodType>(name: string, schema: S): z.output<S> {
  try {
    const { values } = parseArgs({ options: { config: { type: "string" }, help: { type: "boolean", short: "h" } } });
    if (values.help === true) {
      process.stdout.write(helpOf(name, schema));
      process.exit(0);
    }
    const { LONGSHORE_CONFIG, ...env } = process.env;
    const file = values.config ?? LONGSHORE_CONFIG;
    return readConfig(schema, { ...(file === undefined ? {} : { file: fileNamed(file, env, process.cwd()) }), env });
  } catch (error) {
    const known = error instanceof ConfigProblems;
    return refuse(name, known ? error.message : `${reason(error)}\nusage: ${name} [--config FILE] [--help]`);
  }
}

const helpOf = (name: string, schema: z.ZodType): string => `longshore's ${name}: runs until SIGTERM or Ctrl-C.

  npm run ${name} -- --config config/${name}.yaml
  node services/${name}/main.ts [--config FILE]     the same on Node 24, as the image runs it

Settings come from FILE (or the file in LONGSHORE_CONFIG) and from variables, which win. Relative paths in the file count from
its folder. A list is written a,b, a map a=1,b=2 and a duration 500ms, 10s, 15m, 24h or 7d. config/${name}.yaml says what each
setting is for.

${settingsHelp(schema)}
Exit codes: 0 stopped in order, 1 something has to be mended first (the settings, a password, a permission) and the text says
what, 2 a bug of ours, 3 it did not stop in time, 130 or 143 the same signal came twice.
`;

function refuse(name: string, message: string): never {
  process.stderr.write(`${name}: ${withoutCredentials(message)}\n`);
  process.exit(1);
}

function lastWords(log: Log): void {
  const die = (what: string) => (error: unknown) => {
    log.error(what, { error });
    process.exit(2);
  };
  process.on("uncaughtException", die("an exception that nothing caught: this is a bug"));
  process.on("unhandledRejection", die("a rejection that nothing awaited: this is a bug"));
}

/**
 * The first SIGINT or SIGTERM aborts; the second ends the process at once, unless it comes from the same press of Ctrl-C.
 *
 * The bug this prevents: folders and processes left behind by one Ctrl-C, because npm and the bootstrap pass its signal on as
 * well.
 */
export function stopOnSignals(
  stop: AbortController,
  { samePressMs = SAME_PRESS_MS, first }: { readonly samePressMs?: number; readonly first?: (signal: string) => void } = {},
): void {
  let stoppedAt = 0;
  for (const [name, code] of Object.entries({ SIGINT: 130, SIGTERM: 143 })) {
    process.on(name, () => {
      if (stop.signal.aborted) {
        if (systemClock.now() - stoppedAt >= samePressMs) process.exit(code);
        return;
      }
      stoppedAt = systemClock.now();
      stop.abort(new Error(`${name} received`));
      first?.(name);
    });
  }
}

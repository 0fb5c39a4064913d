/** The `longshore` command: finds the command by its name, and turns errors into a sentence and an exit code. */
import { calledAs } from "./called-as.ts";
import { asksForHelp, type Command, meant, screenIn, type Surroundings, Usage } from "./command.ts";
import { completionOf } from "./commands/completion.ts";
import { definitions } from "./commands/definitions.ts";
import { demo } from "./commands/demo.ts";
import { doctor } from "./commands/doctor/doctor.ts";
import { explain } from "./explain.ts";
import { group } from "./commands/group/group.ts";
import { ledger } from "./commands/ledger.ts";
import { link } from "./commands/link.ts";
import { publish } from "./commands/publish.ts";
import { rbac } from "./commands/rbac.ts";
import { runs } from "./commands/runs/runs.ts";
import { sinks } from "./commands/sinks.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import { stopOnSignals } from "@longshore/runtime/program.ts";
import { progressOn } from "./screen/progress.ts";
import { paragraph, pasted } from "./screen/rows.ts";
import { PIPE, type Screen, screenOf } from "./screen/screen.ts";
import { token } from "./commands/token.ts";
import { up } from "./commands/up.ts";
import { prose, table } from "./help.ts";
import manifest from "./package.json" with { type: "json" };

const OWN = { up, demo, link, token, publish, runs, definitions, group, sinks, doctor, rbac, ledger };
export const COMMANDS: Readonly<Record<string, Command>> = { ...OWN, completion: completionOf(OWN) };

const WHAT = "longshore: publish a message, get a Kubernetes Job on whichever cluster can take it, and get every outcome back.";
const END = "Without anything set up: `npm run demo` shows it at work, `npm start` (longshore up) leaves it running here.";
const PAGES = [
  ["longshore COMMAND --help", "what a command does, with its options"],
  ["longshore COMMAND VERB --help", "the same for a verb, such as `runs list`"],
  ["longshore --version", "which version this is"],
] as const;
const EXIT_CODES = [
  ["0", "done; for a command that waits for a run's end (publish --follow, runs follow, runs restart): the run succeeded"],
  ["1", "not done, and the text says what you can do; or the run did not succeed; or doctor found a failure"],
  ["2", "a bug of ours: please report it with what was printed"],
  ["64", "the command line is wrong"],
  ["130", "stopped while it waited: by Ctrl-C, or because nobody reads its output any more"],
] as const;

const help = (screen: Screen): string => `${prose(WHAT, screen)}

${table(
  Object.entries(COMMANDS).map(([name, { summary }]) => [`longshore ${name}`, summary]),
  screen,
)}

${table(PAGES, screen)}

Exit codes
${table(EXIT_CODES, screen)}

${prose(END, screen)}
`;

/** Resolves to the exit code. */
export async function longshore(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { out } = surroundings;
  const screen = screenIn(surroundings);
  const [name, ...rest] = args[0] === "help" ? [...args.slice(1), "--help"] : args;
  if (name === undefined || name === "--help" || name === "-h") {
    out(help(screen));
    return 0;
  }
  if (name === "--version" || name === "-v" || name === "version") {
    out(`longshore ${manifest.version}\n`);
    return 0;
  }
  const names = Object.keys(COMMANDS);
  if (name.startsWith("-")) throw new Usage(`there is no option "${name}"; a command comes first: ${names.join(", ")}`);
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) {
    const family = names.find((it) => Object.hasOwn(COMMANDS[it]?.verbs ?? {}, name));
    const found = family === undefined ? meant(name, names) : `; did you mean "${family} ${name}"?`;
    throw new Usage(`there is no command "${name}"; there are ${names.join(", ")}${found}`);
  }
  if (!asksForHelp(rest)) return await command.run(rest, surroundings);
  const verb = rest.find((it) => Object.hasOwn(command.verbs, it));
  out((verb === undefined ? command : (command.verbs[verb] ?? command)).help(screen));
  return 0;
}

/**
 * Runs the command as a process: handles signals and a reader that goes away, and turns an error into a sentence and an exit
 * code.
 */
async function asProcess(): Promise<number> {
  const stop = new AbortController();
  let isRead = true;
  let isSilent = true;
  // `| head -1` closes the pipe when it has its line. The command then stops in order, as after Ctrl-C, and prints nothing
  // more.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
      isRead = false;
      stop.abort(error);
    });
  }

  const program = calledAs(process.env);
  const errors = screenOf(process.stderr, program);
  const progress = progressOn({
    write: (text) => void (isRead && process.stderr.write(text)),
    screen: process.env["TERM"] === "dumb" ? PIPE : errors, // such a terminal cannot overwrite a line
    clock: systemClock,
  });

  stopOnSignals(stop, {
    first: (signal) => {
      // The terminal has just written ^C, and what is said next begins a line.
      progress.clear();
      if (signal === "SIGINT" && errors.columns !== undefined) process.stderr.write("\n");
    },
  });

  /** After Ctrl-C, the errors of interrupted work are not printed. Else a command that said nothing yet would end without a word. */
  function fail(error: unknown): number {
    const { exitCode, text } = explain(error);
    if (stop.signal.aborted && isRead && isSilent) process.stderr.write("stopped\n");
    if (stop.signal.aborted || !isRead) return 130;
    const lines = `longshore: ${text}`
      .split("\n")
      .flatMap((line) => paragraph(line.trimStart(), { indent: indentOf(line) }, errors));
    process.stderr.write(`${lines.join("\n")}\n`);
    return exitCode;
  }

  return await longshore(process.argv.slice(2), {
    out: (text) => {
      isSilent = false;
      progress.clear();
      if (isRead) process.stdout.write(text);
    },
    screen: screenOf(process.stdout, program),
    progress,
    note: (sentence, ...commands) => {
      isSilent = false;
      progress.clear();
      const lines = [...paragraph(sentence, {}, errors), ...commands.map((it) => pasted(it, 2, errors))];
      if (isRead) process.stderr.write(`${lines.join("\n")}\n`);
    },
    env: process.env,
    cwd: process.cwd(),
    signal: stop.signal,
  }).catch(fail);
}

const indentOf = (line: string): number => line.length - line.trimStart().length;

if (import.meta.main) {
  process.exitCode = await asProcess();
  // Sockets that close late must not delay the exit: all output is written.
  process.exit();
}

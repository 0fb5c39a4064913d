/** The `longshore` command: finds the command by its name, and turns errors into a sentence and an exit code. */
import { type Command, Usage } from "./command.ts";
import { demo } from "./commands/demo.ts";
import { doctor } from "./commands/doctor.ts";
import { explain } from "./explain.ts";
import { group } from "./commands/group.ts";
import { publish } from "./commands/publish.ts";
import { rbac } from "./commands/rbac.ts";
import { runs } from "./commands/runs.ts";
import { up } from "./commands/up.ts";

const COMMANDS: Readonly<Record<string, Command>> = { up, demo, publish, runs, group, doctor, rbac };

const HELP = `longshore: publish a message, get a Kubernetes Job on whichever cluster can take it, and get every outcome back.

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  longshore ${name.padEnd(11)} ${summary}`)
  .join("\n")}

  longshore COMMAND --help    what a command does, with examples

Without anything set up: \`npm run demo\` shows it at work, \`npm start\` (longshore up) leaves it running here.
`;

async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    process.stdout.write(HELP);
    return 0;
  }
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (command === undefined) throw new Usage(`there is no command "${name}"; there are ${Object.keys(COMMANDS).join(", ")}`);
  if (rest.includes("--help") || rest.includes("-h")) {
    process.stdout.write(command.help);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (stop.signal.aborted) process.exit(130);
      stop.abort(new Error(`${signal} received`));
    });
  }
  return await command.run(rest, {
    out: (text) => void process.stdout.write(text),
    env: process.env,
    cwd: process.cwd(),
    signal: stop.signal,
  });
}

function fail(error: unknown): number {
  const { exitCode, text } = explain(error);
  process.stderr.write(`longshore: ${text}\n`);
  return exitCode;
}

process.exitCode = await main(process.argv.slice(2)).catch(fail);
// Sockets that close late must not keep the terminal: everything that had to be written was written.
process.exit();

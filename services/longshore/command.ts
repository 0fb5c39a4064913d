/** The shape of a command of `longshore`. */

export interface Surroundings {
  readonly out: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
}

export interface Command {
  /** One line for the list of commands. */
  readonly summary: string;
  /** The text that `--help` prints. */
  readonly help: string;
  /** Resolves to the exit code. Throws `Usage`, `Failure` or `ConfigProblems` for problems that a person can mend. */
  run(args: readonly string[], surroundings: Surroundings): Promise<number>;
}

/** The command line is wrong: exit code 64, and no stack. */
export class Usage extends Error {
  override readonly name = "Usage";
}

/** Wraps `parseArgs`, whose errors are about the command line. */
export function asUsage<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new Usage(error instanceof Error ? error.message : String(error));
  }
}

/**
 * Watches a run until its end, and says how to watch on if the watching ends earlier.
 *
 * The failures this prevents: a person presses Ctrl-C and does not know whether the run is cancelled; and a Longshore is stopped
 * meanwhile, and a sentence about Postgres is all that is told.
 */
import type { RunId } from "@longshore/contract/ids.ts";
import { isTransient, Failure } from "@longshore/contract/problems/problem.ts";
import { configWords, type Surroundings } from "./command.ts";
import { dataDirIn, hasRecord, readRunning } from "./which-longshore.ts";

export interface Watching {
  readonly run: RunId;
  readonly config: string | undefined;
  /** Tells what goes on after Ctrl-C. */
  readonly onStop: () => { readonly says: string; readonly commands: readonly ("follow" | "cancel")[] };
}

/** Returns the event that ended the story, or "stopped". */
export async function watch(
  { run, config, onStop }: Watching,
  work: () => Promise<string>,
  surroundings: Surroundings,
): Promise<string> {
  const command = (verb: string): string => `longshore runs ${verb} ${run}${configWords(config)}`;
  try {
    const end = await work();
    if (end === "stopped") told();
    return end;
  } catch (error) {
    if (surroundings.signal.aborted) {
      told();
      return "stopped";
    }
    if (!isTransient(error)) throw error;
    const follow = `follow on with \`${command("follow")}\``;
    if (await isStopped(config, surroundings))
      throw new Failure(
        "retry",
        "Stopped",
        `${hasRecord(dataDirIn(surroundings.cwd)) ? KILLED : STOPPED} Start it again (\`npm start\`, with the options as before), and ${follow}.`,
        error,
      );
    throw new Failure("retry", error.code, `${error.message}\nWhen that is mended, ${follow}.`, error);
  }

  function told(): void {
    const { says, commands } = onStop();
    surroundings.note?.(says, ...commands.map(command));
  }
}

const STOPPED = "the Longshore of this folder was stopped, and the run is kept.";
/** It removes its record when it stops. */
const KILLED =
  "the Longshore of this folder does not answer any more (killed?). The run is kept, and the commands of pocket runs go on.";

/** True if the Longshore is the one that `longshore up` runs from this folder, and it runs no more. */
const isStopped = async (config: string | undefined, { env, cwd }: Surroundings): Promise<boolean> =>
  (config ?? env["LONGSHORE_CONFIG"]) === undefined && (await readRunning(dataDirIn(cwd))) === undefined;

export const GOES_ON = { says: "stopped watching; the run goes on:", commands: ["follow", "cancel"] } as const;

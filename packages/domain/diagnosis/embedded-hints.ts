/**
 * The hints for runs in the embedded cluster of `longshore up`, whose commands are processes of one person's own machine.
 *
 * The failure this prevents: a hint with kubectl, which reaches no embedded cluster, or one that sends its reader to the
 * cluster's people, of whom there are none.
 */
import type { Code } from "@longshore/contract/messages/diagnosis.ts";

/** The hints that would mislead the reader although they name no cluster. */
const OWN: Readonly<Partial<Record<Code, string>>> = {
  ImageNotFound:
    "Write another image's name, one that is not under .invalid: the pocket cluster pulls none, and runs the command on this machine.",
  ConfigMissing:
    "Put the value into the request (`secretValues`, or in clear `env` and `files`), and publish it with a new id: nobody can make Secrets, ConfigMaps or accounts in the pocket cluster.",
  Gone: "Look at what it has done, and run it again: `longshore runs restart <run>`. Its Job was deleted, or the machine lost its power.",
  StartExpired:
    "Look at `longshore runs show <run>`: it tells what the pod waited for. Raise `startWithin` if such a wait is normal.",
  Abandoned: "Check whether its command still runs on this machine, since Longshore no longer follows it.",
  OutputsLost:
    "Write it as a key of one JSON object to the file that the variable LONGSHORE_TERMINATION_LOG names: in the pocket cluster /dev/termination-log is right only in the words of the command. Mend the program, and restart the run.",
  DeletedExternally: "Look for who else uses this data folder: a program with its token deleted the Job.",
};

const READ = "Read what it printed: ";
export const READ_LOG = `${READ}\`longshore runs show <run>\` has the last lines, and \`longshore runs logs <run>\` all. Its command ran on this machine, so you can try it in a terminal.`;

/** The hint of this code that takes the place of all others. */
export const ownHint = (code: string): string | undefined => OWN[code as Code];

/** True of a hint that is about a cluster's people and tools, or was made of such a one. */
export const isAboutLog = (hint: string): boolean =>
  hint.startsWith(READ) || /kubectl|cluster's people|service account|whoever runs the group/.test(hint);

export const embeddedHint = (code: Code, hint: string): string => ownHint(code) ?? (isAboutLog(hint) ? READ_LOG : hint);

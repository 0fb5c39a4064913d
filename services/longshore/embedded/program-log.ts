/**
 * The logs of the programs beside the screen of `up`.
 *
 * The failure this prevents: a run's failure that a person reads twice, because both programs log it.
 */
import { type Log, type LogSettings, openLog } from "@longshore/runtime/log.ts";
import { paragraph } from "../screen/rows.ts";
import { type Screen, screenOf } from "../screen/screen.ts";

interface Place {
  readonly write: (text: string) => unknown;
  readonly screen: Screen;
}

/** Beside the screen that shows the command's output. */
export const onStderr = ({ program = "longshore" }: Screen): Place => ({
  write: (text) => process.stderr.write(text),
  screen: screenOf(process.stderr, program),
});

/** In a terminal, long lines are folded at their words, beneath the line's time. */
export function programLog(name: "launcher" | "watcher" | "recorder", settings: LogSettings, { write, screen }: Place): Log {
  const log =
    screen.columns === undefined || settings.format === "json"
      ? openLog(name, settings, { write })
      : openLog(name, settings, { isTTY: true, write: (line) => write(foldedLine(line, screen)) });
  return name === "watcher" ? withoutFailures(log) : log;
}

function foldedLine(line: string, screen: Screen): string {
  const [, mark = "", text = ""] = /^(\S* )?(.*)/.exec(line) ?? [];
  return `${paragraph(text, { mark }, screen).join("\n")}\n`;
}

/** The launcher of the same process tells what becomes of the run. */
const withoutFailures = (log: Log): Log => ({
  ...log,
  warn: (message, fields) => (message === "attempt.failed" ? undefined : log.warn(message, fields)),
  child: (fields) => withoutFailures(log.child(fields)),
});

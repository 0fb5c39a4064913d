/**
 * The logs of the programs beside the screen of `up`.
 *
 * The failures this prevents: a run's failure that a person reads twice, because both programs log it; fields for machines
 * (`code=… sentence="…"`) on the screen of a person, without a command to copy; a run that waits for a person who looks at an
 * empty screen; a request that is refused unseen, because its sender listens to no answer; and a broker that is away for a
 * minute, told in a hundred lines of which none says that runs go on.
 */
import { systemClock } from "@longshore/runtime/clock.ts";
import type { Problem } from "@longshore/contract/problems/problem.ts";
import { type Fields, type Log, type LogSettings, openLog } from "@longshore/runtime/log.ts";
import { paragraph, pasted, row } from "../screen/rows.ts";
import { type Screen, screenOf, toned } from "../screen/screen.ts";
import { plain } from "../screen/text.ts";
import { clockTime, timeText } from "../screen/times.ts";
import { statusText } from "../status.ts";
import { wordOf } from "../terminal.ts";

interface Place {
  readonly write: (text: string) => unknown;
  readonly screen: Screen;
  /** The words after each `longshore` command, if `--config` names this Longshore. */
  readonly where: string;
}

/** Beside the screen that shows the command's output. */
export const onStderr = ({ program = "longshore" }: Screen, where: string): Place => ({
  write: (text) => process.stderr.write(text),
  screen: screenOf(process.stderr, program),
  where,
});

/** In a terminal, long lines are folded at their words, beneath the line's time. */
export function programLog(name: "launcher" | "watcher" | "recorder" | "console", settings: LogSettings, place: Place): Log {
  const { write, screen } = place;
  const isJson = screen.columns === undefined || settings.format === "json";
  const log = isJson
    ? openLog(name, settings, { write })
    : openLog(name, settings, { isTTY: true, write: (line) => write(foldedLine(line, screen)) });
  const isLaunchers = (message: string): boolean => name === "watcher" && message === "attempt.failed"; // its launcher tells it
  if (isJson) return sayingOtherwise(log, isLaunchers);
  const refused = refusals(place);
  const ofBroker = brokerNews(name, place);
  return sayingOtherwise(log, (message, fields) => {
    if (isLaunchers(message) || ofBroker(message, fields)) return true;
    if (message === "command.refused") return refused("REFUSED", fields);
    // Perhaps nobody could be told of it: then this screen and the quarantine are all that a person has.
    if (message === "a message was put into quarantine") return refused("QUARANTINED", fields);
    return told(message, fields, place);
  });
}

function foldedLine(line: string, screen: Screen): string {
  const [, mark = "", text = ""] = /^(\S* )?(.*)/.exec(line) ?? [];
  return `${paragraph(text, { mark }, screen).join("\n")}\n`;
}

/** `tells` returns true of a line that it has told, or that nobody needs. */
const sayingOtherwise = (log: Log, tells: (message: string, fields: Fields) => boolean): Log => ({
  ...log,
  // A run that waits for a group to be resumed is no warning, but a person at this screen may be the one.
  info: (message, fields = {}) => (tells(message, fields) ? undefined : log.info(message, fields)),
  warn: (message, fields = {}) => (tells(message, fields) ? undefined : log.warn(message, fields)),
  child: (more) => sayingOtherwise(log.child(more), (message, fields) => tells(message, { ...more, ...fields })),
});

interface Trouble {
  readonly run?: string;
  readonly code?: string;
  readonly sentence?: string;
  readonly nextAttemptAt?: string;
}

const now = () => ({ text: clockTime(systemClock.now()), tone: "faint" }) as const;

const TIME_WIDTH = 9;
const BENEATH = TIME_WIDTH + 2;

/** A run's trouble as the other screens tell it, with the command that shows more. */
function told(message: string, fields: Fields, { write, screen, where }: Place): boolean {
  const { run, code, sentence = "", nextAttemptAt } = fields as Trouble;
  if (!message.startsWith("run.") || run === undefined) return false;
  const status = statusText({ word: wordOf(message), ...(code !== undefined && { code }) });
  const again = nextAttemptAt === undefined ? "" : ` It is tried again at ${timeText(Date.parse(nextAttemptAt))}.`;
  const lines = [
    ...row([now(), status, run], { widths: [TIME_WIDTH, status.text.length] }, screen),
    ...(sentence + again === "" ? [] : paragraph(`${sentence}${again}`.trimStart(), { indent: BENEATH }, screen)),
    pasted(`longshore runs show ${run}${where}`, BENEATH, screen),
  ];
  write(`${lines.join("\n")}\n`);
  return true;
}

const UNPUBLISHED = ["a fact could not be published yet", "an event could not be published yet"];
const UNPUBLISHED_EACH_MS = 60_000;

/** Tells once that the broker is away, and once that it is back: a program has several connections, and tries each message again. */
function brokerNews(name: string, { write, screen }: Place): (message: string, fields: Fields) => boolean {
  const lost = new Set<unknown>();
  let unpublishedMs = 0;
  const say = (word: string, tone: string, text: string): void => {
    const head = { text: word, tone: toned(tone).tone };
    const first = row([now(), head, name], { widths: [TIME_WIDTH, word.length] }, screen);
    write(`${[...first, ...paragraph(text, { indent: BENEATH }, screen)].join("\n")}\n`);
  };
  return (message, { purpose, error }) => {
    if (message === "lost the connection to the broker") {
      const isFirst = lost.size === 0;
      lost.add(purpose);
      const why = plain(error instanceof Error ? error.message : String(error)).replace(/\.$/, "");
      if (isFirst)
        say(
          "BROKER AWAY",
          "failed",
          `${why}. Runs go on; it connects again by itself, and what cannot be sent now is sent then.`,
        );
      return true;
    }
    if (message === "connected to the broker again") {
      lost.delete(purpose);
      if (lost.size === 0) say("BROKER BACK", "succeeded", "It is connected again, and what waited is sent.");
      return true;
    }
    if (!UNPUBLISHED.includes(message)) return false;
    // A broker that is connected and silent has not been told of yet.
    const isTold = lost.size > 0 || systemClock.now() - unpublishedMs < UNPUBLISHED_EACH_MS;
    if (!isTold) unpublishedMs = systemClock.now();
    return isTold;
  };
}

/** What could not be read is absent. */
interface Refusal {
  readonly run?: string;
  readonly command?: string;
  readonly source?: string;
  readonly problems: readonly Problem[];
}

/** A sender with a mistake in a loop would push everything else off the screen. */
const REFUSALS_MOST = 10;
const REFUSALS_EACH_MS = 60_000;

/** Tells what is wrong with a request and who sent it: the first few of each minute. */
function refusals({ write, screen, where }: Place): (word: string, fields: Fields) => true {
  let sinceMs = 0;
  let count = 0;
  return (word, fields) => {
    const { run, command, source, problems } = fields as unknown as Refusal;
    const what = run ?? (command === undefined ? "a message" : `message "${command}"`);
    if (systemClock.now() - sinceMs >= REFUSALS_EACH_MS) [sinceMs, count] = [systemClock.now(), 0];
    count += 1;
    if (count > REFUSALS_MOST + 1) return true;
    const head = { text: word, tone: toned("refused").tone };
    const lines =
      count > REFUSALS_MOST
        ? row([now(), "more is refused; for a minute, this screen says no more of it"], { widths: [TIME_WIDTH] }, screen)
        : [
            ...row(
              [now(), head, source === undefined ? plain(what) : `${plain(what)} from ${plain(source)}`],
              { widths: [TIME_WIDTH, word.length] },
              screen,
            ),
            ...problems.flatMap(({ path, message }) =>
              paragraph(`${path === "" ? "" : `${path}: `}${plain(message)}`, { indent: BENEATH }, screen),
            ),
            ...(word === "QUARANTINED" ? [pasted(`longshore doctor${where}`, BENEATH, screen)] : []),
          ];
    write(`${lines.join("\n")}\n`);
    return true;
  };
}

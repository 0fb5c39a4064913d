/**
 * Says on standard error what a command waits for, if that takes longer than a second.
 *
 * The failure this prevents: a command that seems to hang, and nobody knows why. In a terminal one line counts the time and
 * goes when the work is done; elsewhere the line is printed once.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { painted, type Screen } from "./screen.ts";
import { span } from "./times.ts";
import { clipped, oneLine, widthOf } from "./text.ts";

export interface Progress {
  /** Does the work. If the work takes longer than a second, says `what`. */
  during<T>(what: string, work: () => Promise<T>, how?: How): Promise<T>;
  /** Removes the line from the terminal, so that other text can be printed in its place. */
  clear(): void;
}

interface How {
  /** When the wait began, if it began earlier. */
  readonly sinceMs?: number;
  /** When it ends, if that is known: the line then counts down. */
  readonly untilMs?: number;
  /** True: says nothing if there is no terminal. For waits that may last for hours, and that the command itself prints. */
  readonly onlyInTerminal?: boolean;
}

type Span = { readonly sinceMs: number; readonly untilMs: number | undefined };

export interface ProgressParts {
  readonly write: (text: string) => void;
  readonly screen: Screen;
  readonly clock: Pick<Clock, "now" | "alarm">;
}

const AFTER_MS = 1_000;
const REDRAW_MS = 120;
const FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

export function progressOn({ write, screen, clock }: ProgressParts): Progress {
  let drawn = 0;

  /** Erases by spaces: with NO_COLOR and in a log of a terminal, nobody wants escape sequences. */
  function clear(): void {
    if (drawn > 0) write(`\r${" ".repeat(drawn)}\r`);
    drawn = 0;
  }

  function draw(what: string, { sinceMs, untilMs }: Span, columns: number): void {
    const lastsMs = Math.max(0, clock.now() - sinceMs);
    const shownMs = untilMs === undefined ? lastsMs : Math.max(0, untilMs - clock.now() + 999);
    const before = untilMs === undefined ? "  " : ", in ";
    const frame = FRAMES[Math.floor(lastsMs / REDRAW_MS) % FRAMES.length] ?? "";
    // One column stays free: a full line would make some terminals begin the next one.
    const counted = span(Math.floor(shownMs / 1000) * 1000).replace(".0", "");
    const text = clipped(`${frame} ${oneLine(what)}${before}${counted}`, columns - 1);
    const [width, rest] = [widthOf(text), " ".repeat(Math.max(0, drawn - widthOf(text)))];
    write((drawn > 0 ? "\r" : "") + painted(text, "faint", screen) + rest);
    drawn = width + rest.length;
  }

  async function during<T>(what: string, work: () => Promise<T>, how: How = {}): Promise<T> {
    const { sinceMs = clock.now(), untilMs, onlyInTerminal = false } = how;
    let callOff = clock.alarm(Math.max(0, sinceMs + AFTER_MS - clock.now()), () => {
      const { columns } = screen;
      if (columns !== undefined) again(columns);
      else if (!onlyInTerminal) write(`${oneLine(what)} …\n`);
    });
    function again(columns: number): void {
      draw(what, { sinceMs, untilMs }, columns);
      callOff = clock.alarm(REDRAW_MS, () => again(columns));
    }
    try {
      return await work();
    } finally {
      callOff();
      clear();
    }
  }

  return { during, clear };
}

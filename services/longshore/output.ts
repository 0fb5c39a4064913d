/**
 * What the programs of a run print, while the run is followed.
 *
 * The failure this prevents: a program that runs for an hour, and a screen that says "started" all that time.
 */
import type { Attempt, RunRecord } from "@longshore/domain/run/record.ts";
import type { Clock } from "@longshore/runtime/clock.ts";

/** Prints what the attempt's program prints, until it ends. Resolves to false if that cannot be read. */
export type ReadOutput = (attempt: Attempt, print: (line: string) => void, signal: AbortSignal) => Promise<boolean>;

export interface Output extends Disposable {
  /** Begins to show what the programs print that run now. */
  look(record: RunRecord): void;
  /** True if a program runs for a while, and what it prints cannot be shown: once for each. */
  isHidden(record: RunRecord, nowMs: number): boolean;
  /** Waits until the attempt's output has ended. True if all of it was shown, and there was something. */
  isWhole(attempt: Attempt | undefined): Promise<boolean>;
}

/** Whoever waits this long at a silent screen wants to know where the output is. */
const SILENT_MS = 5_000;
/** The output ends with its program. If it does not, the run's end is told without it. */
const END_WITHIN_MS = 2_000;

interface Shown {
  readonly ended: Promise<boolean>;
  lines: number;
  isUnreadable: boolean;
  isTold: boolean;
}

export function openOutput(
  read: ReadOutput,
  print: (line: string, attempt: Attempt) => void,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Output {
  const stop = new AbortController();
  const over = AbortSignal.any([signal, stop.signal]);
  const shown = new Map<string, Shown>();
  const running = ({ attempts }: RunRecord): readonly Attempt[] =>
    attempts.filter(({ state, started }) => state === "live" && started === "yes");

  function begin(attempt: Attempt): Shown {
    const count = (line: string): void => {
      it.lines++;
      print(line, attempt);
    };
    // The run is followed all the same if its cluster cannot be read: it is the ledger that tells how the run goes on.
    const ended = Promise.resolve().then(() => read(attempt, count, over)).catch(() => false); // biome-ignore format: one chain
    const it: Shown = { ended, lines: 0, isUnreadable: false, isTold: false };
    void ended.then((isRead) => (it.isUnreadable = !isRead));
    return it;
  }

  return {
    look: (record) => {
      for (const it of running(record)) if (!shown.has(it.name)) shown.set(it.name, begin(it));
    },
    isHidden: (record, nowMs) => {
      const hidden = running(record).flatMap(({ name, notes: { startedAtMs = nowMs } }) => {
        const it = shown.get(name);
        return it?.isUnreadable === true && !it.isTold && nowMs - startedAtMs >= SILENT_MS ? [it] : [];
      });
      for (const it of hidden) it.isTold = true;
      return hidden.length > 0;
    },
    isWhole: async (attempt) => {
      const it = attempt && shown.get(attempt.name);
      if (it === undefined) return false;
      const { promise: late, resolve } = Promise.withResolvers<false>();
      const callOff = clock.alarm(END_WITHIN_MS, () => resolve(false));
      const isRead = await Promise.race([it.ended, late]);
      callOff();
      return isRead && it.lines > 0 && !over.aborted;
    },
    [Symbol.dispose]: () => stop.abort(),
  };
}

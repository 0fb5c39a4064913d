/**
 * A program as a person starts it in a terminal: its output, its end, and a bound so that it never outlives the test.
 *
 * The failure this prevents: a wait for output that can no longer come, because the program has ended without it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { inTime } from "@longshore/cli/embedded/child.ts";
import { leash } from "@longshore/ledger/embedded-postgres.ts";

export interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Program extends AsyncDisposable {
  readonly ended: Promise<Ended>;
  /** Resolves when the program has printed this, on either stream. Rejects if it ends before, or takes too long. */
  prints(text: string): Promise<void>;
  /** Presses Ctrl-C; resolves to the program's end. npm passes one press on, so that a program may get it twice. */
  stop(how?: { readonly signals: number }): Promise<Ended>;
  /** Kills it with `signal`; resolves to its end. */
  kill(signal: "SIGKILL" | "SIGTERM"): Promise<Ended>;
}

export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

const PRINTS_WITHIN_MS = 120_000;
const STOP_WITHIN_MS = 30_000;

export function program(file: string, args: readonly string[], surroundings: Surroundings): Program {
  const child = spawn(file, args, { ...surroundings, stdio: ["ignore", "pipe", "pipe"] });
  const held = child.pid === undefined ? undefined : leash(child.pid, "INT"); // without a pid it has not started, and `ended` rejects
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close").then(([code]: unknown[]): Ended => {
    held?.release();
    return { code: typeof code === "number" ? code : null, out, err };
  });
  const printed = (text: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const look = () => void ((out.includes(text) || err.includes(text)) && resolve());
      for (const stream of [child.stdout, child.stderr]) stream.on("data", look);
      look();
      ended.then(() => reject(new Error(`it ended without "${text}", after\n${out}${err}`)), reject);
    });
  const stop = async ({ signals }: { readonly signals: number } = { signals: 1 }): Promise<Ended> => {
    for (let sent = 0; sent < signals; sent++) child.kill("SIGINT");
    try {
      return await inTime(ended, STOP_WITHIN_MS, `the end of ${file} after Ctrl-C`);
    } finally {
      child.kill("SIGKILL");
      await ended;
    }
  };
  return {
    ended,
    prints: (text) => inTime(printed(text), PRINTS_WITHIN_MS, `"${text}", which is to be printed,`),
    stop,
    kill: async (signal) => {
      child.kill(signal);
      return await inTime(ended, STOP_WITHIN_MS, `the end of ${file} after ${signal}`);
    },
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
}

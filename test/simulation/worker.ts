/** A thread that runs one scenario after the other, as it is asked, and answers each seed with its verdict. */
import { parentPort } from "node:worker_threads";
import { noteUnhandled, runScenario } from "./run.ts";
import type { Only } from "./scenario/setting.ts";

export type Ask = { readonly seed: number; readonly tailMost: number; readonly only: Only };

if (import.meta.main || parentPort !== null) {
  // Failures are made by the thousand here, and nobody reads their stacks.
  Error.stackTraceLimit = 0;
  process.on("unhandledRejection", noteUnhandled);
  parentPort?.on("message", ({ seed, tailMost, only }: Ask) => {
    void runScenario(seed, tailMost, only).then(
      (verdict) => parentPort?.postMessage(verdict),
      // Ends the thread, and many.ts then names the seed: otherwise the wait for a verdict would never end.
      (error: unknown) => setImmediate(() => { throw error; }), // biome-ignore format: one line
    );
  });
}

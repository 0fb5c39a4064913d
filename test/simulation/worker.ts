/** A thread that runs scenarios, one seed after the other as it is asked, and answers with each one's verdict. */
import { parentPort } from "node:worker_threads";
import { noteUnhandled, runScenario } from "./run.ts";

export type Ask = { readonly seed: number; readonly tailMost: number };

if (import.meta.main || parentPort !== null) {
  // Failures are made by the thousand here, and nobody reads where: a bug's own stack is told by a single run.
  Error.stackTraceLimit = 0;
  process.on("unhandledRejection", noteUnhandled);
  parentPort?.on("message", ({ seed, tailMost }: Ask) => {
    void runScenario(seed, tailMost).then(
      (verdict) => parentPort?.postMessage(verdict),
      // Ends the thread, which names the seed: whoever waits for a verdict would wait for ever.
      (error: unknown) => setImmediate(() => { throw error; }), // biome-ignore format: one line
    );
  });
}

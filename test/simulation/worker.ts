/** A thread that runs scenarios, one seed after the other as it is asked, and answers with each one's verdict. */
import { parentPort } from "node:worker_threads";
import { noteUnhandled, runScenario } from "./run.ts";

export type Ask = { readonly seed: number; readonly tailMost: number };

if (import.meta.main || parentPort !== null) {
  process.on("unhandledRejection", noteUnhandled);
  parentPort?.on("message", ({ seed, tailMost }: Ask) => {
    void runScenario(seed, tailMost).then((verdict) => parentPort?.postMessage(verdict));
  });
}

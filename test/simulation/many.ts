/**
 * Runs many scenarios on all cores.
 *
 * The bug this prevents: a failure that depends on the number of threads. Each seed's world is its own; threads only decide
 * which verdict comes first.
 */
import { Worker } from "node:worker_threads";
import type { Verdict } from "./run.ts";
import type { Only } from "./scenario/setting.ts";
import type { Ask } from "./worker.ts";

export interface Many {
  readonly seeds: Iterable<number>;
  readonly threads: number;
  /** How many of the trace's last lines come with each verdict. */
  readonly tailMost: number;
  /** The troubles that each scenario must have. */
  readonly only?: Only;
  /** Returns true if enough is known: no further scenario begins. */
  readonly onVerdict: (verdict: Verdict) => boolean;
}

export async function runMany({ seeds, threads, tailMost, only, onVerdict }: Many): Promise<void> {
  const left = seeds[Symbol.iterator]();
  let enough = false;
  await Promise.all(Array.from({ length: threads }, () => thread()));

  async function thread(): Promise<void> {
    const worker = new Worker(new URL("./worker.ts", import.meta.url));
    try {
      while (!enough) {
        const { value: seed, done } = left.next();
        if (done === true) return;
        const verdict = await ask(worker, { seed, tailMost, only });
        enough = onVerdict(verdict) || enough;
      }
    } finally {
      await worker.terminate();
    }
  }
}

function ask(worker: Worker, it: Ask): Promise<Verdict> {
  return new Promise((resolve, reject) => {
    const settle = (finish: () => void) => (): void => {
      for (const event of ["message", "error", "exit"]) worker.removeAllListeners(event);
      finish();
    };
    worker.once("message", (verdict: Verdict) => settle(() => resolve(verdict))());
    worker.once("error", (error) => settle(() => reject(new Error(`the scenario of seed ${it.seed} broke its thread`, { cause: error })))()); // biome-ignore format: one line
    worker.once(
      "exit",
      settle(() => reject(new Error(`the scenario of seed ${it.seed} ended its thread`))),
    );
    worker.postMessage(it);
  });
}

export function* seedsFrom(first: number, count: number): Generator<number> {
  for (let seed = first; seed < first + count; seed++) yield seed;
}

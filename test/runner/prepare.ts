/**
 * Makes the servers that the slower tests need, in the background while the quick tests run.
 *
 * The bugs this prevents: seven silent minutes in the middle of a run, and a test that ran out of time because it was the first
 * to need a server and had to build it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { endProcess } from "./leftovers.ts";
import { type Need, NEEDS } from "./needs.ts";

export interface Preparing {
  /** Tells whether each of these needs is made, or is known to have failed. */
  isReady(needs: readonly Need[]): boolean;
  /** Resolves when each of these needs is made or has failed. The tests that miss a server say so. */
  before(needs: readonly Need[]): Promise<void>;
}

/** Makes one after the other, the quickest first. */
export function prepare(wanted: ReadonlySet<Need>, root: string, signal: AbortSignal): Preparing {
  const made = new Map<Need, Promise<void>>();
  const ready = new Set<Need>();
  let last = Promise.resolve();
  for (const need of NEEDS.filter((it) => wanted.has(it))) {
    last = last.then(() => make(need, root, signal)).then(() => void ready.add(need));
    made.set(need, last);
  }
  return {
    isReady: (needs) => needs.every((it) => ready.has(it) || !made.has(it)),
    before: async (needs) => {
      for (const it of needs) await made.get(it);
    },
  };
}

async function make(need: Need, root: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const child = spawn(process.execPath, [join(root, "test/harness/builds/prepare.ts"), need], {
    stdio: ["ignore", "ignore", "inherit"],
    detached: true,
  });
  const end = () => child.pid !== undefined && endProcess(-child.pid);
  signal.addEventListener("abort", end, { once: true });
  const [code] = await once(child, "exit").catch((error: unknown) => [String(error)]);
  signal.removeEventListener("abort", end);
  if (code !== 0) process.stdout.write(`       ${need} for the tests could not be made; those that need it will fail\n`);
}

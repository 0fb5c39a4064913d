/**
 * Brokers and clusters for the slower tiers, made in the background while the quick tiers run.
 *
 * The bugs this prevents: seven silent minutes in the middle of a run, and a test that ran out of time because the first
 * one to need a server also had to build it.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { endProcess } from "./leftovers.ts";
import type { Tier } from "./find.ts";

/** What each tier waits for. */
const NEEDED: Readonly<Partial<Record<Tier, readonly string[]>>> = {
  integration: ["brokers"],
  chaos: ["brokers"],
  kube: ["brokers", "clusters"],
};

export interface Preparing {
  /** Whether what this tier needs is there, or is known not to come. */
  isReady(tier: Tier): boolean;
  /** Resolves when what this tier needs was made, or could not be: its tests will say what is missing. */
  before(tier: Tier): Promise<void>;
}

export function prepare(tiers: ReadonlySet<Tier>, root: string, signal: AbortSignal): Preparing {
  const wanted = new Set([...tiers].flatMap((tier) => NEEDED[tier] ?? []));
  const made = new Map<string, Promise<void>>();
  const ready = new Set<string>();
  let last = Promise.resolve();
  for (const what of wanted) {
    last = last.then(() => make(what, root, signal)).then(() => void ready.add(what));
    made.set(what, last);
  }
  return {
    isReady: (tier) => (NEEDED[tier] ?? []).every((what) => ready.has(what)),
    before: async (tier) => {
      for (const what of NEEDED[tier] ?? []) await made.get(what);
    },
  };
}

async function make(what: string, root: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const child = spawn(process.execPath, [join(root, "test/harness/prepare.ts"), what], {
    stdio: ["ignore", "ignore", "inherit"],
    detached: true,
  });
  const end = () => child.pid !== undefined && endProcess(-child.pid);
  signal.addEventListener("abort", end, { once: true });
  const [code] = await once(child, "exit").catch((error: unknown) => [String(error)]);
  signal.removeEventListener("abort", end);
  if (code !== 0) process.stdout.write(`       ${what} for the tests could not be made; those that need them will fail\n`);
}

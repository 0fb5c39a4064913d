/**
 * A loop that outlives outages: after a failure that may pass, the work is tried again, with growing pauses; any other error
 * ends the program.
 *
 * The bug this prevents: a loop that died of one lost connection while the process looks healthy.
 */
import { isTransient } from "@longshore/contract/problems/problem.ts";
import { type WakeUp, every } from "@longshore/runtime/loop.ts";
import type { Parts } from "../parts.ts";

export async function retryLoop(
  { clock, log, pause }: Pick<Parts, "clock" | "log" | "pause">,
  {
    what,
    ms,
    wakeUp,
    signal,
  }: { readonly what: string; readonly ms: number; readonly wakeUp?: WakeUp; readonly signal: AbortSignal },
  work: (signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  let failures = 0;
  await every({ clock, ms, signal, ...(wakeUp && { wakeUp }) }, async (signal) => {
    try {
      await work(signal);
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      if (!isTransient(error)) throw error;
      failures += 1;
      log.warn("a loop waits and tries again", { loop: what, failures, code: error.code, error: error.message });
      await pause(failures, signal);
    }
  });
}

/** Repeats `work` while it says that there may be more. */
export async function drain(signal: AbortSignal, work: () => Promise<boolean>): Promise<void> {
  while (!signal.aborted && (await work()));
}

/**
 * Runs all items at once, and each to its end. If it stopped at the first failure, the others would go on while the loop takes
 * more, or the program closes the ledger that they use. An error that no retry mends is thrown before one that passes.
 */
export async function sideBySide<I>(items: readonly I[], work: (item: I) => Promise<unknown>): Promise<void> {
  const done = await Promise.allSettled(items.map(work));
  const failures = done.flatMap((it): unknown[] => (it.status === "rejected" ? [it.reason] : []));
  if (failures.length === 0) return;
  throw failures.find((it) => !isTransient(it)) ?? failures[0];
}

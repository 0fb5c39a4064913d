/**
 * The start of a program whose servers may be away: it waits for them, answers health probes meanwhile, and says for whom it
 * waits.
 *
 * The bug this prevents: a launcher that Kubernetes restarts with longer and longer pauses, because its broker was started a
 * minute after it. A server that refuses us (a wrong password, a missing permission) still ends the program at once.
 */
import type { Clock } from "./clock.ts";
import type { HealthOptions, PartState } from "./health.ts";
import type { Log } from "./log.ts";
import { backOff } from "./loop.ts";

const MINUTE_MS = 60_000;

export interface Starting {
  /** Options for the health server, which runs before anything else: they say that no part is ready yet. */
  readonly health: Required<Pick<HealthOptions, "parts" | "refresh">>;
  /**
   * Opens a server as soon as it can be reached. Throws an error that is no outage, and the signal's reason if the program is
   * to stop.
   */
  reach<T>(part: string, open: () => Promise<T>): Promise<T>;
  /** From now on the health server asks these parts. */
  started(health: Pick<HealthOptions, "parts" | "refresh">): void;
}

export interface StartingOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly signal: AbortSignal;
  /** True for an error that passes by itself. */
  readonly isOutage: (error: unknown) => error is Error;
}

export function openStarting(parts: readonly string[], { clock, log, signal, isOutage }: StartingOptions): Starting {
  const pause = backOff(clock, { firstMs: 200, mostMs: 5_000 });
  const states: Record<string, () => PartState | Promise<PartState>> = {};
  const say = (part: string, says: string): void => void (states[part] = () => ({ ready: false, says }));
  for (const part of parts) say(part, "is not asked yet");
  let refresh: () => Promise<void> = async () => undefined;
  let saidMs: number | undefined;

  async function reach<T>(part: string, open: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures++) {
      signal.throwIfAborted();
      try {
        const opened = await open();
        say(part, "was reached; the program is starting");
        return opened;
      } catch (error) {
        if (!isOutage(error)) throw error;
        say(part, `not reached yet: ${error.message}`);
        if (saidMs === undefined || clock.now() - saidMs >= MINUTE_MS) {
          log.warn("waiting for a server before the start", { part, error: error.message });
          saidMs = clock.now();
        }
      }
      await pause(failures, signal);
    }
  }

  return {
    health: { parts: states, refresh: () => refresh() },
    reach,
    started: (health) => {
      Object.assign(states, health.parts);
      refresh = health.refresh ?? refresh;
    },
  };
}

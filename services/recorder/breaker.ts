/**
 * How many requests a sink may get now.
 *
 * The bug this prevents: an API that is down gets a request for each run that waits, again and again, and is met by all of them
 * when it comes back. After failures in a row nothing is sent for a while, then one request, whose answer decides.
 */
import type { Clock } from "@longshore/runtime/clock.ts";

const FAILURES_MAX = 5;
const FIRST_MS = 1_000;
const MOST_MS = 60_000;

export interface Breaker {
  /** How many more requests may be sent now, if `inFlight` are out. */
  room(inFlight: number): number;
  /** The sink took or refused a request: it is there. */
  answered(): void;
  /** `quietMs`: how long the sink asked to be left alone. */
  failed(quietMs?: number): void;
  /** True from the failures that opened it to the next answer. */
  isOpen(): boolean;
}

export function openBreaker(clock: Clock, inFlightMax: number): Breaker {
  let failures = 0;
  let quietUntilMs = 0;

  return {
    room(inFlight) {
      if (clock.now() < quietUntilMs) return 0;
      return Math.max(0, (failures < FAILURES_MAX ? inFlightMax : 1) - inFlight);
    },
    answered() {
      failures = 0;
    },
    failed(quietMs = 0) {
      // Requests that were out together fail together: they are one sign that the sink is away.
      if (failures >= FAILURES_MAX && clock.now() < quietUntilMs && quietMs === 0) return;
      failures++;
      const waitMs = failures < FAILURES_MAX ? 0 : Math.min(MOST_MS, FIRST_MS * 2 ** Math.min(failures - FAILURES_MAX, 16));
      // Jitter only lengthens what was asked for.
      const untilMs = clock.now() + Math.max(waitMs * (0.75 + clock.random() / 2), quietMs * (1 + clock.random() / 10));
      quietUntilMs = Math.max(quietUntilMs, untilMs);
    },
    isOpen: () => failures >= FAILURES_MAX,
  };
}

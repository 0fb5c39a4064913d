/** The limits of a run: the defaults, and the request's own limits in their place. All in milliseconds. */
import { DIAGNOSES } from "@longshore/contract/diagnosis.ts";
import type { RunRequest } from "@longshore/contract/request.ts";
import { durationMs } from "@longshore/contract/units.ts";
import type { Limits } from "./record.ts";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

export const DEFAULTS: Limits = Object.freeze({
  waitForMs: 24 * HOUR,
  startWithinMs: 15 * MINUTE,
  deadlineMs: 6 * HOUR,
  retriesMax: 2,
  retriesOn: Object.freeze(["never-started"] as const),
  backoffFirstMs: 10 * SECOND,
  backoffMostMs: 5 * MINUTE,
  keepSucceededMs: HOUR,
  keepFailedMs: 24 * HOUR,
  giveUpAfterMs: Object.freeze(
    Object.fromEntries(
      Object.entries(DIAGNOSES).flatMap(([code, { giveUpAfterMs }]) =>
        giveUpAfterMs === undefined ? [] : [[code, giveUpAfterMs] as const],
      ),
    ),
  ),
});

/**
 * Takes the request's own limits if it names any. They were validated with the request; a value that is no duration changes
 * nothing here.
 */
export function limitsOf(request: RunRequest, defaults: Limits = DEFAULTS): Limits {
  const { waitFor, startWithin, deadline, retries, keepFor } = request;
  const backoffFirstMs = ms(retries?.backoff?.first, defaults.backoffFirstMs);
  return {
    ...defaults,
    waitForMs: ms(waitFor, defaults.waitForMs),
    startWithinMs: ms(startWithin, defaults.startWithinMs),
    deadlineMs: ms(deadline, defaults.deadlineMs),
    retriesMax: retries?.max ?? defaults.retriesMax,
    retriesOn: retries?.on ?? defaults.retriesOn,
    backoffFirstMs,
    backoffMostMs: Math.max(backoffFirstMs, ms(retries?.backoff?.most, defaults.backoffMostMs)),
    keepSucceededMs: ms(keepFor?.succeeded, defaults.keepSucceededMs),
    keepFailedMs: ms(keepFor?.failed, defaults.keepFailedMs),
  };
}

const ms = (duration: string | undefined, otherwise: number): number =>
  (duration === undefined ? undefined : durationMs(duration)) ?? otherwise;

/**
 * A bound on one piece of waiting, by the clock that was handed in.
 *
 * The bug this prevents: a cluster that accepts a connection and then says nothing holds a loop for ever. Outer signals
 * live as long as the program, so each bound takes its listener off again.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { linked } from "@longshore/runtime/loop.ts";

/** Why the inner signal was aborted, where it was our bound that did it and nobody asked us to stop. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
  constructor(ms: number) {
    super(`It was given up after ${ms} ms.`);
  }
}

/** Whether this came of a bound: then the cluster was silent, and it may be blamed for it. */
export function timedOut(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason instanceof TimedOut;
}

/** Runs the work with a signal that also aborts after `ms`. The work must heed its signal: it is not raced. */
export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = linked(signal);
  const callOff = clock.alarm(ms, () => inner.abort(new TimedOut(ms)));
  try {
    return await work(inner.signal);
  } finally {
    callOff();
    inner.release();
  }
}

/** Anything thrown by a transport as a Failure: what is none is a bug and goes on as it is. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  throw error;
}

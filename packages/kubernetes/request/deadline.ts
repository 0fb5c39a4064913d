/**
 * A time bound on one piece of waiting, by the clock that the caller passes.
 *
 * The bug this prevents: a cluster that accepts a connection and then says nothing blocks a loop for ever. Outer signals live
 * as long as the program, so each bound removes its listener again.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { linked } from "@longshore/runtime/loop.ts";

/** The reason of the inner signal's abort if our bound aborted it and nobody asked us to stop. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
  constructor(ms: number) {
    super(`It was given up after ${ms} ms.`);
  }
}

/** True if a bound aborted the signal: then the cluster was silent, and the cluster may be blamed. */
export function timedOut(signal: AbortSignal): boolean {
  return signal.aborted && signal.reason instanceof TimedOut;
}

/**
 * Runs the work with a signal that also aborts after `ms`. The work must obey its signal, because this function waits for the
 * work to end.
 */
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

/** Returns an error of a transport as a Failure. Any other error is a bug and is thrown on unchanged. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  throw error;
}

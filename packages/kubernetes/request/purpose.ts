/**
 * The purposes of requests to a cluster: the line in which each waits for its turn, whose fault its silence is, and how long it
 * may take. `sendInTime` ends a request at that time.
 *
 * The bugs this prevents: a purpose that is guessed from a path, so that a new path is treated wrongly; time limits in five
 * files, an inner one longer than the outer; and a cluster that accepts a connection, says nothing, and blocks a loop for ever.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { linked } from "@longshore/runtime/loop.ts";
import type { ApiAnswer, ApiRequest, ApiStream } from "../transport.ts";
import { CLAIM_BUDGET } from "./claim-budget.ts";

interface Treatment {
  /**
   * "behind": in the cluster's line, but others pass, so that the next step of a run begins before the last one is tidied up.
   * "nodes": for requests that the API server passes to a node, so that nodes that do not answer delay nothing else. "none": the
   * request must not wait behind those that make the cluster slow.
   */
  readonly line: "cluster" | "behind" | "nodes" | "none";
  /** "node": the request's silence and 5xx may be one node's fault, and say nothing of the cluster. */
  readonly blames: "cluster" | "node";
  /** Counted from the caller's call, so the wait for the turn is included. For a watch: until it is open. */
  readonly withinMs: number;
}

// biome-ignore format: a table is read down its columns
export const PURPOSES = {
  /** Creates a Job: an attempt's, or the occupant of an attempt's name. */
  create:  { line: "cluster", blames: "cluster", withinMs: CLAIM_BUDGET.postMs },
  /** Creates what owns a run's volumes, or a volume. No pace counts these: the create of the Job follows them. */
  own:     { line: "cluster", blames: "cluster", withinMs: CLAIM_BUDGET.postMs },
  /** Takes our finalizer off, or puts it back. */
  release: { line: "behind",  blames: "cluster", withinMs: 15_000 },
  delete:  { line: "cluster", blames: "cluster", withinMs: 15_000 },
  /** Reads one object. 15 s like a write: the 10 s that a slow API server may take, and the wait for the turn. */
  read:    { line: "cluster", blames: "cluster", withinMs: 15_000 },
  /** Reads one page, which may be 16 MB. */
  list:    { line: "cluster", blames: "cluster", withinMs: 20_000 },
  /** Asks whether the cluster is well, and still the same one. */
  probe:   { line: "none",    blames: "cluster", withinMs: 15_000 },
  /** Reads the end of a container's log. The fact of the Job's end waits for this request. */
  log:     { line: "nodes",   blames: "node",    withinMs: 5_000 },
  /** Opens a watch: the API server may have to fill its cache first. An open watch takes no place in a line. */
  watch:   { line: "none",    blames: "cluster", withinMs: 30_000 },
  /** The requests of `doctor`, for which a person waits: versions, permissions, a Job as a dry run. */
  inquire: { line: "cluster", blames: "cluster", withinMs: 10_000 },
} as const satisfies Record<string, Treatment>;

export type Purpose = keyof typeof PURPOSES;

export interface ClusterRequest extends ApiRequest {
  readonly purpose: Purpose;
}

/** A transport that is told the purpose of each request: the guard of one cluster. A bare `Transport` ignores the purpose. */
export interface Channel {
  send(request: ClusterRequest, signal: AbortSignal): Promise<ApiAnswer>;
  open(request: ClusterRequest, signal: AbortSignal): Promise<ApiStream>;
}

export interface Sending {
  readonly transport: Pick<Channel, "send">;
  readonly clock: Clock;
}

/** Throws `Failure` if no answer came. */
export function sendInTime({ transport, clock }: Sending, request: ClusterRequest, signal: AbortSignal): Promise<ApiAnswer> {
  return within(clock, PURPOSES[request.purpose].withinMs, signal, (inner) => transport.send(request, inner));
}

/** "unsent": the request cannot have arrived. "unanswered": it may have arrived, or may still arrive. */
export interface Silent {
  readonly kind: "unsent" | "unanswered";
  readonly failure: Failure;
}

export type Told = { readonly kind: "told"; readonly answer: ApiAnswer } | Silent;

/** Sends like `sendInTime`. If no answer came, returns the reason instead of throwing it. */
export async function ask(sending: Sending, request: ClusterRequest, signal: AbortSignal): Promise<Told> {
  try {
    return { kind: "told", answer: await sendInTime(sending, request, signal) };
  } catch (error) {
    return silent(asFailure(error));
  }
}

export const silent = (failure: Failure): Silent => ({ kind: failure.code === "unsent" ? "unsent" : "unanswered", failure });

/** Returns an error of a transport. Any other error is a bug and is thrown on. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  throw error;
}

class TimedOut extends Error {
  override readonly name = "TimedOut";
}

/** True if a time limit aborted the signal, and nobody asked us to stop: then the cluster was silent, and may be blamed. */
export const timedOut = (signal: AbortSignal): boolean => signal.aborted && signal.reason instanceof TimedOut;

/** Runs the work with a signal that also aborts after `ms`, and waits for the work to end: it must obey its signal. */
export async function within<T>(
  clock: Clock,
  ms: number,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const inner = linked(signal);
  const callOff = clock.alarm(ms, () => inner.abort(new TimedOut(`It was given up after ${ms} ms.`)));
  try {
    return await work(inner.signal);
  } finally {
    callOff();
    inner.release();
  }
}

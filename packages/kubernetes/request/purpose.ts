/**
 * The purposes of requests to a cluster, and how each is treated: the line in which it waits, whose fault its silence is, how
 * long it may take.
 *
 * The bugs this prevents: a purpose that is guessed from a path, so that a new path is treated as something else; and a bound
 * on a request that stands in five files, one of which is longer than the one around it.
 */
import { CLAIM_BUDGET } from "./claim-budget.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { within } from "./deadline.ts";
import type { ApiAnswer, ApiRequest, ApiStream } from "../transport.ts";

export interface Treatment {
  /**
   * The line in which the request waits for its turn. "nodes": for requests that the API server passes to a node, so that nodes
   * that do not answer delay nothing else. "none": the request must not wait behind those that make the cluster slow.
   */
  readonly line: "cluster" | "nodes" | "none";
  /** "node": the request's silence and 5xx may be one node's fault, and say nothing of the cluster. */
  readonly blames: "cluster" | "node";
  /** Counted from the caller's call, so the wait for the turn is included. For a watch: until it is open. */
  readonly withinMs: number;
}

// biome-ignore format: a table is read down its columns
export const PURPOSES = {
  /** A Job: an attempt's, or the occupant of its name. */
  create:  { line: "cluster", blames: "cluster", withinMs: CLAIM_BUDGET.postMs },
  /** Our finalizer, taken off or put back. */
  release: { line: "cluster", blames: "cluster", withinMs: 15_000 },
  delete:  { line: "cluster", blames: "cluster", withinMs: 15_000 },
  /** One object. 15 s like a write: the 10 s that a slow API server may take, and the wait for the turn. */
  read:    { line: "cluster", blames: "cluster", withinMs: 15_000 },
  /** One page, which may be 16 MB. */
  list:    { line: "cluster", blames: "cluster", withinMs: 20_000 },
  /** Is the cluster well, and is it still the same one? */
  probe:   { line: "none",    blames: "cluster", withinMs: 15_000 },
  /** The end of a container's log. The fact of the Job's end waits for this request. */
  log:     { line: "nodes",   blames: "node",    withinMs: 5_000 },
  /**
   * Opening a watch costs the API server more than a read: it may have to fill its cache first. An open watch takes no place in
   * a line.
   */
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

/** Sends a request with the time bound of its purpose. */
export function sendInTime({ transport, clock }: Sending, request: ClusterRequest, signal: AbortSignal): Promise<ApiAnswer> {
  return within(clock, PURPOSES[request.purpose].withinMs, signal, (inner) => transport.send(request, inner));
}

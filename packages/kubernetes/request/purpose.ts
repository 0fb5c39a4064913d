/**
 * What a request to a cluster is for, and how it is treated for that: whom it waits for, whose fault its silence is, how long it may take.
 *
 * The bugs this prevents: a purpose that is guessed from a path, so that a new path is treated as something else; and a bound on a
 * request that stands in five files, one of which is longer than the one around it.
 */
import { CREATE_BUDGET } from "./create-budget.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { within } from "./deadline.ts";
import type { ApiAnswer, ApiRequest, ApiStream } from "../transport.ts";

export interface Treatment {
  /**
   * The line in which it waits for its turn. "nodes": of what the API server asks a node for, so that nodes that hang keep nothing
   * else waiting. "none": it must not wait behind what makes the cluster slow.
   */
  readonly line: "cluster" | "nodes" | "none";
  /** "node": its silence and its 5xx may be one node's, and say nothing of the cluster. */
  readonly blames: "cluster" | "node";
  /** From the moment that it is asked for, its turn included. For a watch: until it is open. */
  readonly withinMs: number;
}

// biome-ignore format: a table is read down its columns
export const PURPOSES = {
  /** A Job: an attempt's, or the occupant of its name. */
  create:  { line: "cluster", blames: "cluster", withinMs: CREATE_BUDGET.postMs },
  /** Our finalizer, taken off or put back. */
  release: { line: "cluster", blames: "cluster", withinMs: 15_000 },
  delete:  { line: "cluster", blames: "cluster", withinMs: 15_000 },
  /** One object. 15 s like a write: the 10 s that a slow API server may take, and its turn. */
  read:    { line: "cluster", blames: "cluster", withinMs: 15_000 },
  /** One page, which may be 16 MB. */
  list:    { line: "cluster", blames: "cluster", withinMs: 20_000 },
  /** Is the cluster well, and is it still the same one? */
  probe:   { line: "none",    blames: "cluster", withinMs: 15_000 },
  /** The end of a container's log. The fact of the Job's end waits for it. */
  log:     { line: "nodes",   blames: "node",    withinMs: 5_000 },
  /** Opening costs the API server more than a read: it may have to fill its cache first. An open watch takes no place in a line. */
  watch:   { line: "none",    blames: "cluster", withinMs: 30_000 },
  /** What `doctor` asks while a person waits: versions, permissions, a Job as a dry run. */
  inquire: { line: "cluster", blames: "cluster", withinMs: 10_000 },
} as const satisfies Record<string, Treatment>;

export type Purpose = keyof typeof PURPOSES;

export interface ClusterRequest extends ApiRequest {
  readonly purpose: Purpose;
}

/** A transport that is told what each request is for: the guard of one cluster. A bare `Transport` is one that does not care. */
export interface Channel {
  send(request: ClusterRequest, signal: AbortSignal): Promise<ApiAnswer>;
  open(request: ClusterRequest, signal: AbortSignal): Promise<ApiStream>;
}

export interface Sending {
  readonly transport: Pick<Channel, "send">;
  readonly clock: Clock;
}

/** Sends it with the bound of its purpose. */
export function sendInTime({ transport, clock }: Sending, request: ClusterRequest, signal: AbortSignal): Promise<ApiAnswer> {
  return within(clock, PURPOSES[request.purpose].withinMs, signal, (inner) => transport.send(request, inner));
}

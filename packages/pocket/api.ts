/**
 * The two ports of the pocket: how a request comes in, and how a pod runs.
 *
 * The first has the same shape as the transport of Longshore's own cluster code. It is declared here again, so that the pocket
 * does not depend on that code. A type test in packages/kubernetes/pocket-conformance.test.ts keeps the two the same.
 */
import type { ApiObject, PodObject, Resource } from "./objects.ts";

export interface ApiRequest {
  readonly method: "GET" | "POST" | "PATCH" | "DELETE";
  /** With the query: "/apis/batch/v1/namespaces/batch/jobs?limit=500". */
  readonly path: string;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
}

export interface ApiAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

export interface ApiStream {
  readonly status: number;
  readonly body: unknown;
  readonly lines: AsyncIterable<string>;
}

export interface Transport extends AsyncDisposable {
  send(request: ApiRequest, signal: AbortSignal): Promise<ApiAnswer>;
  open(request: ApiRequest, signal: AbortSignal): Promise<ApiStream>;
}

/** The user of a request. Without `namespaces` everything is allowed; with it only these namespaces, as under a Role. */
export interface User {
  readonly user: string;
  readonly namespaces?: readonly string[];
}

/** Runs pods: as real processes, by a script, or not at all (`instantPods`). */
export interface Kubelet {
  /** Reports each change of the pod, at once or later, until the pod is forgotten. */
  start(pod: PodObject, report: (report: PodReport) => void, look: Look): PodRun;
  /** A claim is gone: the files of its volume go, too. */
  discard?(claimUid: string): void;
  /** Ends what an earlier kubelet left of pods that are not among these, and begins to remove it. Called before the first start. */
  retain?(pods: readonly PodObject[]): void;
}

/** Reads another object of the pod's namespace, as a kubelet reads Secrets and ConfigMaps. */
export type Look = (resource: Resource, name: string) => ApiObject | undefined;

export interface PodRun {
  /** Sends SIGTERM, then SIGKILL after the grace. A later call can only shorten the grace. */
  stop(graceSeconds: number): void;
  /** The pod's object is gone: running processes end now, and its logs are removed. */
  forget(): void;
  /** The container's output so far; `undefined` before it has started. */
  log(container: string): string | undefined;
  /**
   * Calls back with each line, from the first, until the container ends (`undefined`). Returns a function that stops the calls;
   * `undefined` before the container has started.
   */
  followLog(container: string, line: (text: string | undefined) => void): (() => void) | undefined;
}

export type PodReport =
  | { readonly kind: "unschedulable"; readonly message: string }
  | {
      readonly kind: "placed";
      readonly node: string;
      readonly containers: readonly ContainerReport[];
      /** Given if the node ended the pod: then the pod fails, whatever its containers say. */
      readonly ended?: PodEnd;
    };

/** Why a node ended a pod, as it is written into the pod's status. */
export interface PodEnd {
  readonly reason: string;
  readonly message: string;
}

export interface ContainerReport {
  readonly name: string;
  readonly init?: boolean;
  readonly state: ContainerState;
}

export type ContainerState =
  | { readonly kind: "waiting"; readonly reason: string; readonly message?: string }
  | { readonly kind: "running"; readonly startedAtMs: number }
  | {
      readonly kind: "terminated";
      readonly exitCode: number;
      readonly signal?: number;
      readonly reason: string;
      readonly message?: string;
      /** Absent if the container never started, because its pod was removed before. */
      readonly startedAtMs?: number;
      readonly finishedAtMs?: number;
    };

/** A kubelet's report of a container whose pod was removed before it started: an end without a beginning. */
export const NEVER_STARTED: ContainerState = {
  kind: "terminated",
  exitCode: 137,
  reason: "ContainerStatusUnknown",
  message: "The container could not be located when the pod was terminated",
};

/**
 * The behaviour of simulated pods. A pod starts, runs as long as its Job's annotations say, and ends with the exit code that they
 * say. Without annotations it succeeds at once. A pod that no Job owns runs until it is deleted.
 *
 * The failure this prevents: tests of a cancel, a deletion or a failure that only a real node could run.
 */
import { durationMs } from "@longshore/contract/units.ts";

/** Annotations of a run, which its pods carry. */
const RUNS_FOR = "pods.example.org/runs-for"; // "30s"
const EXIT_CODE = "pods.example.org/exit-code"; // "3"

export const annotated = ({ runsFor, exitCode = 0 }: { readonly runsFor?: string; readonly exitCode?: number }) => ({
  annotations: { ...(runsFor !== undefined && { [RUNS_FOR]: runsFor }), [EXIT_CODE]: String(exitCode) },
});

export interface SimulatedPod {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly finalizers?: readonly string[];
    readonly annotations?: Readonly<Record<string, string>>;
    readonly ownerReferences?: readonly { readonly kind: string }[];
  };
  readonly spec: { readonly containers: readonly { readonly name: string; readonly image: string }[] };
  readonly status: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly containerStatuses?: readonly { readonly state?: { readonly running?: { readonly startedAt: string } } }[];
  };
}

/** What the kubelet has to do for a pod next. */
export type Next = "nothing" | "start" | "remove" | { readonly endInMs: number };

export function nextOf({ metadata, status }: SimulatedPod): Next {
  if (metadata.deletionTimestamp !== undefined) return "remove";
  if (status.podIP === undefined) return "start";
  const isOfJob = metadata.ownerReferences?.some(({ kind }) => kind === "Job") === true;
  if (status.phase !== "Running" || !isOfJob) return "nothing";
  return { endInMs: durationMs(metadata.annotations?.[RUNS_FOR] ?? "") ?? 0 };
}

/** Kubernetes writes times without fractions of a second. */
const timeText = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export function runningStatus({ spec }: SimulatedPod, podIP: string, nowMs: number): object {
  const now = timeText(nowMs);
  return {
    phase: "Running",
    startTime: now,
    hostIP: "10.0.0.1",
    podIP,
    podIPs: [{ ip: podIP }],
    conditions: ["PodScheduled", "Initialized", "Ready", "ContainersReady"].map((type) => ({
      ...{ type, status: "True", lastTransitionTime: now },
    })),
    containerStatuses: spec.containers.map(({ name, image }) => ({
      ...{ name, image, imageID: "", ready: true, started: true, restartCount: 0 },
      state: { running: { startedAt: now } },
    })),
  };
}

export function endedStatus({ metadata, spec, status }: SimulatedPod, nowMs: number): object {
  const exitCode = Number(metadata.annotations?.[EXIT_CODE] ?? "0");
  const now = timeText(nowMs);
  const ended = (at: number) => ({
    exitCode,
    reason: exitCode === 0 ? "Completed" : "Error",
    startedAt: status.containerStatuses?.[at]?.state?.running?.startedAt ?? now,
    finishedAt: now,
  });
  return {
    phase: exitCode === 0 ? "Succeeded" : "Failed",
    containerStatuses: spec.containers.map(({ name, image }, at) => ({
      ...{ name, image, imageID: "", ready: false, started: false, restartCount: 0 },
      state: { terminated: ended(at) },
    })),
  };
}

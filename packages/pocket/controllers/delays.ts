/** The time that each part of the cluster takes: one number, or a range from which the clock's chance picks. */
import type { Clock } from "@longshore/runtime/clock.ts";

export type Delay = number | readonly [from: number, to: number];

export interface Delays {
  /** A request on its way in, or its answer on its way back. */
  readonly requestMs: Delay;
  readonly answerMs: Delay;
  /** How late a watch tells each change. */
  readonly watchMs: Delay;
  /** From a change to the Job controller's next step; about a second on a real cluster. */
  readonly jobMs: Delay;
  /** Garbage collector, TTL and namespace controllers. */
  readonly collectorMs: Delay;
  /** From a pod's creation to the kubelet's first look at it. */
  readonly scheduleMs: Delay;
  /** From a pod's deletion to the kubelet's first act on it. */
  readonly noticeMs: Delay;
  /** From the deletion of a pod that no node has to the collector's look at it. */
  readonly podCollectorMs: Delay;
  /** From the last container's end to the pod's final phase. */
  readonly phaseMs: Delay;
}

export const POCKET_DELAYS: Delays = {
  requestMs: 0,
  answerMs: 0,
  watchMs: 0,
  jobMs: 10,
  collectorMs: 10,
  scheduleMs: 1,
  noticeMs: 100,
  podCollectorMs: 100,
  phaseMs: 5,
};

/** As measured on a real control plane and kubelet. */
export const REAL_DELAYS: Delays = {
  requestMs: [1, 20],
  answerMs: [1, 20],
  watchMs: [1, 50],
  jobMs: [100, 1_100],
  collectorMs: [20, 250],
  scheduleMs: [50, 1_000],
  noticeMs: [20, 500],
  podCollectorMs: [0, 20_000],
  phaseMs: [500, 1_000],
};

export function pick(delay: Delay, clock: Clock): number {
  if (typeof delay === "number") return delay;
  return delay[0] + Math.floor(clock.random() * (delay[1] - delay[0] + 1));
}

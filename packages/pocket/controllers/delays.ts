/** The time that each part of the cluster takes: one number, or a range from which the clock's chance picks. */
import type { Clock } from "@longshore/runtime/clock.ts";

export type Delay = number | readonly [from: number, to: number];

export interface Delays {
  /** The delay of each change on a watch. */
  readonly watchMs: Delay;
  /** From a change to the Job controller's next step; about a second on a real cluster. */
  readonly jobMs: Delay;
  /** Garbage collector, TTL and namespace controllers. */
  readonly collectorMs: Delay;
  /** From a pod's creation to the kubelet's first look at it. */
  readonly scheduleMs: Delay;
  /** From a pod's deletion to the kubelet's first act on it. */
  readonly noticeMs: Delay;
  /** From a pod's deletion to the collector's look at it, if no node has the pod. */
  readonly podCollectorMs: Delay;
  /** From the last container's end to the pod's final phase. */
  readonly phaseMs: Delay;
}

export const POCKET_DELAYS: Delays = {
  watchMs: 0,
  jobMs: 10,
  collectorMs: 10,
  scheduleMs: 1,
  noticeMs: 100,
  podCollectorMs: 100,
  phaseMs: 5,
};

export function pick(delay: Delay, clock: Clock): number {
  if (typeof delay === "number") return delay;
  return delay[0] + Math.floor(clock.random() * (delay[1] - delay[0] + 1));
}

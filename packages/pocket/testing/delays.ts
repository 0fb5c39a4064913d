/** The delays of a model: those of its cluster, and those of the network before it. */
import { type Delay, type Delays, POCKET_DELAYS } from "../controllers/delays.ts";

export interface ModelDelays extends Delays {
  /** A request on its way in, or its answer on its way back. */
  readonly requestMs: Delay;
  readonly answerMs: Delay;
}

export const LEAST_DELAYS: ModelDelays = { ...POCKET_DELAYS, requestMs: 0, answerMs: 0 };

/** As measured on a real control plane and kubelet. */
export const REAL_DELAYS: ModelDelays = {
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

/** How long a claim and each lease last, and how often each loop looks. The setting `pace` changes them. */
import { CLAIM_BUDGET } from "@longshore/kubernetes/request/claim-budget.ts";

export interface Timing {
  /** The longest time from claiming an attempt to recording its answer: see claim-budget.ts. */
  readonly claimMs: number;
  /** How long an item that was taken from the ledger is ours to act on. */
  readonly workLeaseMs: number;
  /** Without hints, `wake` polls this often (one poll for all loops of groups), and so do the loops that belong to no group. */
  readonly pollMs: number;
  /** How often each loop of a group looks for work by itself, even without a hint. */
  readonly lookMs: number;
  /** The time until a run that found no room is placed again, unless a slot is freed before. */
  readonly placeAgainMs: number;
  readonly probeMs: number;
  readonly tallyMs: number;
  readonly partitionLeaseMs: number;
}

export const TIMING: Timing = {
  claimMs: CLAIM_BUDGET.claimMs,
  workLeaseMs: 15_000,
  pollMs: 1_000,
  lookMs: 15_000,
  placeAgainMs: 5_000,
  probeMs: 10_000,
  tallyMs: 120_000,
  partitionLeaseMs: 10_000,
};

/** The time between announcements of the groups that nobody asked for. */
export const ANNOUNCE_MS = 30_000;

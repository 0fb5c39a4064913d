/**
 * What really happened in a scenario, written down by the world and not by the programs under test: each Job's and pod's life,
 * each create on the wire, each claim.
 *
 * The bug this prevents: a check that asks the launcher whether the launcher was right.
 */
import type { Job } from "../../judge/view.ts";

/** One Job object of one cluster, from its creation to its end. */
export interface JobLife extends Pick<Job, "uid" | "name" | "occupant" | "createdMs"> {
  readonly cluster: string;
  /** Made by somebody else: without our proof, or a copy of one of ours. */
  readonly origin: "ours" | "theirs" | "copied";
  /** The content that upstream asked for. */
  readonly content: string | undefined;
  completeMs?: number;
  failedMs?: number;
  deletedMs?: number;
  goneMs?: number;
  /** Created without a hold, as its group wants it. */
  readonly unheld: boolean;
  /** Since when the hold is not on it; without one, since its outcome is recorded. */
  unheldMs?: number;
  /** Somebody else asked for its deletion, or took its hold. */
  othersDeletedMs?: number;
  strippedMs?: number;
}

/** A pod whose containers ran. */
export interface PodLife {
  readonly cluster: string;
  readonly job: string;
  readonly jobName: string;
  readonly uid: string;
  readonly startedMs: number;
  endedMs?: number;
  exitCode?: number;
}

export interface Post {
  readonly cluster: string;
  /** It can run nothing, whenever it lands. */
  readonly occupant: boolean;
  readonly name: string;
  readonly by: string;
  readonly sentMs: number;
  landedMs?: number;
  status?: number;
}

export interface Claim {
  readonly name: string;
  readonly by: string;
  readonly atMs: number;
  readonly untilMs: number;
}

/** A launcher told the ledger that a group is not what the ledger has. */
export interface Turn {
  readonly group: string;
  readonly by: string;
  readonly atMs: number;
  readonly health: string;
}

export interface History {
  readonly jobs: Map<string, JobLife>;
  readonly pods: Map<string, PodLife>;
  readonly posts: Map<string, Post>;
  readonly claims: Claim[];
  /** Jobs that a launcher of ours created in a cluster that is not its group's. */
  readonly astray: string[];
  readonly turns: Turn[];
  /** Programs that ended by themselves: a bug, each of them. */
  readonly falls: string[];
}

export const emptyHistory = (): History => ({
  jobs: new Map(),
  pods: new Map(),
  posts: new Map(),
  claims: [],
  astray: [],
  turns: [],
  falls: [],
});

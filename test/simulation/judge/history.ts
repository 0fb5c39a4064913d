/**
 * The history of a scenario, written by the world and not by the programs under test: each Job's and pod's life, each create
 * that was sent, each claim.
 *
 * The bug this prevents: a check that asks the launcher whether the launcher was right.
 */
import type { Job } from "../../judge/view.ts";

/** One Job object of one cluster, from its creation to its end. */
export interface JobLife extends Pick<Job, "uid" | "name" | "occupant" | "createdMs"> {
  readonly cluster: string;
  /** "theirs": somebody else made it, without our proof. "copied": somebody else copied one of ours. */
  readonly origin: "ours" | "theirs" | "copied";
  /** The anchor that owns it, and the names of the claims that its pods mount. */
  readonly owner: string | undefined;
  readonly claims: readonly string[];
  /** The content that upstream asked for. */
  readonly content: string | undefined;
  /** The first argument, as the kubelet gives it to the program. */
  readonly said: string | undefined;
  completeMs?: number;
  failedMs?: number;
  deletedMs?: number;
  goneMs?: number;
  /** Created without a hold, as its group wants it. */
  readonly unheld: boolean;
  /** When the hold was taken off. For a Job without a hold: when its outcome was recorded. */
  unheldMs?: number;
  /** When somebody else asked for its deletion; `strippedMs`: when somebody else took its hold off. */
  othersDeletedMs?: number;
  strippedMs?: number;
}

/** A pod whose containers ran. */
export interface PodLife {
  readonly cluster: string;
  readonly job: string;
  readonly jobName: string;
  readonly uid: string;
  readonly claims: readonly string[];
  readonly generation: number;
  readonly startedMs: number;
  endedMs?: number;
  exitCode?: number;
}

export interface Post {
  readonly cluster: string;
  /** True for the create of an occupant, which can run nothing whenever it lands. */
  readonly occupant: boolean;
  readonly resource: string;
  readonly name: string;
  readonly by: string;
  readonly sentMs: number;
  landedMs?: number;
  status?: number;
}

/** A run's anchor, or a claim of one of its volumes, its Secret, or a large file. */
export interface Owned {
  readonly cluster: string;
  readonly resource: "configmaps" | "persistentvolumeclaims" | "secrets";
  readonly name: string;
  readonly uid: string;
  /** The anchor that owns it. */
  readonly owner: string | undefined;
  readonly createdMs: number;
  deletedMs?: number;
  goneMs?: number;
}

/** A pod that a step's program made. */
export interface Child {
  readonly name: string;
  /** The pod of the program. */
  readonly parent: string;
  readonly run: string;
  readonly step: string;
  readonly attempt: number;
  readonly createdMs: number;
  goneMs?: number;
}

export interface Claim {
  readonly name: string;
  readonly by: string;
  readonly atMs: number;
  readonly untilMs: number;
}

/** A change of a group's health that a launcher told the ledger. */
export interface Turn {
  readonly group: string;
  readonly by: string;
  readonly atMs: number;
  readonly health: string;
}

export interface History {
  readonly jobs: Map<string, JobLife>;
  readonly pods: Map<string, PodLife>;
  readonly owned: Map<string, Owned>;
  readonly children: Child[];
  readonly posts: Map<string, Post>;
  readonly claims: Claim[];
  /** Jobs that a launcher of ours created in a cluster that is not its group's. */
  readonly astray: string[];
  readonly turns: Turn[];
  /** Slots that were given past a more urgent run that waited for them. */
  readonly passedOver: string[];
  /** The generations of runs that were let in by their concurrency key, and those that were let in before their turn. */
  readonly letIn: Set<string>;
  readonly outOfTurn: string[];
  /** Programs that ended by themselves. Each is a bug. */
  readonly falls: string[];
}

export const emptyHistory = (): History => ({
  jobs: new Map(),
  pods: new Map(),
  owned: new Map(),
  children: [],
  posts: new Map(),
  claims: [],
  astray: [],
  turns: [],
  passedOver: [],
  letIn: new Set(),
  outOfTurn: [],
  falls: [],
});

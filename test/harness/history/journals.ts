/**
 * The five journals of one installation as values, and the questions that every check of them asks.
 *
 * The failure this prevents: checks that each read a journal in their own way, so that one of them overlooks what another sees.
 */
import type { Attempt, Command, Job, Pod, Run, Told } from "../../judge/view.ts";
import type { Asked } from "../site.ts";

/** A command that the test published. Repeats of it are here too. */
export interface Sent extends Omit<Command, "is" | "mayBe"> {
  readonly source: string;
}

/** A message as it passed an exchange. */
export interface Passed {
  readonly through: "commands" | "facts" | "events" | "quarantine";
  readonly text: string;
  readonly id: string;
  /** The type without the prefix; "" if the text is no message of ours. */
  readonly type: string;
  readonly run: string | undefined;
  readonly sequence: number | undefined;
  readonly generation: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface AttemptRow extends Omit<Attempt, "closing" | "lifted" | "besideMs"> {
  readonly group: string | undefined;
}

export interface LedgerRows {
  readonly runs: readonly Run[];
  readonly attempts: readonly AttemptRow[];
  readonly events: readonly Told[];
  readonly commands: readonly { readonly id: string; readonly source: string }[];
  /** The ids of the commands that were refused. */
  readonly refused: readonly string[];
}

/**
 * One Job over its whole life, as the test's own watch saw it. A watch learns of changes late, so the times only say that
 * something happened (SOMETIME).
 */
export interface JobLife extends Omit<Job, "ours" | "othersDeletedMs" | "releasedMs" | "bindsMs"> {
  /** True if the Job was seen without our hold before it ended or was being deleted: somebody took the hold off. */
  readonly stripped: boolean;
}

/** Times of starts and ends are the containers' own. */
export interface PodLife extends Omit<Pod, "overMs"> {
  readonly uid: string;
  readonly finishedMs: number | undefined;
  readonly goneMs: number | undefined;
}

export interface ClusterHistory {
  readonly group: string;
  /** The launcher's user in the audit log; "" if the cluster does not say who asked. */
  readonly launcher: string;
  readonly asked: readonly Asked[];
  readonly jobs: readonly JobLife[];
  readonly pods: readonly PodLife[];
  /** True if the cluster was put back to an earlier moment. GUARANTEES.md says which promises are weaker then. */
  readonly restored: boolean;
}

export interface History {
  readonly sent: readonly Sent[];
  readonly passed: readonly Passed[];
  /** False for a broker that shows only events to a listener. */
  readonly factsPassed: boolean;
  readonly ledger: LedgerRows;
  readonly clusters: readonly ClusterHistory[];
}

/** Returns the Jobs under the attempt's name in its group's cluster. */
export function jobsOf(history: History, { group, name }: AttemptRow): readonly JobLife[] {
  const cluster = history.clusters.find((it) => it.group === group);
  return cluster?.jobs.filter((it) => it.name === name) ?? [];
}

export function podsOf(history: History, uid: string): readonly PodLife[] {
  return history.clusters.flatMap(({ pods }) => pods.filter((it) => it.job === uid));
}

export const isMade = ({ verb, resource, status }: Asked): boolean => verb === "create" && resource === "jobs" && status === 201;
export const isOurs = ({ launcher }: ClusterHistory, user: string): boolean => launcher === "" || user === launcher;

/** True if somebody else created a Job of this name, such as a copy or one from a backup: its pods are not our doing. */
export const isByOthers = ({ clusters }: History, name: string): boolean =>
  clusters.some((cluster) => cluster.asked.some((it) => isMade(it) && it.name === name && !isOurs(cluster, it.user)));

/**
 * The five journals of one installation as values, and the questions that every check of them asks.
 *
 * The failure this prevents: checks that each read a journal in their own way, so that one of them overlooks what another sees.
 */
import type { Asked } from "../site.ts";

/** A command that the test published. Repeats of it are here too. */
export interface Sent {
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly run: string;
  /** Canonical: two with the same text ask for the same. */
  readonly content: string;
  readonly confirmed: boolean;
}

/** A message as it passed an exchange. */
export interface Passed {
  readonly through: "commands" | "facts" | "events" | "quarantine";
  readonly text: string;
  readonly id: string;
  /** Without the prefix; "" where the text is none of ours. */
  readonly type: string;
  readonly run: string | undefined;
  readonly sequence: number | undefined;
  readonly generation: number | undefined;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface RunRow {
  readonly id: string;
  readonly state: string;
  readonly outcome: string | undefined;
  readonly generation: number;
  readonly seq: number;
  readonly simple: boolean;
  /** As its last generation has it. */
  readonly deadlineMs: number | undefined;
}

export interface AttemptRow {
  readonly run: string;
  readonly step: string;
  readonly n: number;
  readonly name: string;
  readonly group: string | undefined;
  readonly state: string;
  readonly uid: string | undefined;
  readonly result: string | undefined;
  readonly code: string | undefined;
  readonly cause: string | undefined;
  /** Its create may still land: its name stays taken. */
  readonly open: boolean;
}

export interface EventRow {
  readonly run: string;
  readonly sequence: number;
  readonly generation: number;
  readonly type: string;
  readonly atMs: number;
  readonly data: Readonly<Record<string, unknown>>;
}

export interface LedgerRows {
  readonly runs: readonly RunRow[];
  readonly attempts: readonly AttemptRow[];
  readonly events: readonly EventRow[];
  readonly commands: readonly { readonly id: string; readonly source: string }[];
  /** Refusals: of which command. */
  readonly refused: readonly string[];
}

/** One Job over its whole life, as the test's own watch saw it. */
export interface JobLife {
  readonly uid: string;
  readonly name: string;
  readonly occupant: boolean;
  readonly createdMs: number;
  complete: boolean;
  failed: boolean;
  deleting: boolean;
  /** It had our hold at the last look. */
  held: boolean;
  /** It was seen without our hold while it had neither ended nor was being deleted: somebody took it off. */
  stripped: boolean;
  gone: boolean;
}

export interface PodLife {
  readonly uid: string;
  readonly name: string;
  readonly job: string;
  readonly createdMs: number;
  started: boolean;
  /** Of the first container that ran, by its own time. */
  startedMs: number | undefined;
  /** By its containers' own times, or when its end was seen. */
  finishedMs: number | undefined;
  exitCode: number | undefined;
  goneMs: number | undefined;
}

export interface ClusterHistory {
  readonly group: string;
  /** As the audit log names it; "" where the cluster does not say who asked. */
  readonly launcher: string;
  readonly asked: readonly Asked[];
  readonly jobs: readonly JobLife[];
  readonly pods: readonly PodLife[];
  /** Its memory was put back to an earlier moment: the promises say what is weaker then. */
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

export const ENDS: readonly string[] = ["run.succeeded", "run.failed", "run.cancelled", "run.lost"];

/** Where an attempt's Jobs are, and what is known of each. */
export function jobsOf(history: History, { group, name }: AttemptRow): readonly JobLife[] {
  const cluster = history.clusters.find((it) => it.group === group);
  return cluster?.jobs.filter((it) => it.name === name) ?? [];
}

export function podsOf(history: History, uid: string): readonly PodLife[] {
  return history.clusters.flatMap(({ pods }) => pods.filter((it) => it.job === uid));
}

export const isMade = ({ verb, resource, status }: Asked): boolean => verb === "create" && resource === "jobs" && status === 201;
export const isOurs = ({ launcher }: ClusterHistory, user: string): boolean => launcher === "" || user === launcher;

/** A copy, or one that came back from a backup: what it runs is not our doing. */
export const isByOthers = ({ clusters }: History, name: string): boolean =>
  clusters.some((cluster) => cluster.asked.some((it) => isMade(it) && it.name === name && !isOurs(cluster, it.user)));

export const at = (ms: number): string => new Date(ms).toISOString().slice(11, 23);

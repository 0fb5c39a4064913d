/** What the launcher's loops are given. In a process main.ts opens these; in the simulation they are models. */
import type { Broker } from "@longshore/broker/port.ts";
import type { Diagnosis } from "@longshore/contract/diagnosis.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import type { Limits } from "@longshore/domain/run/record.ts";
import type { Reads } from "@longshore/kubernetes/request/read.ts";
import type { Writes } from "@longshore/kubernetes/request/write.ts";
import type { WorkKind, Entry, GroupState, Intake, Admitted, Ledger, Recorded } from "@longshore/ledger/port.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Failpoint } from "@longshore/runtime/failpoint.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type WakeUp, wakeUp, type Pause } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { Keys } from "./keys.ts";

export const FAILPOINTS = ["afterCommit", "beforePost", "afterPost", "afterRecord", "afterPublish"] as const;
export type LauncherFailpoint = (typeof FAILPOINTS)[number];

/** One group's cluster, with the launch credential. */
export interface Cluster {
  readonly name: GroupName;
  readonly namespace: string;
  readonly reads: Reads;
  readonly writes: Writes;
  /** Creates are claimed no faster than this; the surplus waits in line, or goes elsewhere. */
  readonly createsPerSecond?: number | undefined;
}

/** What we know of a group besides its configuration. The probe finds it out; until then nothing is sent there. */
export interface GroupView {
  readonly namespaceUid: string | undefined;
  readonly healthy: boolean;
  readonly diagnosis: Diagnosis | undefined;
  /**
   * As the ledger has it, from another launcher or from before our start: enough to believe facts by. Nothing is created there by
   * it, nor declared missing: the namespace may have been made anew while no launcher ran.
   */
  readonly isUnverified?: true;
  /** Its namespace is being deleted, and we may still act there: see groups/evacuate.ts. */
  readonly isTerminating?: true;
  /** It answers another launcher and not us: what is to be created there is left to that one. */
  readonly isElsewhere?: true;
  /** When we last said, by our own clock, that we have it. */
  readonly servedMs?: number;
  /** It has too much to do: until then nothing is placed there by us, or each claim would be two writes for a create that is not sent. */
  readonly quiet?: { readonly untilMs: number; readonly why: string };
  /** It answers reads and refused our writes, so many times in a row: until then none is tried. */
  readonly refused?: { readonly times: number; readonly untilMs: number; readonly diagnosis: Diagnosis };
}

export interface Timing {
  /** How long a launcher may take between claiming an attempt and writing down what became of it. */
  readonly claimMs: number;
  /** How long an item taken from the ledger is ours to act on. */
  readonly workLeaseMs: number;
  /** Between looks at the ledger when nothing hints at work: of `wake`, for all loops of groups, and of the loops that belong to no group. */
  readonly pollMs: number;
  /** Between the looks that each loop of a group takes by itself, hint or no hint. */
  readonly lookMs: number;
  /** Until a run that found no room is placed again, if no slot is freed before. */
  readonly placeAgainMs: number;
  readonly probeMs: number;
  readonly tallyMs: number;
  readonly partitionLeaseMs: number;
  readonly createTimeoutMs: number;
}

export const TIMING: Timing = {
  claimMs: 20_000,
  workLeaseMs: 15_000,
  pollMs: 1_000,
  lookMs: 15_000,
  placeAgainMs: 5_000,
  probeMs: 10_000,
  tallyMs: 120_000,
  partitionLeaseMs: 10_000,
  createTimeoutMs: 12_000,
};

export interface Parts {
  readonly installation: Installation;
  /** This process, in claims and leases. */
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly ledger: Ledger;
  readonly broker: Broker;
  readonly clusters: ReadonlyMap<GroupName, Cluster>;
  readonly views: Map<GroupName, GroupView>;
  readonly keys: Keys;
  readonly defaults: Limits;
  readonly timing: Timing;
  /** By their broker users. "everyone": whoever reaches the broker could as well write into the ledger. */
  readonly operators: "everyone" | readonly string[];
  /** Deliveries worked on at the same time: also how large a batch of the ledger's can become. */
  readonly lanes: number;
  readonly fail: Failpoint<LauncherFailpoint>;
  readonly pause: Pause;
  /** Woken when the ledger says that there may be work of this kind. */
  readonly wakeUps: Readonly<Record<WorkKind, WakeUp>>;
  /** Batched: what is said while one transaction is in flight goes together into the next. */
  readonly admitting: (intake: Intake) => Promise<Admitted>;
  readonly recording: (entry: Entry) => Promise<Recorded>;
}

export const wakeUpsBy = (clock: Clock): Parts["wakeUps"] => ({
  waiting: wakeUp(clock),
  ready: wakeUp(clock),
  claimed: wakeUp(clock),
  live: wakeUp(clock),
  closing: wakeUp(clock),
  ended: wakeUp(clock),
  outbox: wakeUp(clock),
  strays: wakeUp(clock),
  notices: wakeUp(clock),
});

/** What is known of a group before we have asked it ourselves. */
export const unverifiedView = ({ namespaceUid, health, diagnosis }: GroupState): GroupView => ({
  namespaceUid,
  healthy: health === "healthy",
  diagnosis,
  isUnverified: true,
});

/** What launchers before us found out. The namespace's UID above all: without it no fact could be believed yet. */
export const viewsOf = (groups: readonly GroupState[]): Map<GroupName, GroupView> =>
  new Map(groups.map((it) => [it.name, unverifiedView(it)]));

export const isUnverified = ({ views }: Pick<Parts, "views">, group: GroupName): boolean =>
  views.get(group)?.isUnverified === true;

/** Whether what is to be created there may be claimed by us. */
export const mayClaim = ({ views }: Pick<Parts, "views">, group: GroupName): boolean =>
  views.get(group)?.isElsewhere !== true && !isUnverified({ views }, group);

/** The group's namespace UID, without which no proof can be made or checked. */
export const namespaceUidOf = ({ views }: Pick<Parts, "views">, group: GroupName): string | undefined =>
  views.get(group)?.namespaceUid;

/**
 * Between looks at one that is on its way out. Of a cluster that cannot be reached nothing is learned: a thousand cancelled runs
 * there would be a thousand writes every two seconds.
 */
export function againMs({ views, timing }: Pick<Parts, "views" | "timing">, group: GroupName): number {
  const view = views.get(group);
  const isAway = view?.healthy === false && view.refused === undefined && view.isTerminating !== true;
  return isAway ? Math.max(AGAIN_MS, timing.workLeaseMs) : AGAIN_MS;
}

const AGAIN_MS = 2_000;

/** Another cluster, or another namespace of this name, answers there now: nothing that it says is about our Jobs. */
export const isMoved = ({ views }: Pick<Parts, "views">, group: GroupName): boolean =>
  views.get(group)?.diagnosis?.code === "GroupMoved";

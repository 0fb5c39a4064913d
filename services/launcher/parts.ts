/** What the launcher's loops are given. In a process main.ts opens these; in the simulation they are models. */
import type { Broker } from "@longshore/broker/port.ts";
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import type { GroupView } from "@longshore/domain/group/view.ts";
import { CREATE_BUDGET } from "@longshore/kubernetes/request/create-budget.ts";
import type { Limits } from "@longshore/domain/run/record.ts";
import type { Pace } from "@longshore/kubernetes/request/pace.ts";
import type { Reads } from "@longshore/kubernetes/request/read.ts";
import type { Writes } from "@longshore/kubernetes/request/write.ts";
import { WORK_KINDS, type WorkKind } from "@longshore/domain/run/work-kinds.ts";
import type { Entry, Intake, Admitted, Ledger, Recorded } from "@longshore/ledger/port.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Failpoint } from "@longshore/runtime/failpoint.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type WakeUp, wakeUp, type Pause } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { Keys } from "./keys.ts";

export const FAILPOINTS = ["afterCommit", "beforePost", "afterPost", "afterRecord", "afterPublish"] as const;
export type LauncherFailpoint = (typeof FAILPOINTS)[number];

/** One group's cluster, with the launch credential. */
export interface Cluster extends ConfiguredGroup {
  readonly reads: Reads;
  readonly writes: Writes;
  /** Of a group with `createsPerSecond`: no more is claimed than can be created soon; the surplus waits in line, or goes elsewhere. */
  readonly pace?: Pace | undefined;
}

export interface Timing {
  /** How long a launcher may take between claiming an attempt and writing down what became of it: see create-budget.ts. */
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
}

export const TIMING: Timing = {
  claimMs: CREATE_BUDGET.claimMs,
  workLeaseMs: 15_000,
  pollMs: 1_000,
  lookMs: 15_000,
  placeAgainMs: 5_000,
  probeMs: 10_000,
  tallyMs: 120_000,
  partitionLeaseMs: 10_000,
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

export const wakeUpsBy = (clock: Clock): Parts["wakeUps"] =>
  Object.fromEntries(WORK_KINDS.map((kind) => [kind, wakeUp(clock)])) as Record<WorkKind, WakeUp>;

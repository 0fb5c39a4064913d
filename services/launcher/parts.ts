/** The parts that the launcher's loops are given. In a process main.ts opens them; in the simulation they are models. */
import type { Broker } from "@longshore/broker/port.ts";
import type { ConfiguredGroup } from "@longshore/contract/group-settings.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import type { GroupView } from "@longshore/domain/group/view.ts";
import { WORK_KINDS, type WorkKind } from "@longshore/domain/run/change.ts";
import type { Limits } from "@longshore/domain/run/record.ts";
import type { Pace } from "@longshore/kubernetes/request/pace.ts";
import type { Reads } from "@longshore/kubernetes/request/read.ts";
import type { Writes } from "@longshore/kubernetes/request/write.ts";
import type { Admitted, Entry, Intake, Ledger, Recorded } from "@longshore/ledger/port.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Failpoint } from "@longshore/runtime/failpoint.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { type Pause, type WakeUp, wakeUp } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { Definitions } from "./definitions/known.ts";
import type { Keys } from "./keys.ts";
import type { Timing } from "./timing.ts";

export const FAILPOINTS = ["afterCommit", "beforePost", "afterPost", "afterRecord", "afterPublish"] as const;
export type LauncherFailpoint = (typeof FAILPOINTS)[number];

/** One group's cluster, with the launch credential. */
export interface Cluster extends ConfiguredGroup {
  readonly reads: Reads;
  readonly writes: Writes;
  /**
   * Set for a group with `createsPerSecond`: no more is claimed than can be created soon; the surplus waits in line, or goes
   * elsewhere.
   */
  readonly pace?: Pace | undefined;
}

export interface Parts {
  readonly installation: Installation;
  /** Names this process in claims and leases. */
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly ledger: Ledger;
  readonly broker: Broker;
  readonly clusters: ReadonlyMap<GroupName, Cluster>;
  readonly views: Map<GroupName, GroupView>;
  readonly keys: Keys;
  readonly definitions: Definitions;
  readonly defaults: Limits;
  readonly timing: Timing;
  /** Names of broker users. "everyone" is for a broker whose users could as well write into the ledger. */
  readonly operators: "everyone" | readonly string[];
  /** How many deliveries are worked on at the same time; also the most items in one transaction. */
  readonly lanes: number;
  readonly fail: Failpoint<LauncherFailpoint>;
  readonly pause: Pause;
  /** Woken when the ledger says that there may be work of this kind. */
  readonly wakeUps: Readonly<Record<WorkKind, WakeUp>>;
  /** Batched: calls that come while one transaction is in flight go together into the next. */
  readonly admitting: (intake: Intake) => Promise<Admitted>;
  readonly recording: (entry: Entry) => Promise<Recorded>;
}

export const wakeUpsBy = (clock: Clock): Parts["wakeUps"] =>
  Object.fromEntries(WORK_KINDS.map((kind) => [kind, wakeUp(clock)])) as Record<WorkKind, WakeUp>;

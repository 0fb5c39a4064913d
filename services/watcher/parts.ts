/**
 * The parts that the watcher's loops are given. main.ts opens them; in the simulation they are models. No part can write to a
 * cluster.
 */
import type { Broker } from "@longshore/broker/port.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import type { Cluster } from "@longshore/kubernetes/clusters.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Failpoint } from "@longshore/runtime/failpoint.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Pause } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";
import type { LiveLogs } from "./live-logs.ts";

export const FAILPOINTS = ["beforeFact", "afterFact"] as const;

export interface Timing {
  readonly heartbeatMs: number;
  /** Pause between searches for Jobs that are due, for a repeated fact or for a read of Events. */
  readonly dueMs: number;
}

export const TIMING: Timing = { heartbeatMs: 15_000, dueMs: 1_000 };

/** One group's cluster, with the watch credential. */
export type Watched = Pick<Cluster, "namespace" | "read" | "follow" | "tailLog" | "logLines"> & {
  readonly name: GroupName;
  /** The annotation of prepared objects, if the group looks for them. */
  readonly annotation?: readonly [key: string, value: string] | undefined;
};

export interface Parts {
  readonly installation: Installation;
  /** Names this process in the source of its facts. */
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly broker: Pick<Broker, "publish">;
  readonly clusters: readonly Watched[];
  readonly timing: Timing;
  readonly fail: Failpoint<(typeof FAILPOINTS)[number]>;
  readonly pause: Pause;
  /** Absent without the key of logs: then nobody is sent what programs print now. */
  readonly liveLogs?: Pick<LiveLogs, "offer">;
}

/** The parts of a watcher that learns its groups from launchers instead of a file. */
export type Learning = Omit<Parts, "clusters" | "broker"> & { readonly broker: Pick<Broker, "publish" | "broadcast" | "listen"> };

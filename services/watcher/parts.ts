/** What the watcher's loops are given. In a process main.ts opens these; in the simulation they are models. It can only read. */
import type { Broker } from "@longshore/broker/port.ts";
import type { GroupName, Installation } from "@longshore/contract/ids.ts";
import type { Cluster } from "@longshore/kubernetes/clusters.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Failpoint } from "@longshore/runtime/failpoint.ts";
import type { Log } from "@longshore/runtime/log.ts";
import type { Pause } from "@longshore/runtime/loop.ts";
import type { Metrics } from "@longshore/runtime/metrics.ts";

export const FAILPOINTS = ["beforeFact", "afterFact"] as const;
export type WatcherFailpoint = (typeof FAILPOINTS)[number];

export interface Timing {
  readonly heartbeatMs: number;
  /** Between looks for Jobs about which something is due: a repeated fact, Events to ask for. */
  readonly dueMs: number;
}

export const TIMING: Timing = { heartbeatMs: 15_000, dueMs: 1_000 };

/** One group's cluster, with the watch credential. */
export type Watched = Pick<Cluster, "namespace" | "read" | "follow" | "tailLog"> & { readonly name: GroupName };

export interface Parts {
  readonly installation: Installation;
  /** This process, in its facts' source. */
  readonly owner: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly broker: Pick<Broker, "publish">;
  readonly clusters: readonly Watched[];
  readonly timing: Timing;
  readonly fail: Failpoint<WatcherFailpoint>;
  readonly pause: Pause;
}

/** What it takes to learn the groups instead of being given them. */
export type Learning = Omit<Parts, "clusters" | "broker"> & { readonly broker: Pick<Broker, "publish" | "broadcast" | "listen"> };

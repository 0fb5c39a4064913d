/**
 * The clusters that a program talks to. Each group has its own guarded transport: if groups shared one, a dead cluster would
 * slow the others. The launcher adds writes with `openWrites(cluster)` of request/write.ts, which the watcher may not import.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { type Change, type FollowOptions, follow } from "./follow/follow.ts";
import { type Guard, type GuardOptions, guard } from "./request/guard.ts";
import { type LogTail, logLines, openReads, type Reads, tailLog } from "./request/read.ts";
import type { Transport } from "./transport.ts";

export interface GroupCluster {
  readonly name: string;
  readonly namespace: string;
  readonly transport: Transport;
  readonly createsPerSecond?: number | undefined;
  /** See `FollowOptions`. */
  readonly pollMs?: number | undefined;
}

export interface Cluster {
  readonly name: string;
  readonly namespace: string;
  readonly clock: Clock;
  /** The guarded transport, for `openWrites` and `preflight`. */
  readonly transport: Guard;
  readonly read: Reads;
  /** If set, the group is listed this often and never watched. */
  readonly pollMs: number | undefined;
  follow(
    options: Pick<FollowOptions, "kind" | "as" | "selector" | "signal" | "pageSize" | "stallMs" | "backOff">,
  ): AsyncIterable<Change>;
  tailLog(of: { readonly pod: string; readonly container: string }, signal: AbortSignal): Promise<LogTail>;
  logLines(
    of: { readonly pod: string; readonly container: string; readonly follows: boolean; readonly tailLines?: number },
    signal: AbortSignal,
  ): AsyncIterable<string>;
}

export interface Clusters extends AsyncDisposable {
  /** Throws for a name that is not among the groups. */
  cluster(name: string): Cluster;
}

export interface ClustersOptions {
  readonly clock: Clock;
  readonly breaker?: GuardOptions["breaker"];
  readonly onRequest?: GuardOptions["onRequest"];
}

export function openClusters(groups: readonly GroupCluster[], options: ClustersOptions): Clusters {
  const open = new Map(groups.map((group) => [group.name, openCluster(group, options)]));
  return {
    cluster: (name) => {
      const found = open.get(name);
      if (!found) throw new Error(`there is no group "${name}" among ${[...open.keys()].join(", ")}`);
      return found;
    },
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...open.values()].map((it) => it.transport[Symbol.asyncDispose]()));
    },
  };
}

function openCluster(group: GroupCluster, { clock, breaker, onRequest }: ClustersOptions): Cluster {
  const { name, namespace, createsPerSecond, pollMs } = group;
  const transport = guard(group.transport, { name, clock, createsPerSecond, breaker, onRequest });
  return {
    name,
    namespace,
    clock,
    transport,
    read: openReads({ transport, clock, namespace }),
    pollMs,
    follow: (options) => follow({ ...options, transport, clock, namespace, pollMs }),
    tailLog: (of, signal) => tailLog({ ...of, transport, clock, namespace }, signal),
    logLines: (of, signal) => logLines({ ...of, transport, clock, namespace }, signal),
  };
}

/**
 * The clusters that a program talks to: for each group its own guarded transport and its reads.
 *
 * The bug this prevents: something shared between groups, through which a dead cluster slows the others. Writes are not here:
 * the launcher makes them with `openWrites(cluster)` of request/write.ts, which the watcher may not import.
 */
import { Failure } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { type Change, type FollowOptions, follow } from "./follow/follow.ts";
import { type Guard, type GuardOptions, guard } from "./request/guard.ts";
import { type LogTail, tailLog } from "./request/logs.ts";
import type { Purpose } from "./request/purpose.ts";
import { openReads, type Reads } from "./request/read.ts";
import type { Transport } from "./transport.ts";

export interface GroupCluster {
  readonly name: string;
  readonly namespace: string;
  readonly transport: Transport;
  readonly createsPerSecond?: number | undefined;
  readonly inFlightMax?: number;
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
  /** Set: it is never watched, and listed this often. */
  readonly pollMs: number | undefined;
  follow(
    options: Pick<FollowOptions, "kind" | "selector" | "signal" | "pageSize" | "stallMs" | "backOff">,
  ): AsyncIterable<Change>;
  tailLog(of: { readonly pod: string; readonly container: string }, signal: AbortSignal): Promise<LogTail>;
}

export interface Clusters extends AsyncDisposable {
  readonly names: readonly string[];
  /** Throws `Failure` "refuse" NoGroup: the ledger knows this group, and this program's groups file does not. */
  cluster(name: string): Cluster;
  find(name: string): Cluster | undefined;
}

export interface ClustersOptions {
  readonly clock: Clock;
  /** For every group; a group's own numbers replace these. */
  readonly guard?: Partial<Omit<GuardOptions, "name" | "clock" | "onRequest">>;
  readonly onRequest?: (group: string, purpose: Purpose, code: string) => void;
}

export function openClusters(groups: readonly GroupCluster[], options: ClustersOptions): Clusters {
  const open = new Map(groups.map((group) => [group.name, openCluster(group, options)]));
  const cluster = (name: string) => {
    const found = open.get(name);
    if (!found)
      throw new Failure(
        "refuse",
        "NoGroup",
        `There is no group "${name}" in this program's groups; the groups file names ${[...open.keys()].join(", ") || "none"}.`,
      );
    return found;
  };
  return {
    names: [...open.keys()],
    cluster,
    find: (name) => open.get(name),
    async [Symbol.asyncDispose]() {
      await Promise.allSettled([...open.values()].map((it) => it.transport[Symbol.asyncDispose]()));
    },
  };
}

function openCluster(group: GroupCluster, { clock, guard: defaults, onRequest }: ClustersOptions): Cluster {
  const { name, namespace, createsPerSecond, inFlightMax, pollMs } = group;
  const transport = guard(group.transport, {
    ...defaults,
    name,
    clock,
    createsPerSecond,
    ...(inFlightMax === undefined ? {} : { inFlightMax }),
    ...(onRequest === undefined ? {} : { onRequest: (purpose, code) => onRequest(name, purpose, code) }),
  });
  return {
    name,
    namespace,
    clock,
    transport,
    read: openReads({ transport, clock, namespace }),
    pollMs,
    follow: (options) => follow({ ...options, transport, clock, namespace, pollMs }),
    tailLog: (of, signal) => tailLog({ ...of, transport, clock, namespace }, signal),
  };
}

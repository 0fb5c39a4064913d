/**
 * Reads the groups file: the groups, and a connection to each group's cluster with one of its two credentials.
 *
 * The bug this prevents: launcher and watcher that understand the same file differently. Both read it here, each with its own
 * credential, and every problem of every group is told at once. If a group's settings are wrong, the program does not start; if
 * a group's cluster does not answer, the program starts.
 */
import { type ConfiguredGroup, GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName } from "@longshore/contract/ids.ts";
import type { Problem } from "@longshore/contract/problems/problem.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { ConfigProblems, placesIn, readConfig } from "@longshore/runtime/config/config.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { z } from "zod";
import { type Cluster, type ClustersOptions, openClusters } from "./clusters.ts";
import { connect, type Connected, hasOwn } from "./access/connect.ts";
import type { Connection } from "./access/connection.ts";
import type { GroupToken } from "./access/token-gauge.ts";
import { newToken } from "./access/new-token.ts";
import type { RoleName } from "./permissions/rbac.ts";
import { openTransport } from "./request/exchange.ts";

const Credential = z.strictObject({
  token: z.string().optional(),
  tokenFile: z.string().optional(),
  certFile: z.string().optional(),
  keyFile: z.string().optional(),
});
const Namespace = z
  .string()
  .regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, "a namespace's name is lower-case letters, digits and '-', at most 63");

/**
 * A polled group's heartbeat is as old as its last listing, and a group whose heartbeat is older than 90 s counts as Unwatched.
 */
const Poll = Duration.refine((text) => (durationMs(text) ?? 0) >= 1_000 && (durationMs(text) ?? 0) <= 30_000, {
  error: "is between 1s and 30s: shorter ones load the API server, and longer ones notice ends late",
}).transform((text) => durationMs(text));

const GroupOfFile = z.strictObject({
  cluster: z.strictObject({
    server: z.string().optional(),
    caFile: z.string().optional(),
    ca: z.string().optional(),
    serverName: z.string().optional(),
    insecureSkipVerify: z.boolean().optional(),
    kubeconfig: z.string().optional(),
    context: z.string().optional(),
    allowPrograms: z.boolean().optional(),
    inCluster: z.boolean().optional(),
  }),
  launch: Credential.optional(),
  watch: Credential.optional(),
  /** Lists this often instead of watching: for clusters that allow no watch. */
  poll: Poll.optional(),
  namespaces: z.array(Namespace).min(1).max(50),
  ...GroupSettings.shape,
});

export type GroupOfFile = z.output<typeof GroupOfFile>;

export const GroupsFile = z.strictObject({ groups: z.record(GroupName, GroupOfFile) });

export type GroupCredential = "launch" | "watch";

export type GroupsCluster = Cluster &
  ConfiguredGroup & {
    readonly connection: Connection;
    /** The file that the credential's token is read from. */
    readonly tokenFile: string | undefined;
    /** The credential is the pod's own, which the kubelet renews. */
    readonly byKubelet: boolean;
  };

export interface Groups extends AsyncDisposable {
  readonly clusters: readonly GroupsCluster[];
}

export interface ReadGroups {
  readonly credential: GroupCredential;
  readonly clock: Clock;
  readonly onRequest?: ClustersOptions["onRequest"];
  /** Hears of files that cannot be used any more. */
  readonly log?: Pick<Log, "warn" | "info"> | undefined;
}

/** Throws `ConfigProblems`. */
export async function readGroups(file: string, options: ReadGroups): Promise<Groups> {
  const { unusable, ...groups } = await readUsableGroups(file, options);
  if (unusable.length === 0) return groups;
  await groups[Symbol.asyncDispose]();
  throw new ConfigProblems(unusable.flatMap(({ problems }) => problems));
}

export interface UnusableGroup {
  readonly name: string;
  readonly problems: readonly string[];
}

/**
 * Opens each group that can be opened, and tells what is wrong with the others: one group's empty token must not hide the others
 * from `doctor`. Throws `ConfigProblems` if the file does not even say which groups there are.
 */
export async function readUsableGroups(
  file: string,
  { credential, clock, onRequest, log }: ReadGroups,
): Promise<Groups & { readonly unusable: readonly UnusableGroup[] }> {
  const { groups } = readConfig(GroupsFile, { file, env: {} });
  const unusable: UnusableGroup[] = [];
  const opened: (ConfiguredGroup & Pick<Cluster, "pollMs"> & Pick<GroupsCluster, "connection" | "tokenFile" | "byKubelet">)[] =
    [];
  for (const [name, group] of Object.entries(groups)) {
    const { cluster, launch, watch, poll: pollMs, namespaces, ...settings } = group;
    const connected = await connectAs(credential, name, group, { clock, log });
    if (connected.kind === "refused") {
      unusable.push({ name, problems: inFile(file, connected.problems) });
      continue;
    }
    const { connection } = connected;
    const own = { launch, watch }[credential];
    const tokenFile = own?.tokenFile;
    const byKubelet = cluster.inCluster === true && !hasOwn(own);
    for (const namespace of namespaces)
      opened.push({ name: nameOf(name, namespace, namespaces), namespace, settings, pollMs, connection, tokenFile, byKubelet });
  }
  const clusters = openClusters(
    opened.map(({ connection, settings, name, namespace, pollMs }) => ({
      name,
      namespace,
      pollMs,
      transport: openTransport(connection),
      createsPerSecond: settings.limits.createsPerSecond,
    })),
    { clock, ...(onRequest && { onRequest }) },
  );
  return {
    clusters: opened.map((group) => ({ ...clusters.cluster(group.name), ...group })),
    unusable,
    [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose](),
  };
}

/** The tokens that somebody has to renew. */
export const tokensOf = (groups: Groups["clusters"]): readonly GroupToken[] =>
  groups.filter(({ byKubelet }) => !byKubelet).map(({ name, connection }) => ({ name, times: connection.tokenTimes() }));

const ROLES = { launch: "launcher", watch: "watcher" } as const satisfies Record<GroupCredential, RoleName>;

/** Connects to a group's cluster with one of its credentials. */
export function connectAs(
  as: GroupCredential,
  name: string,
  { cluster, launch, watch, namespaces }: GroupOfFile,
  { clock, log }: Pick<ReadGroups, "clock" | "log">,
): Promise<Connected> {
  const [namespace = ""] = namespaces;
  const toRenew = (file: string): string => newToken({ role: ROLES[as], namespace, file });
  const credential = { launch, watch }[as] ?? {};
  return connect({ cluster, credential, clock, at: `/groups/${name}`, as, toRenew, ...(log && { log }) });
}

/** Returns each problem of a group's settings with its place in the file. */
export function inFile(file: string, problems: readonly Pick<Problem, "path" | "message">[]): readonly string[] {
  const placeOf = placesIn(file);
  return problems.map(({ path, message }) => `${placeOf(path.split("/").slice(1))}: ${message}`);
}

/** If a group has several namespaces, each becomes a group of its own: "prod-a/batch". */
export const nameOf = (group: string, namespace: string, all: readonly string[]): GroupName =>
  GroupName.parse(all.length === 1 ? group : `${group}/${namespace}`);

/**
 * Reads the groups file: the groups, and a connection to each group's cluster with one of its two credentials.
 *
 * The bug this prevents: launcher and watcher that understand the same file differently. Both read it here, each with its own
 * credential, and every problem of every group is told at once. If a group's settings are wrong, the program does not start; if
 * a group's cluster does not answer, the program starts.
 */
import { type ConfiguredGroup, GroupSettings } from "@longshore/contract/group-settings.ts";
import { GroupName } from "@longshore/contract/ids.ts";
import type { Problem } from "@longshore/contract/problem.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import { z } from "zod";
import { type Cluster, type ClustersOptions, openClusters } from "./clusters.ts";
import { connect } from "./access/connect.ts";
import type { Connection } from "./access/connection.ts";
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

export type GroupsCluster = Cluster & ConfiguredGroup & { readonly connection: Connection };

export interface Groups extends AsyncDisposable {
  readonly clusters: readonly GroupsCluster[];
}

export interface ReadGroups {
  readonly credential: GroupCredential;
  readonly clock: Clock;
  readonly onRequest?: ClustersOptions["onRequest"];
}

/** Throws `ConfigProblems`. */
export async function readGroups(file: string, { credential, clock, onRequest }: ReadGroups): Promise<Groups> {
  const { groups } = readConfig(GroupsFile, { file, env: {} });
  const problems: string[] = [];
  const opened: (ConfiguredGroup & Pick<Cluster, "pollMs"> & { readonly connection: Connection })[] = [];
  for (const [name, { cluster, launch, watch, poll: pollMs, namespaces, ...settings }] of Object.entries(groups)) {
    const at = `/groups/${name}`;
    const connected = await connect({ cluster, credential: { launch, watch }[credential] ?? {}, clock, at, as: credential });
    if (connected.kind === "refused") {
      problems.push(...inFile(file, connected.problems));
      continue;
    }
    for (const namespace of namespaces)
      opened.push({ name: nameOf(name, namespace, namespaces), namespace, settings, pollMs, connection: connected.connection });
  }
  if (problems.length > 0) throw new ConfigProblems(problems);
  const clusters = openClusters(
    opened.map(({ connection, settings, ...group }) => ({
      ...group,
      transport: openTransport(connection),
      createsPerSecond: settings.limits.createsPerSecond,
    })),
    { clock, ...(onRequest && { onRequest }) },
  );
  return {
    clusters: opened.map((group) => ({ ...clusters.cluster(group.name), ...group })),
    [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose](),
  };
}

/** Returns each problem of a group's settings with its place in the file. */
export const inFile = (file: string, problems: readonly Problem[]): readonly string[] =>
  problems.map(({ path, message }) => `${file}: ${path}: ${message}`);

/** If a group has several namespaces, each becomes a group of its own: "prod-a/batch". */
export const nameOf = (group: string, namespace: string, all: readonly string[]): GroupName =>
  GroupName.parse(all.length === 1 ? group : `${group}/${namespace}`);

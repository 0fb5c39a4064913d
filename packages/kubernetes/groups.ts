/**
 * Reads the groups file: the container groups, and the way to each one's cluster with one of its two credentials.
 *
 * The bug this prevents: launcher and watcher that understand the same file differently. Both read it here, each with its own
 * credential, and every problem of every group is told at once. A group with wrong settings refuses the start; a group whose
 * cluster does not answer does not.
 */
import { GroupName } from "@longshore/contract/ids.ts";
import type { Problem } from "@longshore/contract/problem.ts";
import { Duration, durationMs } from "@longshore/contract/units.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import { ConfigProblems, readConfig } from "@longshore/runtime/config/config.ts";
import { z } from "zod";
import { type Cluster, type ClustersOptions, type GroupCluster, openClusters } from "./clusters.ts";
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

/** A heartbeat that is older than 45 s counts as Unwatched, and a heartbeat is as old as the last listing. */
const Poll = Duration.refine((text) => (durationMs(text) ?? 0) >= 1_000 && (durationMs(text) ?? 0) <= 30_000, {
  error: "is between 1s and 30s: shorter ones load the API server, and longer ones would count as Unwatched",
}).transform((text) => durationMs(text));

const GroupSettings = z.strictObject({
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
  limits: z
    .strictObject({
      jobs: z.int().min(1).max(100_000).default(100),
      createsPerSecond: z.number().min(0.1).max(10_000).optional(),
    })
    .prefault({}),
  /** `false`: Jobs without our finalizer, for clusters that forbid it. A Job may then vanish before its outcome is read. */
  hold: z.boolean().default(true),
  /** What may run there: image patterns with `*` for any characters. */
  policy: z.strictObject({ images: z.array(z.string().min(1).max(500)).min(1).max(1_000).optional() }).prefault({}),
});

export type GroupSettings = z.output<typeof GroupSettings>;

export const GroupsFile = z.strictObject({ groups: z.record(GroupName, GroupSettings) });

export type GroupCredential = "launch" | "watch";

export type GroupsCluster = Cluster & { readonly name: GroupName; readonly connection: Connection };

export interface Groups extends AsyncDisposable {
  readonly clusters: readonly GroupsCluster[];
  /** For the ledger. */
  readonly rows: readonly GroupOfFile[];
}

export interface GroupOfFile {
  readonly name: GroupName;
  readonly namespace: string;
  readonly jobsMax: number;
  readonly hold: boolean;
  readonly images?: readonly string[];
  readonly createsPerSecond?: number;
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
  const opened: (GroupCluster & GroupOfFile & { readonly connection: Connection })[] = [];
  for (const [name, settings] of Object.entries(groups)) {
    const at = `/groups/${name}`;
    const connected = await connect({
      cluster: settings.cluster,
      credential: settings[credential] ?? {},
      clock,
      at,
      as: credential,
    });
    if (connected.kind === "refused") {
      problems.push(...inFile(file, connected.problems));
      continue;
    }
    for (const namespace of settings.namespaces) {
      const { jobs: jobsMax, createsPerSecond } = settings.limits;
      const transport = openTransport(connected.connection);
      opened.push({
        connection: connected.connection,
        name: nameOf(name, namespace, settings.namespaces),
        namespace,
        transport,
        pollMs: settings.poll,
        jobsMax,
        hold: settings.hold,
        ...(settings.policy.images && { images: settings.policy.images }),
        ...(createsPerSecond !== undefined && { createsPerSecond }),
      });
    }
  }
  if (problems.length > 0) throw new ConfigProblems(problems);
  const clusters = openClusters(opened, { clock, ...(onRequest && { onRequest }) });
  return {
    rows: opened.map(rowOf),
    clusters: opened.map(({ name, connection }) => ({ ...clusters.cluster(name), name, connection })),
    [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose](),
  };
}

/** What is wrong with a group's settings, and where in the file. */
export const inFile = (file: string, problems: readonly Problem[]): readonly string[] =>
  problems.map(({ path, message }) => `${file}: ${path}: ${message}`);

/** What the ledger may know of it: no credential, and no way to the cluster. */
const rowOf = ({ name, namespace, jobsMax, hold, images, createsPerSecond }: GroupOfFile): GroupOfFile => ({
  name,
  namespace,
  jobsMax,
  hold,
  ...(images && { images }),
  ...(createsPerSecond !== undefined && { createsPerSecond }),
});

/** A group with several namespaces is a group for each: "prod-a/batch". */
export const nameOf = (group: string, namespace: string, all: readonly string[]): GroupName =>
  GroupName.parse(all.length === 1 ? group : `${group}/${namespace}`);

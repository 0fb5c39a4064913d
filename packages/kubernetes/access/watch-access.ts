/**
 * The watcher's access to each group of a groups file, as values instead of files. Launchers read it here and announce it; the
 * watcher opens it here.
 *
 * The bugs this prevents: a launch credential that is announced because the group has no other, and an announced token that the
 * cluster's rotation has made worthless: each `look` reads the files again.
 */
import type { GroupName } from "@longshore/contract/ids.ts";
import { ConfigProblems, readConfig, reason } from "@longshore/runtime/config/config.ts";
import { type Cluster, type ClustersOptions, openClusters } from "../clusters.ts";
import { connectAs, type GroupOfFile, GroupsFile, inFile, nameOf, type ReadGroups } from "../groups.ts";
import { openTransport } from "../request/exchange.ts";
import { hasOwn } from "./connect.ts";
import { addressProblem, type Connection, connectionOf, readText, type Trust } from "./connection.ts";

/** Everything that a connection needs. `trust.cert`, `trust.key` and `authorization` are the credential. */
export interface Access {
  readonly name: GroupName;
  readonly namespace: string;
  readonly server: string;
  readonly trust: Trust;
  /** The whole value of the Authorization header. */
  readonly authorization: string | undefined;
  /** If set, the group is listed this often and never watched. */
  readonly pollMs?: number;
  /** If set, prepared objects with this annotation are looked for: "job-assistant=enable". */
  readonly annotation?: string;
}

/** A group whose access cannot be told now: its credential is being rotated, or something in the file is wrong. */
export interface Unclear {
  readonly name: GroupName;
  readonly problem: string;
}

export type Look = Access | Unclear;

/** Returns each problem once: a group with several namespaces reports it for each. */
export const problemsIn = (found: readonly Look[]): readonly string[] => [
  ...new Set(found.flatMap((it) => ("problem" in it ? [it.problem] : []))),
];

export interface WatchAccess {
  /**
   * Reads the files' present content for each group. A mistake in one group hides no other group. Throws `ConfigProblems` if
   * the file does not even say which groups there are.
   */
  look(): Promise<readonly Look[]>;
}

const SAME =
  "it is the launch credential, which can write in the cluster and is told to nobody; give the watcher another (longshore rbac prints a Role that can only read)";

interface OpenGroup {
  /** The problem to tell if both credentials are the same. */
  readonly same: readonly string[];
  readonly names: readonly (readonly [name: GroupName, namespace: string])[];
  readonly pollMs: number | undefined;
  readonly annotation: string | undefined;
  readonly watch: Connection;
  readonly launch: Connection | undefined;
}

type Opening = Pick<ReadGroups, "clock" | "log">;
type Opened = OpenGroup | { readonly names: OpenGroup["names"]; readonly problems: readonly string[] };

/** Throws `ConfigProblems` with all problems at once: a launcher that cannot announce its groups does not start. */
export async function openWatchAccess(file: string, options: Opening): Promise<WatchAccess> {
  const textOf = (): Promise<string> =>
    readText(file).catch((error: unknown) => {
      throw new ConfigProblems([reason(error)]);
    });
  let text = await textOf();
  let opened = await openAll(file, options);
  const problems = problemsIn(await lookAt(opened));
  if (problems.length > 0) throw new ConfigProblems(problems);
  return {
    look: async () => {
      const now = await textOf();
      if (now !== text || opened.some((it) => "problems" in it)) {
        opened = await openAll(file, options);
        text = now;
      }
      return await lookAt(opened);
    },
  };
}

async function openAll(file: string, options: Opening): Promise<readonly Opened[]> {
  const { groups } = readConfig(GroupsFile, { file, env: {} });
  return await Promise.all(Object.entries(groups).map(([group, settings]) => openGroup(file, group, settings, options)));
}

async function openGroup(file: string, group: string, settings: GroupOfFile, options: Opening): Promise<Opened> {
  const path = `/groups/${group}/watch`;
  const names = settings.namespaces.map((it) => [nameOf(group, it, settings.namespaces), it] as const);
  if (!hasOwn(settings.watch)) {
    const message =
      "a group that is announced needs a watch credential of its own (a tokenFile, or a certFile and keyFile): the launcher's is told to nobody";
    return { names, problems: inFile(file, [{ path, message }]) };
  }
  const watch = await connectAs("watch", group, settings, options);
  const launch = hasOwn(settings.launch) ? await connectAs("launch", group, settings, { clock: options.clock }) : undefined;
  if (watch.kind === "refused") return { names, problems: inFile(file, watch.problems) };
  if (launch?.kind === "refused") return { names, problems: inFile(file, launch.problems) };
  return {
    same: inFile(file, [{ path, message: SAME }]),
    names,
    pollMs: settings.poll,
    annotation: settings.discover?.annotation,
    watch: watch.connection,
    launch: launch?.connection,
  };
}

async function lookAt(opened: readonly Opened[]): Promise<readonly Look[]> {
  return (await Promise.all(opened.map(lookAtGroup))).flat();
}

const unclear = (names: OpenGroup["names"], problems: readonly string[]): readonly Unclear[] =>
  names.map(([name]) => ({ name, problem: problems.join("; ") }));

async function lookAtGroup(opened: Opened): Promise<readonly Look[]> {
  if ("problems" in opened) return unclear(opened.names, opened.problems);
  const { same, names, pollMs, annotation, watch, launch } = opened;
  for (const it of [watch, launch]) it?.rejected(); // each file is read again now, not only after a minute
  const [authorization, trust] = [await watch.authorization(), await watch.trust()];
  const [theirs, theirTrust] = [await launch?.authorization(), await launch?.trust()];
  const isSame = authorization === undefined ? trust.cert === theirTrust?.cert : authorization === theirs;
  if (launch === undefined || !isSame)
    return names.map(([name, namespace]) => ({
      name,
      namespace,
      server: watch.server,
      trust,
      authorization,
      ...(pollMs !== undefined && { pollMs }),
      ...(annotation !== undefined && { annotation }),
    }));
  return unclear(names, same);
}

/**
 * A group's cluster for reading. Its announcement may change while watches go on: the next request uses the new credential, CA
 * or name. If each hourly token ended the watch, 50,000 Jobs would be listed anew.
 */
export interface AnnouncedCluster extends AsyncDisposable {
  readonly cluster: Cluster & { readonly name: GroupName };
  /** Returns false if address, namespace, poll or annotation have changed: the caller must open the cluster anew. */
  renew(access: Access): boolean;
}

interface AnnouncedOptions extends ClustersOptions {
  /** The API server answered 401: the last announced credential is no longer good. */
  readonly onRejected: () => void;
}

/** Returns why no request may be sent with this access, or undefined if requests may be sent. */
export function accessProblem({ server, trust }: Access): string | undefined {
  const wrong = addressProblem(server);
  if (wrong !== undefined) return wrong;
  return (trust.cert === undefined) === (trust.key === undefined) ? undefined : "A certificate is of no use without its key.";
}

export function openAnnounced(first: Access, { onRejected, ...options }: AnnouncedOptions): AnnouncedCluster {
  const { name, namespace, server, pollMs, annotation } = first;
  let now = first;
  const connection = connectionOf({
    server,
    trust: async () => now.trust,
    authorization: async () => now.authorization,
    rejected: onRejected,
  });
  const clusters = openClusters([{ name, namespace, transport: openTransport(connection), pollMs }], options);
  return {
    cluster: { ...clusters.cluster(name), name },
    renew: (access) => {
      if (access.server !== server || access.namespace !== namespace) return false;
      if (access.pollMs !== pollMs || access.annotation !== annotation) return false;
      now = access;
      return true;
    },
    [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose](),
  };
}

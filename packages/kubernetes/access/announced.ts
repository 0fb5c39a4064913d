/**
 * One group's cluster as it was announced, for reading. Its announcement may change while watches go on.
 *
 * The bug this prevents: a watch that is torn down and lists 50,000 Jobs anew each time that an hourly token is rotated. A new
 * credential, CA or name is used from the next request on; only another address or namespace makes it another cluster.
 */
import type { GroupName } from "@longshore/contract/ids.ts";
import { addressProblem } from "./address.ts";
import { type Cluster, type ClustersOptions, openClusters } from "../clusters.ts";
import { timesOf } from "./connect.ts";
import type { Connection } from "./connection.ts";
import { openTransport } from "../request/exchange.ts";
import type { Access } from "./watch-access.ts";

export interface AnnouncedCluster extends AsyncDisposable {
  readonly cluster: Cluster & { readonly name: GroupName };
  /** Returns false if this is another cluster, which has to be opened as such. */
  renew(access: Access): boolean;
}

export interface AnnouncedOptions extends ClustersOptions {
  /** The API server answered 401: the last announced credential is no longer good. */
  readonly onRejected: () => void;
}

/** The reason why nothing may be sent there; undefined: requests may be sent. */
export function accessProblem({ server, trust }: Access): string | undefined {
  const wrong = addressProblem(server);
  if (wrong !== undefined) return wrong;
  return (trust.cert === undefined) === (trust.key === undefined) ? undefined : "A certificate is of no use without its key.";
}

export function openAnnounced(first: Access, { onRejected, ...options }: AnnouncedOptions): AnnouncedCluster {
  const { name, namespace, server, pollMs } = first;
  let now = first;
  const connection: Connection = {
    server,
    description: `${server} with the credential that the launcher announced${first.trust.verify ? "" : ", its certificate NOT verified"}`,
    trust: async () => now.trust,
    authorization: async () => now.authorization,
    rejected: onRejected,
    expiresAtMs: () => timesOf(now.authorization)?.expiresAtMs,
    tokenTimes: () => timesOf(now.authorization),
  };
  const clusters = openClusters([{ name, namespace, transport: openTransport(connection), pollMs }], options);
  return {
    cluster: { ...clusters.cluster(name), name },
    renew: (access) => {
      if (access.server !== server || access.namespace !== namespace || access.pollMs !== pollMs) return false;
      // Returns the same object while its content is the same: the exchange builds a TLS context for each new object.
      const trust = JSON.stringify(access.trust) === JSON.stringify(now.trust) ? now.trust : access.trust;
      now = { ...access, trust };
      return true;
    },
    [Symbol.asyncDispose]: () => clusters[Symbol.asyncDispose](),
  };
}

/**
 * Starts the embedded cluster: its folder, the objects on disk, kubelet, cluster and HTTP.
 *
 * The bug this prevents: a cluster that looks like another one after a restart, or has lost its Jobs. The objects keep their
 * UIDs, and the versions go on rising, so that a view from before the restart still counts as older.
 */
import { randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, writeSync } from "node:fs";
import { lockFolder } from "@longshore/runtime/lock-folder.ts";
import { type Clock, systemClock } from "@longshore/runtime/clock.ts";
import type { User, Kubelet } from "./api.ts";
import { type Cluster, createCluster } from "./cluster.ts";
import type { PodObject } from "./objects.ts";
import { startProcesses } from "./pods/processes.ts";
import { serveHttp } from "./server/http.ts";
import { openJournal } from "./server/journal.ts";
import { createNamespace } from "./server/write.ts";

export interface PocketOptions {
  /** Folder for the objects, the pods' folders and logs. One pocket at a time may use it. */
  readonly dataDir: string;
  /** True: it keeps no objects, and its pods end with it at once, also when it is killed. */
  readonly throwaway?: boolean;
  /** Further tokens, for example of users bound to some namespaces. */
  readonly credentials?: ReadonlyMap<string, User>;
  /** Absent: "default". */
  readonly namespaces?: readonly string[];
  /** Absent: pods are processes of this machine. */
  readonly pods?: (clock: Clock) => Kubelet & AsyncDisposable;
  /** A file to which each request is appended as a line of JSON before it is answered. */
  readonly requestLog?: string;
  readonly tls?: { readonly key: string; readonly cert: string };
}

export interface Pocket extends AsyncDisposable {
  readonly url: string;
  /** The administrator's. */
  readonly token: string;
  readonly cluster: Cluster;
  /** The pods that have a process now. */
  running(): readonly PodObject[];
  /**
   * The pods that had a process when the last pocket of this folder ended. After a stop in order there are none, but for a pod
   * that was being removed.
   */
  readonly found: {
    /** Their processes still run, and are followed to their end. */
    readonly goOn: readonly PodObject[];
    readonly ended: readonly PodObject[];
  };
}

export async function startPocket(options: PocketOptions): Promise<Pocket> {
  const clock = systemClock;
  const { dataDir, throwaway = false, pods = () => startProcesses({ clock, dataDir, throwaway }), requestLog } = options;
  // The objects and the pods' output may have secrets in them.
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  await using started = new AsyncDisposableStack();
  started.use(await lockFolder(dataDir, (pid) => new Error(inUse(dataDir, pid))));
  const disk = throwaway ? undefined : started.use(openJournal(dataDir, clock));
  const log = requestLog === undefined ? undefined : openSync(requestLog, "a");
  if (log !== undefined) started.defer(() => closeSync(log));
  const before = runningIn(
    (disk?.objects ?? []).filter(({ resource }) => resource === "pods").map(({ object }) => object as PodObject),
  );
  const kubelet = pods(clock);
  const cluster = started.use(
    createCluster({
      clock,
      kubelet,
      // Milliseconds since 1970: no earlier pocket can have reached this version. So no version comes twice, even if a disk has
      // lost the last ones, and a watch that begins at an earlier version is told to list again.
      firstVersion: Math.max(clock.now(), disk?.version ?? 0),
      ...(disk && { disk }),
      ...(log !== undefined && { onRequest: (entry) => writeSync(log, `${JSON.stringify(entry)}\n`) }),
    }),
  );
  // The cluster has taken up the pods that the disk kept.
  const still = new Set(
    runningIn(cluster.store.list("pods", undefined) as readonly PodObject[]).map(({ metadata }) => metadata.uid),
  );
  const found = {
    goOn: before.filter(({ metadata }) => still.has(metadata.uid)),
    ended: before.filter(({ metadata }) => !still.has(metadata.uid)),
  };
  // Stops before the cluster: the cluster hears how its pods ended.
  started.use(kubelet);
  for (const name of options.namespaces ?? ["default"]) {
    if (cluster.store.get("namespaces", "", name) === undefined) createNamespace(cluster, name);
  }
  const token = randomBytes(24).toString("base64url");
  const credentials = new Map<string, User>([[token, { user: "admin" }], ...(options.credentials ?? [])]);
  const { url } = started.use(await serveHttp({ cluster, credentials, ...(options.tls && { tls: options.tls }) }));
  const all = started.move();
  const running = () => runningIn(cluster.store.list("pods", undefined) as readonly PodObject[]);
  return { url, token, cluster, running, found, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

const runningIn = (pods: readonly PodObject[]): readonly PodObject[] => pods.filter(({ status }) => status.phase === "Running");

const inUse = (dataDir: string, pid: number | undefined): string =>
  pid === undefined ? `${dataDir} takes no lock` : `another pocket, in process ${pid}, uses ${dataDir}`;

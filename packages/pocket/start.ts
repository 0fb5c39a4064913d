/**
 * Starts the embedded cluster: kubelet, cluster, HTTP, and the files that outlive it.
 *
 * The bug this prevents: a cluster that looks like another one after a restart. The namespaces keep their UIDs, and the
 * versions go on rising, so that a view from before the restart still counts as older.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "@longshore/runtime/clock.ts";
import type { Identity, Kubelet } from "./api.ts";
import { type Cluster, createCluster } from "./cluster.ts";
import { startProcesses } from "./pods/processes.ts";
import { serveHttp } from "./server/http.ts";
import { createNamespace } from "./server/write.ts";

export interface PocketOptions {
  /** Folder for the pods' folders and logs. Private to this pocket. */
  readonly dataDir: string;
  /** Further tokens, for example of users bound to some namespaces. */
  readonly credentials?: ReadonlyMap<string, Identity>;
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
}

export async function startPocket(options: PocketOptions): Promise<Pocket> {
  const clock = systemClock;
  const { dataDir, pods = () => startProcesses({ clock, dataDir }), requestLog } = options;
  mkdirSync(dataDir, { recursive: true });
  await using started = new AsyncDisposableStack();
  const kubelet = started.use(pods(clock));
  const log = requestLog === undefined ? undefined : openSync(requestLog, "a");
  if (log !== undefined) started.defer(() => closeSync(log));
  const cluster = started.use(
    createCluster({
      clock,
      kubelet,
      // Milliseconds since 1970: no earlier pocket can have reached this version, so no version comes twice.
      firstVersion: clock.now(),
      ...(log !== undefined && { onRequest: (entry) => writeSync(log, `${JSON.stringify(entry)}\n`) }),
    }),
  );
  const uids = keepNamespaces(join(dataDir, "namespaces.json"), options.namespaces ?? ["default"]);
  for (const [name, uid] of uids) createNamespace(cluster, name, uid);
  const token = randomBytes(24).toString("base64url");
  const credentials = new Map<string, Identity>([[token, { user: "admin" }], ...(options.credentials ?? [])]);
  const { url } = started.use(await serveHttp({ cluster, credentials, ...(options.tls && { tls: options.tls }) }));
  const all = started.move();
  return { url, token, cluster, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** Returns each namespace's UID from before, or a new UID that the namespace keeps from now on. */
function keepNamespaces(path: string, names: readonly string[]): ReadonlyMap<string, string> {
  const known: Readonly<Record<string, string>> = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  const kept = new Map(names.map((name) => [name, known[name] ?? randomUUID()]));
  writeFileSync(`${path}.new`, `${JSON.stringify({ ...known, ...Object.fromEntries(kept) }, null, 2)}\n`);
  renameSync(`${path}.new`, path);
  return kept;
}

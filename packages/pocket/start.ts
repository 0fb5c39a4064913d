/**
 * Starts the embedded cluster: model, kubelet, HTTP, and the files that outlive it.
 *
 * The bug this prevents: a cluster that looks like another one after a restart. The namespaces keep their UIDs and the versions
 * go on counting, so an earlier view is still older than a later one.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { type Clock, systemClock } from "@longshore/runtime/clock.ts";
import type { Identity } from "./api.ts";
import type { Delays } from "./controllers/delays.ts";
import { serveHttp } from "./server/http.ts";
import { createModel, type Model } from "./model.ts";
import { startProcesses } from "./pods/processes.ts";
import { instantPods } from "./faults/scripted.ts";

export interface PocketOptions {
  /** Folder for the pods' folders and logs. Private to this pocket. */
  readonly dataDir: string;
  readonly port?: number;
  /** Absent: a random one. */
  readonly token?: string;
  /** Further tokens, for example of users bound to some namespaces. */
  readonly credentials?: ReadonlyMap<string, Identity>;
  /** Absent: "default". */
  readonly namespaces?: readonly string[];
  /** Pods succeed at once and run nothing. */
  readonly instant?: boolean;
  /** A file to which each request is appended as a line of JSON before it is answered. */
  readonly requestLog?: string;
  readonly delays?: Partial<Delays>;
  readonly tls?: { readonly key: string; readonly cert: string };
  readonly clock?: Clock;
}

export interface Pocket extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  readonly model: Model;
}

export async function startPocket(options: PocketOptions): Promise<Pocket> {
  const { dataDir, clock = systemClock, token = randomBytes(24).toString("base64url") } = options;
  mkdirSync(dataDir, { recursive: true });
  const namespaces = keepNamespaces(join(dataDir, "namespaces.json"), options.namespaces ?? ["default"]);
  await using started = new AsyncDisposableStack();
  const kubelet = started.use(options.instant === true ? instantPods(clock) : startProcesses({ clock, dataDir }));
  const log = options.requestLog === undefined ? undefined : openRequestLog(options.requestLog);
  if (log !== undefined) started.defer(() => closeSync(log));
  const model = started.use(
    createModel({
      clock,
      kubelet,
      // Milliseconds since 1970: no pocket can have counted further than that before.
      firstVersion: clock.now(),
      namespaces,
      ...(options.delays === undefined ? {} : { delays: options.delays }),
      ...(log === undefined ? {} : { onRequest: (entry) => writeSync(log, `${JSON.stringify(entry)}\n`) }),
    }),
  );
  const credentials = new Map<string, Identity>([[token, { user: "admin" }], ...(options.credentials ?? [])]);
  const server = started.use(
    await serveHttp({
      model,
      credentials,
      ...(options.port === undefined ? {} : { port: options.port }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
    }),
  );
  const all = started.move();
  return { url: server.url, token, model, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

/** The UIDs that the namespaces had before, or new ones that they keep from now on. */
function keepNamespaces(path: string, names: readonly string[]): ReadonlyMap<string, string> {
  const known: Readonly<Record<string, string>> = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : {};
  const kept = new Map(names.map((name) => [name, known[name] ?? randomUUID()]));
  writeFileSync(`${path}.new`, `${JSON.stringify({ ...known, ...Object.fromEntries(kept) }, null, 2)}\n`);
  renameSync(`${path}.new`, path);
  return kept;
}

const openRequestLog = (path: string): number => openSync(path, "a");

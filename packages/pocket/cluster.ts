/**
 * The pocket's cluster: a Kubernetes API server, its controllers and one node.
 *
 *   transport ─▶ serve ─▶ store ─▶ jobs · collect · quota · volumes · nodes ─▶ kubelet
 *
 * It has no timers, no sockets and no processes: time and chance come from the clock, and the given kubelet runs the pods. So
 * the same code is the embedded cluster (with server/http.ts and pods/processes.ts) and the core of the tests' model
 * (testing/model.ts). Both pass the conformance suite of a real cluster.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ApiRequest, User, Kubelet, Transport } from "./api.ts";
import { createAgenda } from "./controllers/agenda.ts";
import { type Emptying, startCollector } from "./controllers/collect.ts";
import { type Delays, POCKET_DELAYS } from "./controllers/delays.ts";
import { startJobController } from "./controllers/jobs.ts";
import { startNodes } from "./controllers/nodes.ts";
import { startQuotas } from "./controllers/quota.ts";
import { startVolumes } from "./controllers/volumes.ts";
import { splitPath } from "./server/query.ts";
import { answer, type ServerParts, stream } from "./server/serve.ts";
import { createStore, type Disk } from "./server/store.ts";

export interface ClusterOptions {
  readonly clock: Clock;
  readonly kubelet: Kubelet;
  /** Versions begin after this one: a cluster that is started again must not repeat old numbers. */
  readonly firstVersion: number;
  /** Absent: the objects are in memory only. */
  readonly disk?: Disk;
  readonly delays?: Delays;
  readonly emptying?: Emptying | undefined;
  /** Called before the request's answer leaves. */
  readonly onRequest?: (entry: RequestEntry) => void;
}

/** A request that reached the server, whether or not its answer reached anybody. */
export interface RequestEntry {
  readonly atMs: number;
  readonly user: string;
  readonly method: string;
  readonly path: string;
  /** The object's name: from the body of a POST, else from the path. */
  readonly name: string;
  readonly status: number;
}

export interface Cluster extends ServerParts, Disposable {
  transport(identity: User): Transport;
}

export function createCluster(options: ClusterOptions): Cluster {
  const { clock, kubelet, firstVersion, disk, delays = POCKET_DELAYS, emptying = "pods first", onRequest } = options;
  const agenda = createAgenda(clock);
  const store = createStore(firstVersion, disk);
  const parts = { store, clock, agenda, delays };
  const nodes = startNodes(parts, kubelet);
  startJobController(parts);
  startCollector(parts, emptying);
  startQuotas(parts);
  startVolumes(parts);
  nodes.resume();
  store.retell();
  let watches = 0;
  const server: ServerParts = { ...parts, runOf: nodes.runOf, watchKey: () => `watch:${watches++}` };

  function told<T extends { readonly status: number }>(identity: User, request: ApiRequest, answered: T): T {
    onRequest?.(entryOf(clock, identity, request, answered.status));
    return answered;
  }

  return {
    ...server,
    transport: (identity) => ({
      send: async (request) => told(identity, request, await answer(server, identity, request)),
      open: async (request, signal) => {
        const opened = stream(server, identity, request, () => undefined);
        // Ends the watch: else it would gather changes that nobody reads until its time is over.
        signal.addEventListener("abort", () => opened.lines.end(), { once: true });
        return told(identity, request, opened);
      },
      [Symbol.asyncDispose]: async () => undefined,
    }),
    [Symbol.dispose]: () => {
      nodes.stop();
      agenda.stop();
    },
  };
}

export function entryOf(clock: Clock, { user }: User, request: ApiRequest, status: number): RequestEntry {
  const { method, path } = request;
  return { atMs: clock.now(), user, method, path, name: nameIn(request), status };
}

function nameIn(request: ApiRequest): string {
  if (request.method !== "POST") return splitPath(request).path.split("/").at(-1) ?? "";
  const { body } = request as { readonly body?: { readonly metadata?: { readonly name?: unknown } } };
  const name = body?.metadata?.name;
  return typeof name === "string" ? name : "";
}

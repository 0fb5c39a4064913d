/**
 * The pocket's cluster: a Kubernetes API server, its controllers and one node, as a value.
 *
 *   transport ─▶ network (faults, delays) ─▶ serve ─▶ store ─▶ jobs · collect · nodes ─▶ kubelet
 *
 * It has no timers, no sockets and no processes: time and chance come from the clock, pods run in the kubelet that it is given.
 * So one model is both the embedded cluster (over server/http.ts and pods/processes.ts) and the simulation's (over a clock that
 * the simulation turns). Both pass the conformance suite of a real cluster.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { createAgenda } from "./controllers/agenda.ts";
import type { ApiRequest, Identity, Kubelet, Transport } from "./api.ts";
import { startCollector } from "./controllers/collect.ts";
import { type Delays, POCKET_DELAYS } from "./controllers/delays.ts";
import { createFaults, type Fault } from "./faults/faults.ts";
import { startJobController } from "./controllers/jobs.ts";
import { type Deed, meddle } from "./faults/meddle.ts";
import { createNetwork } from "./faults/network.ts";
import { startNodes } from "./controllers/nodes.ts";
import type { ApiObject, JobObject, PodObject } from "./objects.ts";
import { splitPath } from "./server/query.ts";
import { startQuotas } from "./controllers/quota.ts";
import { answer, type ServerParts, stream } from "./server/serve.ts";
import { type Change, createStore } from "./server/store.ts";
import { createNamespace } from "./server/write.ts";

export interface ModelOptions {
  readonly clock: Clock;
  readonly kubelet: Kubelet;
  readonly faults?: readonly Fault[];
  readonly delays?: Partial<Delays>;
  readonly emptying?: "pods first" | "all at once";
  /** Made at the start; absent: "default". A map gives the UID of each. */
  readonly namespaces?: readonly string[] | ReadonlyMap<string, string>;
  readonly bookmarkMs?: number;
  readonly expiredAs?: "stream" | "status";
  readonly clientTimeoutMs?: number;
  /** Versions begin after this one: a pocket that is started again must not repeat old numbers. */
  readonly firstVersion?: number;
  /** How many changes a watch may be behind. */
  readonly historyMost?: number;
  /** Called before the request's answer leaves. */
  readonly onRequest?: (entry: RequestEntry) => void;
  /** Called after each change of an object, in their order: the cluster's own history. */
  readonly onChange?: (change: Change) => void;
}

/** A request that reached the server, whether or not its answer reached anybody. */
export interface RequestEntry {
  readonly atMs: number;
  readonly user: string;
  readonly method: string;
  readonly path: string;
  /** The object's name; of a POST, from its body. */
  readonly name: string;
  readonly status: number;
}

export interface Model extends AsyncDisposable {
  transport(identity?: Identity): Transport;
  cause(fault: Fault): void;
  /** Removes every fault. */
  heal(): void;
  /** A deed of others in the cluster. */
  meddle(deed: Deed): void;
  jobs(namespace?: string): readonly JobObject[];
  pods(namespace?: string): readonly PodObject[];
  namespace(name: string): ApiObject | undefined;
  /** The last requests, oldest first; bounded. */
  requests(): readonly RequestEntry[];
  /** How many POSTs of a Job of this name were answered 201. */
  countCreated(name: string): number;
  version(): number;
}

const REQUESTS_MOST = 20_000;
const ADMIN: Identity = { user: "admin" };

export function createModel(options: ModelOptions): Model {
  const { clock } = options;
  const delays: Delays = { ...POCKET_DELAYS, ...options.delays };
  const agenda = createAgenda(clock);
  const store = createStore({ firstVersion: options.firstVersion ?? 1_000, historyMost: options.historyMost ?? 20_000 });
  if (options.onChange) store.listen(options.onChange);
  const faults = createFaults(clock, options.faults ?? []);
  const parts = { store, clock, agenda, delays };
  const nodes = startNodes({ ...parts, kubelet: options.kubelet });
  const stops = [
    startJobController(parts),
    startCollector({ ...parts, emptying: options.emptying ?? "pods first" }),
    startQuotas(parts),
    () => nodes.stop(),
  ];
  const requests = keepRequests(options);
  let watches = 0;
  const server: ServerParts = {
    ...parts,
    runOf: (uid) => nodes.runOf(uid),
    watch: () => ({
      key: `watch:${watches++}`,
      delay: delays.watchMs,
      bookmarkMs: options.bookmarkMs ?? 60_000,
      expiredAs: options.expiredAs ?? "stream",
    }),
  };
  const network = createNetwork({
    ...parts,
    faults,
    version: () => store.version(),
    clientTimeoutMs: options.clientTimeoutMs ?? 10_000,
    answer: async (identity, request, behind) => {
      const answered = await answer(server, identity, request, behind);
      requests.note(identity, request, answered.status);
      return answered;
    },
    stream: (identity, request, closed) => {
      const opened = stream(server, identity, request, closed);
      requests.note(identity, request, opened.status);
      return opened;
    },
    refused: (identity, request, status) => requests.note(identity, request, status),
  });
  const { namespaces = ["default"] } = options;
  const uids: ReadonlyMap<string, string | undefined> =
    namespaces instanceof Map ? namespaces : new Map([...namespaces].map((name) => [String(name), undefined]));
  for (const [name, uid] of uids) createNamespace({ store, clock }, name, uid);

  return {
    transport: (identity = ADMIN) => network.transport(identity),
    cause: (fault) => faults.cause(fault),
    heal: () => faults.heal(),
    meddle: (deed) => meddle({ store, clock, network }, deed),
    jobs: (namespace) => store.list("jobs", namespace) as readonly JobObject[],
    pods: (namespace) => store.list("pods", namespace) as readonly PodObject[],
    namespace: (name) => store.get("namespaces", "", name),
    requests: () => requests.all(),
    countCreated: (name) => requests.countCreated(name),
    version: () => store.version(),
    [Symbol.asyncDispose]: async () => {
      network.breakStreams("cut");
      for (const stop of stops) stop();
      agenda.stop();
    },
  };
}

function keepRequests({ clock, onRequest }: ModelOptions) {
  let entries: RequestEntry[] = [];
  const created = new Map<string, number>();
  return {
    note: (identity: Identity, request: ApiRequest, status: number): void => {
      const name = nameIn(request);
      const entry = { atMs: clock.now(), user: identity.user, method: request.method, path: request.path, name, status };
      entries.push(entry);
      if (entries.length > REQUESTS_MOST * 2) entries = entries.slice(-REQUESTS_MOST);
      if (status === 201 && splitPath(request).path.endsWith("/jobs")) created.set(name, (created.get(name) ?? 0) + 1);
      onRequest?.(entry);
    },
    all: (): readonly RequestEntry[] => entries.slice(-REQUESTS_MOST),
    countCreated: (name: string): number => created.get(name) ?? 0,
  };
}

function nameIn(request: ApiRequest): string {
  const { path } = splitPath(request);
  if (request.method !== "POST") return path.split("/").at(-1) ?? "";
  const { body } = request as { readonly body?: { readonly metadata?: { readonly name?: unknown } } };
  const name = body?.metadata?.name;
  return typeof name === "string" ? name : "";
}

/**
 * The pocket's cluster for tests and the simulation, behind a network that can fail:
 *
 *   transport ─▶ network (faults, delays) ─▶ cluster.ts ◀─ meddle (others' deeds)
 *
 * It passes the conformance suite of a real cluster.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import type { ApiRequest, User, Kubelet, Transport } from "../api.ts";
import { createCluster, entryOf, type RequestEntry } from "../cluster.ts";
import type { Emptying } from "../controllers/collect.ts";
import type { ApiObject, JobObject, PodObject, Resource } from "../objects.ts";
import type { Change } from "../server/store.ts";
import { createNamespace } from "../server/write.ts";
import { LEAST_DELAYS, type ModelDelays } from "./delays.ts";
import { createFaults, type Fault } from "./faults.ts";
import { type Deed, meddle } from "./meddle.ts";
import { createNetwork } from "./network.ts";

export interface ModelOptions {
  readonly clock: Clock;
  readonly kubelet: Kubelet;
  readonly faults?: readonly Fault[];
  readonly delays?: Partial<ModelDelays>;
  readonly emptying?: Emptying;
  /** Made at the start; absent: "default". */
  readonly namespaces?: readonly string[];
  /** Called before the request's answer leaves. */
  readonly onRequest?: (entry: RequestEntry) => void;
  /** Called with each change of an object, in the order of the changes. */
  readonly onChange?: (change: Change) => void;
}

export interface Model extends AsyncDisposable {
  transport(identity?: User): Transport;
  cause(fault: Fault): void;
  /** Removes every fault. */
  heal(): void;
  /** Does a deed of other people or programs in the cluster. */
  meddle(deed: Deed): void;
  jobs(namespace?: string): readonly JobObject[];
  pods(namespace?: string): readonly PodObject[];
  namespace(name: string): ApiObject | undefined;
  objects(resource: Resource, namespace?: string): readonly ApiObject[];
  /** The last requests, oldest first; bounded. */
  requests(): readonly RequestEntry[];
  /** How many POSTs of a Job of this name were answered 201. */
  countCreated(name: string): number;
  version(): number;
}

const REQUESTS_MOST = 20_000;
const ADMIN: User = { user: "admin" };

export function createModel(options: ModelOptions): Model {
  const { clock, kubelet, emptying, namespaces = ["default"] } = options;
  const delays: ModelDelays = { ...LEAST_DELAYS, ...options.delays };
  const cluster = createCluster({ clock, kubelet, firstVersion: 1_000, delays, emptying });
  const { store } = cluster;
  if (options.onChange) store.listen(options.onChange);
  const faults = createFaults(clock, options.faults ?? []);
  const requests = keepRequests(options);
  const note = (identity: User, request: ApiRequest, status: number): void =>
    requests.note(entryOf(clock, identity, request, status));
  const network = createNetwork({ cluster, delays, faults, note });
  for (const name of namespaces) createNamespace(cluster, name);

  return {
    transport: (identity = ADMIN) => network.transport(identity),
    cause: (fault) => faults.cause(fault),
    heal: () => faults.heal(),
    meddle: (deed) => meddle(cluster, network, deed),
    jobs: (namespace) => store.list("jobs", namespace) as readonly JobObject[],
    pods: (namespace) => store.list("pods", namespace) as readonly PodObject[],
    objects: (resource, namespace) => store.list(resource, namespace),
    namespace: (name) => store.get("namespaces", "", name),
    requests: () => requests.all(),
    countCreated: (name) => requests.countCreated(name),
    version: () => store.version(),
    [Symbol.asyncDispose]: async () => {
      network.breakStreams("cut");
      cluster[Symbol.dispose]();
    },
  };
}

function keepRequests({ onRequest }: ModelOptions) {
  let entries: RequestEntry[] = [];
  const created = new Map<string, number>();
  return {
    note: (entry: RequestEntry): void => {
      entries.push(entry);
      if (entries.length > REQUESTS_MOST * 2) entries = entries.slice(-REQUESTS_MOST);
      const { name, path, status } = entry;
      if (status === 201 && /\/jobs(\?|$)/.test(path)) created.set(name, (created.get(name) ?? 0) + 1);
      onRequest?.(entry);
    },
    all: (): readonly RequestEntry[] => entries.slice(-REQUESTS_MOST),
    countCreated: (name: string): number => created.get(name) ?? 0,
  };
}

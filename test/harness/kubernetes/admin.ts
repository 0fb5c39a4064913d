/**
 * An administrator's requests to a test's cluster: makes objects, writes their status as a kubelet would, reads, waits.
 *
 * The failure this prevents: each test with requests of its own, one of which takes a refusal for a success.
 */
import { manifest } from "@longshore/domain/pod/manifest.ts";
import { GroupName, Installation, RunId, StepName } from "@longshore/contract/ids.ts";
import type { RenderedStep } from "@longshore/contract/request/request.ts";
import type { ApiAnswer, ApiRequest, Transport } from "@longshore/kubernetes/transport.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";

const forever = new AbortController().signal;
const WITHIN_MS = 60_000;
const STRATEGIC = "application/strategic-merge-patch+json";

/** An object as the API shows it. */
export interface Shown {
  readonly metadata: { readonly name: string; readonly uid: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

export interface Admin {
  /** Returns any answer, whatever its status. */
  ask(request: ApiRequest): Promise<ApiAnswer>;
  /** Throws the answer's text unless the request succeeded. */
  must(method: ApiRequest["method"], path: string, body?: object): Promise<Shown>;
  items(path: string): Promise<readonly Shown[]>;
  podsOf(namespace: string, job: string): Promise<readonly Shown[]>;
  eventsOf(namespace: string, uid: string): Promise<readonly Shown[]>;
  /** Writes a status as the kubelet, the scheduler or a controller would. */
  writeStatus(path: string, status: object): Promise<Shown>;
}

export function adminOf(transport: Transport): Admin {
  const ask = (request: ApiRequest): Promise<ApiAnswer> => transport.send(request, forever);
  const must: Admin["must"] = async (method, path, body) => {
    const contentType = method === "PATCH" ? { contentType: STRATEGIC } : {};
    const answer = await ask({ method, path, ...contentType, ...(body && { body }) });
    if (answer.status >= 300) throw new Error(`${method} ${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body as Shown;
  };
  const items: Admin["items"] = async (path) => {
    const { items, ...list } = (await must("GET", path)) as unknown as {
      items: readonly Shown[];
      kind: string;
      apiVersion: string;
    };
    // The API leaves kind and apiVersion out of the objects in a list; a watch's objects have both.
    return items.map((it) => ({ kind: list.kind.replace(/List$/, ""), apiVersion: list.apiVersion, ...it }));
  };
  return {
    ask,
    must,
    items,
    podsOf: (namespace, job) => items(`/api/v1/namespaces/${namespace}/pods?labelSelector=batch.kubernetes.io/job-name=${job}`),
    eventsOf: (namespace, uid) => items(`/api/v1/namespaces/${namespace}/events?fieldSelector=involvedObject.uid=${uid}`),
    writeStatus: (path, status) => must("PATCH", `${path}/status`, { status }),
  };
}

/** Returns the only element of a list; throws if there is none. */
export function only<T>(all: readonly T[]): T {
  const [one] = all;
  if (one === undefined) throw new Error("the list is empty");
  return one;
}

export const jobPath = (namespace: string, name = ""): string =>
  `/apis/batch/v1/namespaces/${namespace}/jobs${name && `/${name}`}`;
export const podPath = (namespace: string, name = ""): string => `/api/v1/namespaces/${namespace}/pods${name && `/${name}`}`;

/** Calls `look` again and again, and returns its first result that is neither undefined nor false. */
export async function found<T>(what: string, look: () => Promise<T | undefined | false>, withinMs = WITHIN_MS): Promise<T> {
  for (const began = clock.now(); ; await clock.sleep(50)) {
    const it = await look();
    if (it !== undefined && it !== false) return it;
    if (clock.now() - began > withinMs) throw new Error(`${what}: not within ${withinMs / 1000} s`);
  }
}

/** The very Job that the launcher makes for a step, under a name that the test chooses. */
export function heldJob(name: string, namespace: string, step: Partial<RenderedStep> = {}): object {
  const made = manifest({
    installation: Installation.parse("demo"),
    group: { name: GroupName.parse("prod-a"), namespace },
    run: { id: RunId.parse("orders/8812/export") },
    step: { name: StepName.parse("main"), image: "registry.example/orders/export:1", ...step },
    attempt: 1,
    generation: 1,
    epoch: 1,
    name,
    hashOfRun: "0123456789abcdef",
    proof: "proof-1",
    limits: { waitForMs: 3_600_000, startWithinMs: 900_000, deadlineMs: 3_600_000 },
  });
  return made;
}

/** A Job that is not ours: it has no marks of ours and no hold. */
export const plainJob = (name: string, namespace: string): object => ({
  apiVersion: "batch/v1",
  kind: "Job",
  metadata: { name, namespace },
  spec: { template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "registry.example/theirs:1" }] } } },
});

/**
 * The parts of the conformance tests: loose types of objects, a client, and waits that watch instead of sleeping, so that no
 * test depends on how fast a cluster is.
 */
import type { Test } from "tap";
import type { ApiAnswer, ApiRequest, Transport } from "../transport.ts";

/**
 * "processes": pods run their commands. "instant": pods succeed a moment after a node has them, whatever their commands say.
 */
export type Pods = "processes" | "instant";

export interface Conforming {
  readonly name: string;
  readonly pods: Pods;
  /** Opens a new, empty namespace in a cluster. Disposing of it cleans up, even if a test has deleted the namespace. */
  readonly open: () => Promise<OpenCluster>;
  /** An image with a shell. */
  readonly image: string;
  /** The seconds that a pod runs if it must outlast a few requests; absent: 4. */
  readonly outlasts?: number;
  /** How many cases may run at once, each in its own namespace; absent: 1. A case that disturbs all others runs alone. */
  readonly atOnce?: number;
}

export interface OpenCluster extends AsyncDisposable {
  /** A user who may do everything in the namespace, and may delete the namespace. */
  readonly transport: Transport;
  readonly namespace: string;
  /** Makes the volume that the claim of this name gets. Absent: the cluster has one for each claim. */
  readonly volumeFor?: (claim: string) => Promise<void>;
  /** A user whose Role allows reading this namespace and no other. */
  readonly confined: Transport;
  /**
   * Makes every version before this moment unreadable. On a real server: compacts etcd, and restarts the API server, because
   * its watch cache would still remember.
   */
  readonly expire: () => Promise<void>;
}

export const HOLD = "longshore.dev/unrecorded";
export const STRATEGIC = "application/strategic-merge-patch+json";
export const METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
export const METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/** The commands of pods in these tests. A cluster without processes finds a pod's script by its command. */
export const COMMANDS = {
  succeed: ["sh", "-c", "echo done; exit 0"],
  fail: ["sh", "-c", "echo sorry; exit 3"],
  /** Runs until it is told to end. */
  runOn: ["sh", "-c", "trap 'exit 143' TERM; echo running; sleep 600 & wait"],
  /** Says something after it was told to end. */
  lastWords: ["sh", "-c", "trap 'echo last words; sleep 2; exit 1' TERM; echo running; sleep 600 & wait"],
  outlast: (seconds: number): readonly string[] => ["sh", "-c", `echo running; sleep ${seconds}; exit 0`],
} as const;

export interface Raw {
  readonly kind?: string;
  readonly apiVersion?: string;
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly resourceVersion: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly finalizers?: readonly string[];
    readonly deletionTimestamp?: string;
    readonly ownerReferences?: readonly { readonly uid: string }[];
  };
  readonly spec?: { readonly ttlSecondsAfterFinished?: number; readonly suspend?: boolean; readonly template?: unknown };
  readonly status?: {
    readonly phase?: string;
    readonly active?: number;
    readonly failed?: number;
    readonly completedIndexes?: string;
    readonly failedIndexes?: string;
    readonly startTime?: string;
    readonly used?: Readonly<Record<string, string>>;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly lastTransitionTime?: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly state?: { readonly waiting?: { readonly reason?: string }; readonly terminated?: { readonly exitCode?: number } };
    }[];
  };
  readonly reason?: string;
  readonly message?: string;
}

export interface RawList {
  readonly kind: string;
  readonly metadata: { readonly resourceVersion: string; readonly continue?: string };
  readonly items: readonly Raw[];
}

export interface WatchEvent {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK" | "ERROR";
  readonly object: Raw & { readonly code?: number };
}

export type Body = (t: Test, hand: Client, cluster: OpenCluster) => Promise<void>;

export interface Cases {
  test(sentence: string, body: Body): void;
  /**
   * For cases whose pods must run their commands. If the cluster runs no processes, the test says that the case was not called.
   */
  testWithProcesses(sentence: string, body: Body): void;
  /** For cases that disturb every namespace: they run when the others have ended. */
  testAlone(sentence: string, body: Body): void;
  /** Resolves when all cases have ended. */
  settled(): Promise<void>;
}

export function casesOf(t: Test, it: Conforming): Cases {
  t.setTimeout(900_000);
  t.jobs = it.atOnce ?? 1;
  const running: Promise<unknown>[] = [];
  const alone: (() => Promise<unknown>)[] = [];
  const call = (sentence: string, body: Body): Promise<unknown> =>
    t.test(sentence, { buffered: true, timeout: 600_000 }, async (t) => {
      await using cluster = await it.open();
      await body(t, clientOf(cluster, it), cluster);
    });
  const test = (sentence: string, body: Body): void => void running.push(call(sentence, body));
  return {
    test,
    testWithProcesses: (sentence, body) => {
      if (it.pods === "processes") test(sentence, body);
      else t.comment(`not called, because pods run no processes on ${it.name}: ${sentence}`);
    },
    testAlone: (sentence, body) => void alone.push(() => call(sentence, body)),
    settled: async () => {
      await Promise.all(running);
      for (const it of alone) await it();
    },
  };
}

const WATCH_SECONDS = 20;
const ROUNDS_MOST = 6;
const forever = new AbortController().signal;

export interface Client {
  readonly jobs: string;
  readonly pods: string;
  readonly events: string;
  readonly namespace: string;
  send(method: ApiRequest["method"], path: string, more?: Omit<ApiRequest, "method" | "path">): Promise<ApiAnswer>;
  /** Throws if the answer is not 2xx: for steps that a test needs and does not examine. */
  must(method: ApiRequest["method"], path: string, more?: Omit<ApiRequest, "method" | "path">): Promise<Raw>;
  createJob(name: string, command: readonly string[], more?: object): Promise<Raw>;
  /** Makes a Job whose pod no node can take: it stays Pending, on every cluster. Waits until that pod is counted. */
  createUnplaced(name: string, more?: object): Promise<Raw>;
  deleteJob(name: string, propagationPolicy: string): Promise<ApiAnswer>;
  release(name: string, more?: object): Promise<ApiAnswer>;
  job(name: string): Promise<Raw>;
  list(path: string, query?: string): Promise<RawList>;
  podsOf(job: Raw): Promise<readonly Raw[]>;
  /** Lists and watches until the objects satisfy the condition; throws a sentence if they never do. */
  untilAll(what: string, path: string, query: string, enough: (objects: readonly Raw[]) => boolean): Promise<readonly Raw[]>;
  untilJob(what: string, name: string, enough: (job: Raw) => boolean): Promise<Raw>;
  untilJobGone(name: string): Promise<void>;
  untilPods(what: string, job: Raw, enough: (pods: readonly Raw[]) => boolean): Promise<readonly Raw[]>;
  /** Gives the controllers time to act: waits until another Job was created and has ended. */
  letOthersWork(): Promise<void>;
  watch(
    path: string,
    query: string,
    signal?: AbortSignal,
  ): Promise<{ readonly status: number; readonly body: unknown; readonly events: AsyncIterable<WatchEvent> }>;
}

export const condition = (job: Raw, type: string): string | undefined =>
  job.status?.conditions?.find((it) => it.type === type && it.status === "True")?.reason;
export const isFinished = (job: Raw): boolean =>
  condition(job, "Complete") !== undefined || condition(job, "Failed") !== undefined;
export const isDeleting = (object: Raw): boolean => object.metadata.deletionTimestamp !== undefined;
export const finalizers = (object: Raw): readonly string[] => object.metadata.finalizers ?? [];
export const onlyHeld = (job: Raw): boolean => isDeleting(job) && finalizers(job).join() === HOLD;

const NOWHERE = { nodeSelector: { "example.com/nowhere": "yes" } };

export function manifest(
  name: string,
  image: string,
  command: readonly string[],
  more: object = {},
  podMore: object = {},
): object {
  const containers = [{ name: "main", image, command }];
  const pod = { restartPolicy: "Never", terminationGracePeriodSeconds: 5, containers, ...podMore };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, finalizers: [HOLD], labels: { conformance: "yes" } },
    spec: {
      backoffLimit: 0,
      podReplacementPolicy: "Failed",
      template: { metadata: { labels: { conformance: "yes" } }, spec: pod },
      ...more,
    },
  };
}

export function clientOf(
  { transport, namespace }: Pick<OpenCluster, "transport" | "namespace">,
  { image }: Pick<Conforming, "image">,
): Client {
  const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const pods = `/api/v1/namespaces/${namespace}/pods`;
  let others = 0;

  const send: Client["send"] = (method, path, more = {}) => transport.send({ method, path, ...more }, forever);

  const must: Client["must"] = async (method, path, more) => {
    const { status, body } = await send(method, path, more);
    if (status >= 300) throw new Error(`${method} ${path} was answered ${status}: ${JSON.stringify(body)}`);
    return body as Raw;
  };

  const list: Client["list"] = async (path, query = "") => (await must("GET", `${path}?${query}`)) as unknown as RawList;

  const watch: Client["watch"] = async (path, query, signal = forever) => {
    const stream = await transport.open({ method: "GET", path: `${path}?watch=true&${query}` }, signal);
    return { status: stream.status, body: stream.body, events: parsed(stream.lines) };
  };

  const untilAll: Client["untilAll"] = async (what, path, query, enough) => {
    for (let round = 0; round < ROUNDS_MOST; round++) {
      const { items, metadata } = await list(path, query);
      const seen = new Map(items.map((it) => [it.metadata.uid, it]));
      if (enough([...seen.values()])) return [...seen.values()];
      const { events } = await watch(
        path,
        `${query}&resourceVersion=${metadata.resourceVersion}&timeoutSeconds=${WATCH_SECONDS}`,
      );
      for await (const { type, object } of events) {
        if (type === "DELETED") seen.delete(object.metadata.uid);
        else if (type === "ADDED" || type === "MODIFIED") seen.set(object.metadata.uid, object);
        if (enough([...seen.values()])) return [...seen.values()];
      }
    }
    const { items } = await list(path, query);
    throw new Error(`nobody saw ${what} in ${ROUNDS_MOST * WATCH_SECONDS} s; there is: ${JSON.stringify(items)}`);
  };

  const untilJob: Client["untilJob"] = async (what, name, enough) => {
    const found = await untilAll(what, jobs, `fieldSelector=metadata.name%3D${name}`, ([it]) => it !== undefined && enough(it));
    const [job] = found;
    if (job === undefined) throw new Error(`${name} is gone`);
    return job;
  };

  const createJob: Client["createJob"] = (name, command, more) =>
    must("POST", jobs, { body: manifest(name, image, command, more) });
  const release: Client["release"] = (name, more = {}) =>
    send("PATCH", `${jobs}/${name}`, {
      contentType: STRATEGIC,
      body: { metadata: { "$deleteFromPrimitiveList/finalizers": [HOLD] }, ...more },
    });
  const byOwner = (job: Raw): string => `labelSelector=batch.kubernetes.io%2Fcontroller-uid%3D${job.metadata.uid}`;

  return {
    jobs,
    pods,
    events: `/api/v1/namespaces/${namespace}/events`,
    namespace: `/api/v1/namespaces/${namespace}`,
    send,
    must,
    list,
    watch,
    untilAll,
    untilJob,
    createJob,
    createUnplaced: async (name, more) => {
      await must("POST", jobs, { body: manifest(name, image, COMMANDS.succeed, more, NOWHERE) });
      return await untilJob("its pod counted", name, (it) => it.status?.active === 1);
    },
    release,
    deleteJob: (name, propagationPolicy) => send("DELETE", `${jobs}/${name}`, { body: { propagationPolicy } }),
    job: (name) => must("GET", `${jobs}/${name}`),
    podsOf: async (job) => (await list(pods, byOwner(job))).items,
    untilJobGone: async (name) => {
      await untilAll(`${name} gone`, jobs, `fieldSelector=metadata.name%3D${name}`, (found) => found.length === 0);
    },
    untilPods: (what, job, enough) => untilAll(what, pods, byOwner(job), enough),
    letOthersWork: async () => {
      const name = `other-${others++}`;
      await createJob(name, COMMANDS.succeed);
      await untilJob("another Job's end", name, isFinished);
    },
  };
}

export async function* parsed(lines: AsyncIterable<string>): AsyncGenerator<WatchEvent> {
  for await (const line of lines) if (line !== "") yield JSON.parse(line) as WatchEvent;
}

/**
 * Jobs of one container on a test's cluster, and waits for the state of their pod: by a watch, not by asking again and again.
 *
 * The failure this prevents: a test of pods that passes because the machine was fast, or hangs because it was slow.
 */
import { BUSYBOX } from "../../harness/kubernetes/images.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import type { TestCluster } from "../../harness/kubernetes/kubernetes.ts";

export interface JobOptions {
  readonly name: string;
  readonly command: readonly string[];
  readonly image?: string;
  readonly limits?: Readonly<Record<string, string>>;
  /** The size of a volume at /scratch. */
  readonly scratch?: string;
  readonly pullSecret?: string;
  /** True if the Job has Longshore's finalizer. */
  readonly hold?: boolean;
}

interface Metadata {
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
}

export interface Job {
  readonly metadata: Metadata;
  readonly status: { readonly active?: number; readonly conditions?: readonly object[] };
}

export interface Pod {
  readonly metadata: Metadata;
  readonly status: {
    readonly phase: string;
    readonly reason?: string;
    readonly message?: string;
    readonly containerStatuses?: readonly { readonly state: ContainerState }[];
  };
}

interface ContainerState {
  readonly waiting?: { readonly reason: string; readonly message?: string };
  readonly terminated?: { readonly exitCode: number; readonly reason: string };
}

export interface Jobs {
  create(options: JobOptions): Promise<void>;
  get(name: string): Promise<Job | undefined>;
  remove(name: string, propagation: "Background" | "Foreground"): Promise<void>;
  /** Resolves to the first state for which `is` returns true. */
  jobUntil(name: string, is: (job: Job) => boolean): Promise<Job>;
  podUntil(job: string, is: (pod: Pod) => boolean): Promise<Pod>;
  podGone(job: string): Promise<unknown>;
  /** Makes a Secret of credentials for a registry. */
  pullWith(name: string, dockerConfig: string): Promise<void>;
}

const UNTIL_WITHIN_MS = 120_000;

export async function jobsOf(cluster: TestCluster): Promise<Jobs> {
  const namespace = await cluster.namespace();
  const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const forever = new AbortController().signal;
  const post = async (path: string, body: object): Promise<void> => {
    const answer = await cluster.admin.send({ method: "POST", path, body }, forever);
    if (answer.status !== 201) throw new Error(`POST ${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  };

  const podsOf = (job: string): string =>
    `/api/v1/namespaces/${namespace}/pods?labelSelector=batch.kubernetes.io%2Fjob-name%3D${job}`;

  return {
    podUntil: (job, is) => first(cluster.admin, podsOf(job), (pod: Pod | undefined) => pod !== undefined && is(pod) && pod),
    podGone: (job) => first(cluster.admin, podsOf(job), (pod) => pod === undefined),
    jobUntil: (name, is) =>
      first(
        cluster.admin,
        `${jobs}?fieldSelector=metadata.name%3D${name}`,
        (job: Job | undefined) => job !== undefined && is(job) && job,
      ),
    create: (options) => post(jobs, manifest(namespace, options)),
    get: async (name) => {
      const { status, body } = await cluster.admin.send({ method: "GET", path: `${jobs}/${name}` }, forever);
      return status === 404 ? undefined : (body as Job);
    },
    remove: async (name, propagationPolicy) => {
      await cluster.admin.send({ method: "DELETE", path: `${jobs}/${name}`, body: { propagationPolicy } }, forever);
    },
    pullWith: (name, dockerConfig) =>
      post(`/api/v1/namespaces/${namespace}/secrets`, {
        apiVersion: "v1",
        kind: "Secret",
        metadata: { name },
        type: "kubernetes.io/dockerconfigjson",
        stringData: { ".dockerconfigjson": dockerConfig },
      }),
  };
}

/**
 * Resolves to the first result of `is` that is not false. `is` gets the only object of a list, or undefined if it was deleted.
 */
async function first<O, R>(api: Transport, path: string, is: (it: O | undefined) => R | false): Promise<R> {
  let last: O | undefined;
  const late = AbortSignal.timeout(UNTIL_WITHIN_MS);
  try {
    const { body } = await api.send({ method: "GET", path }, late);
    const list = body as { readonly metadata: { readonly resourceVersion: string }; readonly items: readonly O[] };
    last = list.items[0];
    const now = is(last);
    if (now !== false) return now;
    const watch = `${path}&watch=1&resourceVersion=${list.metadata.resourceVersion}`;
    for await (const line of (await api.open({ method: "GET", path: watch }, late)).lines) {
      const { type, object } = JSON.parse(line) as { readonly type: string; readonly object: O };
      last = object;
      const then = is(type === "DELETED" ? undefined : object);
      if (then !== false) return then;
    }
  } catch (error) {
    throw new Error(`${path} did not become what was waited for; at last: ${JSON.stringify(last)}`, { cause: error });
  }
  throw new Error(`the watch of ${path} ended; at last: ${JSON.stringify(last)}`);
}

function manifest(namespace: string, { name, command, image = BUSYBOX, limits, scratch, pullSecret, hold }: JobOptions): object {
  const container = {
    name: "main",
    image,
    command,
    ...(limits && { resources: { limits } }),
    ...(scratch !== undefined && { volumeMounts: [{ name: "scratch", mountPath: "/scratch" }] }),
  };
  const pod = {
    restartPolicy: "Never",
    terminationGracePeriodSeconds: 1,
    containers: [container],
    ...(scratch !== undefined && { volumes: [{ name: "scratch", emptyDir: { sizeLimit: scratch } }] }),
    ...(pullSecret !== undefined && { imagePullSecrets: [{ name: pullSecret }] }),
  };
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, namespace, ...(hold === true && { finalizers: ["longshore.dev/unrecorded"] }) },
    spec: { backoffLimit: 0, template: { spec: pod } },
  };
}

/**
 * A running cluster, opened for the conformance suite: a namespace for each case, and nothing left of it afterwards.
 *
 * The failure this prevents: a Job that a failed case left held, which would keep its namespace Terminating for ever.
 */
import type { OpenCluster } from "@longshore/kubernetes/conformance.ts";
import type { TestCluster } from "../harness/kubernetes/kubernetes.ts";
import { type KubernetesVersion, VERSIONS } from "../harness/kubernetes/programs.ts";

const forever = new AbortController().signal;

export async function openIn(cluster: TestCluster): Promise<OpenCluster> {
  const namespace = await cluster.namespace("conformance");
  const confined = await cluster.as(await cluster.token(namespace, "longshore-launcher"));
  return {
    transport: cluster.admin,
    namespace,
    confined,
    expire: () => cluster.forget(),
    [Symbol.asyncDispose]: () => clear(cluster, namespace),
  };
}

async function clear({ admin }: TestCluster, namespace: string): Promise<void> {
  const jobs = `/apis/batch/v1/namespaces/${namespace}/jobs`;
  const { body } = await admin.send({ method: "GET", path: jobs }, forever);
  const { items = [] } = body as { readonly items?: readonly { readonly metadata: { readonly name: string } }[] };
  await admin.send({ method: "DELETE", path: `/api/v1/namespaces/${namespace}` }, forever);
  for (const { metadata } of items) {
    const released = { metadata: { finalizers: null } };
    const path = `${jobs}/${metadata.name}`;
    await admin.send({ method: "PATCH", path, contentType: "application/merge-patch+json", body: released }, forever);
  }
}

/** As the environment asks; nothing is the harness's own choice. */
export function askedVersion(): { readonly version?: KubernetesVersion } {
  const asked = process.env["LONGSHORE_KUBERNETES_VERSION"] ?? "";
  if (asked === "") return {};
  const version = VERSIONS.find((it) => it === asked);
  if (version === undefined)
    throw new Error(`LONGSHORE_KUBERNETES_VERSION is ${asked}; the versions that can be built are ${VERSIONS.join(", ")}.`);
  return { version };
}

export function only(clusters: readonly TestCluster[]): TestCluster {
  const [cluster] = clusters;
  if (cluster === undefined) throw new Error("no cluster was started");
  return cluster;
}

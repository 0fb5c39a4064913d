/**
 * A running cluster for the conformance suite: a namespace for each case, and nothing left of it afterwards.
 *
 * The failure this prevents: a failed case that leaves a Job with its hold, which keeps the Job's namespace Terminating for
 * ever.
 */
import type { OpenCluster } from "@longshore/kubernetes/testing/conformance.ts";
import type { PrivateCluster } from "../../harness/kubernetes/kubernetes.ts";
import { VOLUMES_PATH, volumeByHand } from "../../harness/kubernetes/volume-by-hand.ts";

const forever = new AbortController().signal;

export async function openIn(cluster: PrivateCluster): Promise<OpenCluster> {
  const namespace = await cluster.namespace("conformance");
  const confined = await cluster.as(await cluster.token(namespace, "longshore-launcher"));
  return {
    transport: cluster.admin,
    namespace,
    confined,
    volumeFor: (claim) => volumeFor(cluster, namespace, claim),
    expire: () => cluster.forget(),
    [Symbol.asyncDispose]: () => clear(cluster, namespace),
  };
}

/** These clusters make no volumes by themselves: this one lies on the node's disk. */
export async function volumeFor({ admin }: Pick<PrivateCluster, "admin">, namespace: string, claim: string): Promise<void> {
  const name = `${namespace}-${claim}`;
  const body = volumeByHand({ name, for: { namespace, claim } });
  await admin.send({ method: "POST", path: VOLUMES_PATH, body }, forever);
}

async function clear({ admin }: PrivateCluster, namespace: string): Promise<void> {
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

/**
 * A control plane without nodes, lent to several test files at the same time, and its administrator.
 *
 * The failure this prevents: a file that ends its loan of the cluster before its last test.
 */
import type { Test } from "tap";
import { type Admin, adminOf, only } from "./admin.ts";
import { kubernetes } from "./kubernetes.ts";
import type { TestCluster } from "./test-cluster.ts";

export interface LentPlane {
  readonly cluster: TestCluster;
  readonly admin: Admin;
}

/** `t` is the file's own: it may take as long as its waits, and the loan ends with it. */
export async function lentPlane(t: Pick<Test, "setTimeout" | "teardown">): Promise<LentPlane> {
  t.setTimeout(0); // each wait of the harness has its own bound
  const kube = await kubernetes({ nodes: "none", shared: true });
  t.teardown(() => kube[Symbol.asyncDispose]());
  const cluster = only(kube.clusters);
  return { cluster, admin: adminOf(cluster.admin) };
}

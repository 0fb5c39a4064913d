/**
 * Deeds of other people and programs in a cluster, as data, for the simulation and for tests.
 *
 * If its object is gone, a deed does nothing: the simulation does not check that before.
 */
import { deleteObject, type Propagation } from "../server/delete.ts";
import type { Network } from "./network.ts";
import { type ApiObject, withFinalizers } from "../objects.ts";
import { createNamespace, type Writer } from "../server/write.ts";

interface Named {
  readonly namespace: string;
  readonly name: string;
}

export type Deed =
  /** An administrator removes finalizers of a stuck Job. Without `finalizer`: all of them. */
  | ({ readonly kind: "strip finalizers"; readonly finalizer?: string } & Named)
  | ({ readonly kind: "delete Job"; readonly propagation: Propagation } & Named)
  | ({ readonly kind: "delete pod"; readonly graceSeconds?: number } & Named)
  | ({ readonly kind: "remove label"; readonly label: string } & Named)
  | { readonly kind: "delete namespace"; readonly name: string }
  | { readonly kind: "create namespace"; readonly name: string }
  /** etcd forgets its history: every watch and page must begin anew. */
  | { readonly kind: "compact" }
  | { readonly kind: "cut streams" }
  | { readonly kind: "silence streams" };

export function meddle({ store, clock }: Writer, network: Network, deed: Deed): void {
  const job = (it: Named, work: (object: ApiObject) => void): void => {
    const object = store.get("jobs", it.namespace, it.name);
    if (object !== undefined) work(object);
  };
  switch (deed.kind) {
    case "strip finalizers":
      return job(deed, (it) => {
        const left = deed.finalizer === undefined ? [] : (it.metadata.finalizers ?? []).filter((name) => name !== deed.finalizer);
        store.replace("jobs", withFinalizers(it, left));
      });
    case "delete Job":
      return job(deed, (it) => {
        deleteObject(store, "jobs", it, { propagation: deed.propagation }, clock.now());
      });
    case "remove label":
      return job(deed, (it) => {
        const { [deed.label]: _, ...labels } = it.metadata.labels ?? {};
        store.replace("jobs", { ...it, metadata: { ...it.metadata, labels } });
      });
    case "delete pod": {
      const pod = store.get("pods", deed.namespace, deed.name);
      if (pod !== undefined) deleteObject(store, "pods", pod, { graceSeconds: deed.graceSeconds }, clock.now());
      return;
    }
    case "delete namespace": {
      const namespace = store.get("namespaces", "", deed.name);
      if (namespace !== undefined) deleteObject(store, "namespaces", namespace, {}, clock.now());
      return;
    }
    case "create namespace":
      if (store.get("namespaces", "", deed.name) === undefined) createNamespace({ store, clock }, deed.name);
      return;
    case "compact":
      return store.compact();
    case "cut streams":
      return network.breakStreams("cut");
    case "silence streams":
      return network.breakStreams("silent");
  }
}

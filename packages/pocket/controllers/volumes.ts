/**
 * Claims of volumes: what keeps one from going, and what each pod has of its own.
 *
 * The bug this prevents: a product that deletes a claim and believes that it is gone. A real cluster keeps it as long as any pod
 * object that ever had a node mounts it, also a pod that has ended.
 */
import { pick } from "./delays.ts";
import type { Parts } from "./parts.ts";
import {
  type ApiObject, apiVersionOf, CLAIM_PROTECTION, fieldsIn, holds, isDeleting, type PodObject, timestamp, withoutFinalizer,
} from "../objects.ts"; // biome-ignore format: a list of names
import type { Change, Store } from "../server/store.ts";
import { createUid } from "../server/write.ts";

/** The claims that a pod mounts. A volume of the pod's own is a claim named after both. */
export const claimsOf = ({ spec, metadata }: PodObject): readonly string[] =>
  (spec.volumes ?? []).flatMap(({ name, persistentVolumeClaim, ephemeral }) =>
    persistentVolumeClaim !== undefined
      ? [persistentVolumeClaim.claimName]
      : ephemeral !== undefined
        ? [`${metadata.name}-${name}`]
        : [],
  );

/** Returns why no node can take the pod yet, in the scheduler's words. */
export function claimMissing(store: Store, pod: PodObject): string | undefined {
  const { namespace = "" } = pod.metadata;
  for (const name of claimsOf(pod)) {
    const claim = store.get("persistentvolumeclaims", namespace, name);
    if (claim === undefined) return `persistentvolumeclaim ${JSON.stringify(name)} not found`;
    if (isDeleting(claim)) return `persistentvolumeclaim ${JSON.stringify(name)} is being deleted`;
  }
  return undefined;
}

export function startVolumes({ store, clock, agenda, delays }: Parts): void {
  const podsIn = (namespace: string): readonly PodObject[] => store.list("pods", namespace) as readonly PodObject[];

  function unprotect(uid: string): void {
    const claim = store.exists(uid);
    if (claim === undefined || !isDeleting(claim) || !holds(claim, CLAIM_PROTECTION)) return;
    const { namespace = "", name } = claim.metadata;
    const isUsed = podsIn(namespace).some((pod) => pod.spec.nodeName !== undefined && claimsOf(pod).includes(name));
    if (!isUsed) store.replace("persistentvolumeclaims", withoutFinalizer(claim, CLAIM_PROTECTION));
  }

  const soon = ({ metadata: { uid } }: ApiObject): void =>
    agenda.soon(`claim:${uid}`, pick(delays.collectorMs, clock), () => unprotect(uid));

  /** Makes the claims of the volumes that are this pod's own, and that go with it. */
  function makeOwn(uid: string): void {
    const pod = store.exists(uid) as PodObject | undefined;
    if (pod === undefined || isDeleting(pod)) return;
    const { name: podName, namespace = "" } = pod.metadata;
    for (const { name, ephemeral } of pod.spec.volumes ?? []) {
      const claimName = `${podName}-${name}`;
      if (ephemeral === undefined || store.get("persistentvolumeclaims", namespace, claimName) !== undefined) continue;
      const { metadata, spec } = ephemeral.volumeClaimTemplate;
      const owner = { apiVersion: "v1", kind: "Pod", name: podName, uid, controller: true, blockOwnerDeletion: true };
      store.insert("persistentvolumeclaims", {
        apiVersion: apiVersionOf("persistentvolumeclaims"),
        kind: "PersistentVolumeClaim",
        metadata: {
          ...metadata,
          name: claimName,
          namespace,
          uid: createUid({ store, clock }),
          resourceVersion: "",
          creationTimestamp: timestamp(clock.now()),
          finalizers: [CLAIM_PROTECTION],
          ownerReferences: [owner],
        },
        spec: fieldsIn(spec),
        status: { phase: "Bound" },
      });
    }
  }

  function hear({ resource, type, object }: Change): void {
    if (resource === "persistentvolumeclaims" && type !== "DELETED" && isDeleting(object)) soon(object);
    if (resource !== "pods") return;
    const { uid, namespace = "" } = object.metadata;
    if (type === "ADDED" && (object as PodObject).spec.volumes?.some(({ ephemeral }) => ephemeral !== undefined))
      agenda.soon(`own:${uid}`, pick(delays.collectorMs, clock), () => makeOwn(uid));
    if (type !== "DELETED") return;
    for (const name of claimsOf(object as PodObject)) {
      const claim = store.get("persistentvolumeclaims", namespace, name);
      if (claim !== undefined && isDeleting(claim)) soon(claim);
    }
  }

  store.listen(hear);
}

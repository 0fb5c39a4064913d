/**
 * The effect of a DELETE on an object: it is removed, or it is marked and waits for its finalizers and its grace.
 *
 * The bug this prevents: believing that a deleted Job is gone, or that its pods are. A Job with a hold stays, and the finalizer
 * that the propagation policy adds or removes decides whether its pods go.
 */
import type { ApiObject, PodObject, Resource } from "../objects.ts";
import { FOREGROUND, finishedPhase, holds, isDeleting, ORPHAN, timestamp, withFinalizers } from "../objects.ts";
import type { Store } from "./store.ts";

export type Propagation = "Background" | "Foreground" | "Orphan";

export interface DeleteOptions {
  readonly propagation?: Propagation | undefined;
  readonly graceSeconds?: number | undefined;
}

/** Returns the object after the call; `gone` if this call removed it. */
export function deleteObject(
  store: Store,
  resource: Resource,
  object: ApiObject,
  options: DeleteOptions,
  nowMs: number,
): { readonly object: ApiObject; readonly gone: boolean } {
  if (resource === "namespaces") return { object: terminate(store, object, nowMs), gone: false };
  const graceSeconds = resource === "pods" ? podGrace(object as PodObject, options.graceSeconds) : 0;
  const marked = mark(withFinalizers(object, finalizersAfter(resource, object, options.propagation)), graceSeconds, nowMs);
  if ((marked.metadata.finalizers ?? []).length === 0 && graceSeconds === 0) {
    return { object: store.remove(resource, object), gone: true };
  }
  if (same(marked, object)) return { object, gone: false };
  return { object: store.replace(resource, marked), gone: false };
}

/** Deleting again may shorten the grace, never lengthen it. */
function mark(object: ApiObject, graceSeconds: number, nowMs: number): ApiObject {
  const { metadata } = object;
  if (isDeleting(object) && graceSeconds >= (metadata.deletionGracePeriodSeconds ?? 0)) return object;
  return {
    ...object,
    metadata: {
      ...metadata,
      ...(metadata.generation === undefined || isDeleting(object) ? {} : { generation: metadata.generation + 1 }),
      deletionTimestamp: timestamp(nowMs + graceSeconds * 1000),
      deletionGracePeriodSeconds: graceSeconds,
    },
  };
}

function same(a: ApiObject, b: ApiObject): boolean {
  return (
    a.metadata.deletionTimestamp === b.metadata.deletionTimestamp &&
    a.metadata.deletionGracePeriodSeconds === b.metadata.deletionGracePeriodSeconds &&
    (a.metadata.finalizers ?? []).join() === (b.metadata.finalizers ?? []).join()
  );
}

/** A pod without a node, or an ended pod, needs no grace. */
function podGrace(pod: PodObject, asked: number | undefined): number {
  if (pod.spec.nodeName === undefined || finishedPhase(pod)) return 0;
  const standing = pod.metadata.deletionGracePeriodSeconds;
  const wanted = asked ?? pod.spec.terminationGracePeriodSeconds ?? 30;
  return standing === undefined ? wanted : Math.min(standing, wanted);
}

/**
 * Removes both of the garbage collector's finalizers and adds the one that the policy wants, also on an object that is being
 * deleted already: that is how a foreground DELETE upgrades a background one.
 */
function finalizersAfter(resource: Resource, object: ApiObject, asked: Propagation | undefined): readonly string[] {
  const others = (object.metadata.finalizers ?? []).filter((it) => it !== FOREGROUND && it !== ORPHAN);
  const policy = asked ?? standing(object) ?? (resource === "jobs" ? "Orphan" : "Background");
  if (policy === "Orphan") return [...others, ORPHAN];
  return policy === "Foreground" ? [...others, FOREGROUND] : others;
}

function standing(object: ApiObject): Propagation | undefined {
  if (holds(object, ORPHAN)) return "Orphan";
  return holds(object, FOREGROUND) ? "Foreground" : undefined;
}

/** Marks a namespace, which the namespace controller empties and then removes. */
function terminate(store: Store, namespace: ApiObject, nowMs: number): ApiObject {
  if (isDeleting(namespace)) return namespace;
  return store.replace("namespaces", {
    ...namespace,
    metadata: { ...namespace.metadata, deletionTimestamp: timestamp(nowMs) },
    status: { phase: "Terminating" },
  });
}

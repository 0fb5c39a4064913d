/**
 * Garbage collection, TTL and the end of namespaces.
 *
 * The bug this prevents: a cluster that cleans up more than a real one. A held object keeps its dependents too, unless it was
 * deleted in the foreground; a namespace waits for every hold in it.
 */
import { pick } from "./delays.ts";
import type { Parts } from "./parts.ts";
import { deleteObject } from "../server/delete.ts";
import type { ApiObject, JobObject, Resource } from "../objects.ts";
import { FOREGROUND, finishedJob, holds, isDeleting, KINDS, ORPHAN, RESOURCES, timestamp, withoutFinalizer } from "../objects.ts";
import type { Change } from "../server/store.ts";

/**
 * The order in which a namespace is emptied. Since Kubernetes 1.33 the pods go first, so that a Job may still count them as
 * failed. Before, a Job could go before its pods.
 */
export type Emptying = "pods first" | "all at once";

const IN_NAMESPACES = RESOURCES.filter((it) => KINDS[it].namespaced);

export function startCollector({ store, clock, agenda, delays }: Parts, emptying: Emptying): void {
  const soon = (key: string, work: () => void): void => agenda.soon(key, pick(delays.collectorMs, clock), work);

  function hear(change: Change): void {
    const { object, resource } = change;
    const { uid, namespace } = object.metadata;
    if (change.type === "DELETED" || isDeleting(object)) soon(`collect:${uid}`, () => collect(resource, object));
    for (const owner of object.metadata.ownerReferences ?? []) {
      const standing = store.exists(owner.uid);
      if (standing === undefined && change.type !== "DELETED") soon(`collect:${owner.uid}`, () => abandon(owner.uid));
      else if (standing !== undefined && isDeleting(standing)) soon(`collect:${owner.uid}`, () => collectByUid(owner.uid));
    }
    if (resource === "jobs") watchTtl(change.type === "DELETED" ? undefined : (object as JobObject), uid);
    if (resource === "namespaces" && isDeleting(object)) soon(`empty:${object.metadata.name}`, () => empty(object.metadata.name));
    const space = namespace === undefined ? undefined : store.get("namespaces", "", namespace);
    if (space !== undefined && isDeleting(space)) soon(`empty:${space.metadata.name}`, () => empty(space.metadata.name));
  }

  function collectByUid(uid: string): void {
    const object = store.exists(uid);
    const resource = RESOURCES.find((it) => KINDS[it].kind === object?.kind);
    if (object !== undefined && resource !== undefined) collect(resource, object);
    else abandon(uid);
  }

  function collect(resource: Resource, seen: ApiObject): void {
    const { uid } = seen.metadata;
    const object = store.exists(uid);
    if (object === undefined) return abandon(uid);
    if (!isDeleting(object)) return;
    if (holds(object, ORPHAN)) orphan(resource, object);
    else if (holds(object, FOREGROUND)) foreground(resource, object);
  }

  /** The owner is gone, so dependents without another owner go too, and theirs: a Job that is collected leaves no pods behind. */
  function abandon(uid: string): void {
    for (const { resource, object } of store.dependents(uid)) {
      const owned = (object.metadata.ownerReferences ?? []).some((it) => store.exists(it.uid) !== undefined);
      const isUnderWay = holds(object, ORPHAN) || holds(object, FOREGROUND);
      if (!owned) deleteObject(store, resource, object, isUnderWay ? {} : { propagation: "Background" }, clock.now());
    }
  }

  function orphan(resource: Resource, owner: ApiObject): void {
    for (const dependent of store.dependents(owner.metadata.uid)) {
      const { ownerReferences: references = [], ...metadata } = dependent.object.metadata;
      const others = references.filter((it) => it.uid !== owner.metadata.uid);
      const next = others.length === 0 ? metadata : { ...metadata, ownerReferences: others };
      store.replace(dependent.resource, { ...dependent.object, metadata: next });
    }
    const after = store.exists(owner.metadata.uid);
    if (after !== undefined) store.replace(resource, withoutFinalizer(after, ORPHAN));
  }

  function foreground(resource: Resource, owner: ApiObject): void {
    const dependents = store.dependents(owner.metadata.uid);
    for (const { resource: kind, object } of dependents) {
      if (!isDeleting(object)) deleteObject(store, kind, object, {}, clock.now());
    }
    if (store.dependents(owner.metadata.uid).length > 0) return;
    const after = store.exists(owner.metadata.uid);
    if (after !== undefined) store.replace(resource, withoutFinalizer(after, FOREGROUND));
  }

  function watchTtl(job: JobObject | undefined, uid: string): void {
    const finish = job === undefined ? undefined : finishedJob(job)?.lastTransitionTime;
    const seconds = job?.spec.ttlSecondsAfterFinished;
    if (job === undefined || finish === undefined || seconds === undefined || isDeleting(job)) return agenda.cancel(`ttl:${uid}`);
    agenda.at(`ttl:${uid}`, Math.max(clock.now(), Date.parse(finish) + seconds * 1000) + pick(delays.collectorMs, clock), () => {
      const current = store.exists(uid);
      if (current !== undefined && !isDeleting(current)) {
        deleteObject(store, "jobs", current, { propagation: "Foreground" }, clock.now());
      }
    });
  }

  function empty(name: string): void {
    const namespace = store.get("namespaces", "", name);
    if (namespace === undefined || !isDeleting(namespace)) return;
    const waits = emptying === "pods first" && store.count("pods", name) > 0;
    for (const resource of waits ? (["pods"] as const) : IN_NAMESPACES) {
      for (const object of store.list(resource, name)) {
        if (!isDeleting(object)) deleteObject(store, resource, object, { propagation: "Background" }, clock.now());
      }
    }
    const left = IN_NAMESPACES.flatMap((it) => store.list(it, name));
    if (left.length === 0) {
      store.remove("namespaces", namespace);
      return;
    }
    const status = remaining(left, clock.now());
    if (JSON.stringify(status.conditions.map((it) => it.message)) !== messages(namespace))
      store.replace("namespaces", { ...namespace, status });
  }

  store.listen(hear);
}

const messages = (namespace: ApiObject): string => {
  const { conditions } = namespace.status as { readonly conditions?: readonly { readonly message: string }[] };
  return JSON.stringify((conditions ?? []).map((it) => it.message));
};

/** Names the objects that the namespace still waits for, in the words of the namespace controller. */
function remaining(left: readonly ApiObject[], nowMs: number) {
  const holders = left.flatMap((it) => it.metadata.finalizers ?? []);
  const kinds = left.map((it) => `${it.kind.toLowerCase()}s.`);
  const said = (words: readonly string[], what: string): string =>
    [...Map.groupBy(words, (it) => it)].map(([word, all]) => `${word} ${what} ${all.length} resource instances`).join(", ");
  const condition = (type: string, reason: string, message: string) => ({
    type,
    status: "True",
    reason,
    message,
    lastTransitionTime: timestamp(nowMs),
  });
  return {
    phase: "Terminating",
    conditions: [
      condition("NamespaceContentRemaining", "SomeResourcesRemain", `Some resources are remaining: ${said(kinds, "has")}`),
      ...(holders.length === 0
        ? []
        : [
            condition(
              "NamespaceFinalizersRemaining",
              "SomeFinalizersRemain",
              `Some content in the namespace has finalizers remaining: ${said(holders, "in")}`,
            ),
          ]),
    ],
  };
}

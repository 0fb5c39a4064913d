/**
 * The objects, one counter of versions, and the history that watches and stale reads are served from.
 *
 * The bug this prevents: a reader that sees a write without its version. Every change goes through `commit`, which gives the
 * object the next version, freezes it, has it kept on disk if there is one, adds the change to the history and tells all
 * listeners, in that order.
 */
import { type ApiObject, freeze, isDeleting, RESOURCES, type Resource } from "../objects.ts";

export interface Change {
  readonly version: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly resource: Resource;
  /** For DELETED: the object's last state, with the version of the deletion. */
  readonly object: ApiObject;
  readonly before?: ApiObject;
}

/** An object and its resource. */
export interface Kept {
  readonly resource: Resource;
  readonly object: ApiObject;
}

/** Keeps the objects when the process ends. Without a disk, they are in memory only. */
export interface Disk {
  /** The last version that was given to an object. */
  readonly version: number;
  /** The objects as they were at that version. */
  readonly objects: readonly Kept[];
  /** Returns when the change survives this process. Throws if it cannot be kept; the change has then not happened. */
  append(change: Change): void;
}

export interface Store {
  version(): number;
  /** The oldest version that a watch may start from. */
  oldest(): number;
  get(resource: Resource, namespace: string, name: string): ApiObject | undefined;
  count(resource: Resource, namespace: string): number;
  /** In the order of etcd: by namespace, then by name. */
  list(resource: Resource, namespace: string | undefined): readonly ApiObject[];
  /** The list at an earlier version; `undefined` once that version is compacted. */
  listAt(version: number, resource: Resource, namespace: string | undefined): readonly ApiObject[] | undefined;
  dependents(uid: string): readonly Kept[];
  exists(uid: string): ApiObject | undefined;
  insert<T extends ApiObject>(resource: Resource, object: T): T;
  /**
   * Writes the object's next version. If the object is under deletion and nothing holds it any more, the same write removes it.
   */
  replace<T extends ApiObject>(resource: Resource, next: T): T;
  remove(resource: Resource, object: ApiObject): ApiObject;
  /** The changes after a version; `undefined` once that version is compacted. */
  since(version: number): readonly Change[] | undefined;
  compact(): void;
  listen(listener: (change: Change) => void): () => void;
  /** Tells all listeners of every object as if it were new: they have heard nothing of the objects that the disk kept. */
  retell(): void;
}

/** How many changes a watch may be behind. */
const HISTORY_MOST = 20_000;
const NONE: ReadonlyMap<string, ApiObject> = new Map();
const scope = (object: ApiObject): string => object.metadata.namespace ?? "";

export function createStore(firstVersion: number, disk?: Disk): Store {
  const kept = new Map<Resource, Map<string, Map<string, ApiObject>>>(RESOURCES.map((it) => [it, new Map()]));
  const sorted = new Map<string, readonly ApiObject[]>();
  const byOwner = new Map<string, Map<string, Kept>>();
  const byUid = new Map<string, ApiObject>();
  const listeners = new Set<(change: Change) => void>();
  let history: Change[] = [];
  let version = firstVersion;
  let oldest = version;

  const space = (resource: Resource, namespace: string): ReadonlyMap<string, ApiObject> =>
    kept.get(resource)?.get(namespace) ?? NONE;

  function keep(resource: Resource, object: ApiObject, before: ApiObject | undefined): void {
    const spaces = kept.get(resource);
    const objects = spaces?.get(scope(object)) ?? new Map<string, ApiObject>();
    spaces?.set(scope(object), objects);
    objects.set(object.metadata.name, object);
    byUid.set(object.metadata.uid, object);
    if (before !== undefined) disown(before, resource, object);
    for (const owner of object.metadata.ownerReferences ?? []) {
      const owned = byOwner.get(owner.uid) ?? new Map<string, Kept>();
      byOwner.set(owner.uid, owned);
      owned.set(`${resource}/${object.metadata.uid}`, { resource, object });
    }
  }

  function disown(before: ApiObject, resource: Resource, after?: ApiObject): void {
    for (const owner of before.metadata.ownerReferences ?? []) {
      if (after?.metadata.ownerReferences?.some((it) => it.uid === owner.uid)) continue;
      const owned = byOwner.get(owner.uid);
      owned?.delete(`${resource}/${before.metadata.uid}`);
      if (owned?.size === 0) byOwner.delete(owner.uid);
    }
  }

  function commit<T extends ApiObject>(type: Change["type"], resource: Resource, given: T, before?: ApiObject): T {
    const next = version + 1;
    const object = freeze({ ...given, metadata: { ...given.metadata, resourceVersion: String(next) } });
    const change: Change =
      before === undefined ? { version: next, type, resource, object } : { version: next, type, resource, object, before };
    disk?.append(change);
    version = next;
    if (type === "DELETED") {
      kept.get(resource)?.get(scope(object))?.delete(object.metadata.name);
      byUid.delete(object.metadata.uid);
      disown(object, resource);
    } else {
      keep(resource, object, before);
    }
    sorted.delete(`${resource}/${scope(object)}`);
    sorted.delete(`${resource}/`);
    history.push(change);
    // Cuts half of the history at a time, so that the cost per write stays small.
    if (history.length > HISTORY_MOST * 2) {
      history = history.slice(-HISTORY_MOST);
      oldest = (history[0]?.version ?? version + 1) - 1;
    }
    for (const listener of listeners) listener(change);
    return object;
  }

  for (const { resource, object } of disk?.objects ?? []) keep(resource, freeze(object), undefined);

  function list(resource: Resource, namespace: string | undefined): readonly ApiObject[] {
    const key = `${resource}/${namespace ?? ""}`;
    const known = sorted.get(key);
    if (known !== undefined) return known;
    const found =
      namespace === undefined
        ? [...(kept.get(resource)?.values() ?? [])].flatMap((it) => [...it.values()])
        : [...space(resource, namespace).values()];
    found.sort(byKey);
    sorted.set(key, found);
    return found;
  }

  function since(from: number): readonly Change[] | undefined {
    if (from < oldest) return undefined;
    let low = 0;
    let high = history.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((history[middle]?.version ?? 0) <= from) low = middle + 1;
      else high = middle;
    }
    return history.slice(low);
  }

  function listAt(at: number, resource: Resource, namespace: string | undefined): readonly ApiObject[] | undefined {
    const undo = since(at);
    if (undo === undefined) return undefined;
    const then = new Map(list(resource, namespace).map((it) => [keyOf(it), it]));
    for (const change of undo.toReversed()) {
      if (change.resource !== resource || (namespace !== undefined && scope(change.object) !== namespace)) continue;
      if (change.before === undefined) then.delete(keyOf(change.object));
      else then.set(keyOf(change.object), change.before);
    }
    return [...then.values()].sort(byKey);
  }

  return {
    version: () => version,
    oldest: () => oldest,
    get: (resource, namespace, name) => space(resource, namespace).get(name),
    count: (resource, namespace) => space(resource, namespace).size,
    list,
    listAt,
    dependents: (uid) => [...(byOwner.get(uid)?.values() ?? [])],
    exists: (uid) => byUid.get(uid),
    insert: (resource, object) => commit("ADDED", resource, object),
    replace: (resource, next) => {
      const before = space(resource, scope(next)).get(next.metadata.name);
      if (before === undefined) throw new Error(`the pocket was about to write ${resource} ${next.metadata.name}, which is gone`);
      return isReleased(resource, next) ? commit("DELETED", resource, next, before) : commit("MODIFIED", resource, next, before);
    },
    remove: (resource, object) => commit("DELETED", resource, object, object),
    since,
    compact: () => {
      history = [];
      oldest = version;
    },
    listen: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    retell: () => {
      for (const resource of RESOURCES) {
        for (const object of list(resource, undefined)) {
          const change = { version, type: "ADDED", resource, object } as const;
          for (const listener of listeners) listener(change);
        }
      }
    },
  };
}

/**
 * True if nothing holds a deleted object any more. Finalizers hold any object, its grace holds a pod, and the namespace
 * controller holds a namespace.
 */
function isReleased(resource: Resource, object: ApiObject): boolean {
  if (resource === "namespaces" || !isDeleting(object)) return false;
  return (object.metadata.finalizers ?? []).length === 0 && object.metadata.deletionGracePeriodSeconds === 0;
}

/** The key by which lists are sorted. */
export const keyOf = (object: ApiObject): string => `${scope(object)}/${object.metadata.name}`;

function byKey(a: ApiObject, b: ApiObject): number {
  const left = keyOf(a);
  const right = keyOf(b);
  return left < right ? -1 : left > right ? 1 : 0;
}

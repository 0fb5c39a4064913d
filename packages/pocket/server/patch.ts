/**
 * Strategic merge, as far as clients of Jobs and Pods need it, and JSON merge.
 *
 * The bug this prevents: a release of our hold that wipes out somebody else's finalizer. A JSON merge replaces the whole list
 * of finalizers; a strategic merge takes out one by name. Both must work here exactly as on a real server.
 */
import { type Fields, isFields } from "../objects.ts";
import { badRequest } from "./status.ts";

/**
 * Lists that are merged, by the last word of their path. The value is the key of the list's objects, or "" for a list of plain
 * values.
 */
const MERGED: Readonly<Record<string, string>> = {
  finalizers: "",
  ownerReferences: "uid",
  containers: "name",
  initContainers: "name",
  env: "name",
  volumes: "name",
  volumeMounts: "mountPath",
  conditions: "type",
  imagePullSecrets: "name",
  ports: "containerPort",
};
const DELETE_FROM = "$deleteFromPrimitiveList/";
const ORDER = "$setElementOrder/";
const DEPTH_MOST = 64;

export function strategicMerge(target: Fields, patch: Fields, depth = 0): Fields {
  if (depth > DEPTH_MOST) throw badRequest(`the patch is nested deeper than ${DEPTH_MOST} levels`);
  if (patch["$patch"] === "replace") {
    const { $patch: _, ...rest } = patch;
    return rest;
  }
  const merged: Record<string, unknown> = Object.assign(Object.create(null), target);
  for (const [key, value] of Object.entries(patch)) {
    if (key === "$patch" || key === "$retainKeys" || key.startsWith(ORDER)) continue;
    if (key.startsWith(DELETE_FROM)) takeOut(merged, key.slice(DELETE_FROM.length), value);
    else if (value === null) delete merged[key];
    else merged[key] = strategicValue(key, merged[key], value, depth);
  }
  return { ...merged };
}

function takeOut(merged: Record<string, unknown>, key: string, value: unknown): void {
  const list = merged[key];
  if (!Array.isArray(value)) throw badRequest(`${DELETE_FROM}${key} must be a list`);
  if (Array.isArray(list)) merged[key] = list.filter((it) => !value.includes(it));
}

function strategicValue(key: string, standing: unknown, value: unknown, depth: number): unknown {
  if (isFields(value)) {
    if (value["$patch"] === "delete") return undefined;
    return strategicMerge(isFields(standing) ? standing : {}, value, depth + 1);
  }
  const mergeKey = Object.hasOwn(MERGED, key) ? MERGED[key] : undefined;
  if (!Array.isArray(value) || mergeKey === undefined) return value;
  const before: readonly unknown[] = Array.isArray(standing) ? standing : [];
  return mergeKey === "" ? [...new Set([...before, ...value])] : mergeByKey(before, value, mergeKey, depth);
}

function mergeByKey(before: readonly unknown[], patch: readonly unknown[], mergeKey: string, depth: number): unknown[] {
  if (patch.some((it) => isFields(it) && it["$patch"] === "replace")) {
    return patch.filter((it) => !(isFields(it) && it["$patch"] === "replace"));
  }
  const merged = [...before];
  for (const item of patch) {
    if (!isFields(item) || item[mergeKey] === undefined) {
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
    }
    const at = merged.findIndex((it) => isFields(it) && it[mergeKey] === item[mergeKey]);
    const standing = merged[at];
    if (item["$patch"] === "delete") {
      if (at >= 0) merged.splice(at, 1);
    } else if (isFields(standing)) {
      merged[at] = strategicMerge(standing, item, depth + 1);
    } else {
      merged.push(strategicMerge({}, item, depth + 1));
    }
  }
  return merged;
}

export function jsonMerge(target: unknown, patch: unknown, depth = 0): unknown {
  if (depth > DEPTH_MOST) throw badRequest(`the patch is nested deeper than ${DEPTH_MOST} levels`);
  if (!isFields(patch)) return patch;
  const merged: Record<string, unknown> = Object.assign(Object.create(null), isFields(target) ? target : {});
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = jsonMerge(merged[key], value, depth + 1);
  }
  return { ...merged };
}

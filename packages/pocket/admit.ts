/**
 * What a cluster's admission says of a new object: its namespace's end, quotas, Pod Security.
 *
 * The bug this prevents: a product that takes every 403 for a missing permission. A full quota passes, a namespace
 * under deletion does not, and Pod Security lets the Job in and refuses its pods.
 */
import {
  type ApiObject,
  type Fields,
  isDeleting,
  isFields,
  type PodObject,
  type PodSpec,
  qualified,
  type Resource,
} from "./objects.ts";
import { forbidden, notFound } from "./status.ts";
import type { Store } from "./store.ts";

/** Throws the refusal, or returns the warnings to send along. */
export function admit(store: Store, resource: Resource, namespace: string, object: ApiObject): readonly string[] {
  const space = store.get("namespaces", "", namespace);
  if (space === undefined) throw notFound("namespaces", namespace);
  const { name } = object.metadata;
  if (isDeleting(space)) {
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    const message = `namespace ${namespace} is being terminated`;
    throw forbidden(resource, name, why, [{ reason: "NamespaceTerminating", message, field: "metadata.namespace" }]);
  }
  const level = space.metadata.labels?.["pod-security.kubernetes.io/enforce"];
  const offences = offencesIn(resource, object, level);
  if (offences !== undefined && resource === "pods") throw forbidden(resource, name, `violates PodSecurity ${offences}`);
  const full = overQuota(store, resource, namespace, object);
  if (full !== undefined) throw forbidden(resource, name, full);
  return offences === undefined ? [] : [`would violate PodSecurity ${offences}`];
}

function offencesIn(resource: Resource, object: ApiObject, level: string | undefined): string | undefined {
  if (level !== "baseline" && level !== "restricted") return undefined;
  const spec = isFields(object.spec) ? object.spec : {};
  const template = isFields(spec["template"]) ? spec["template"] : {};
  const pod = resource === "pods" ? spec : resource === "jobs" ? template["spec"] : undefined;
  if (!isFields(pod)) return undefined;
  const found = [...baseline(pod), ...(level === "restricted" ? restricted(pod) : [])];
  return found.length === 0 ? undefined : `"${level}:latest": ${found.join(", ")}`;
}

const containersOf = (pod: Fields): readonly Fields[] =>
  [pod["initContainers"], pod["containers"]].flatMap((it) => (Array.isArray(it) ? it.filter(isFields) : []));
const secured = (container: Fields): Fields => (isFields(container["securityContext"]) ? container["securityContext"] : {});

/** The rows of the real list that a test needs to be refused by; the pocket is no judge of security. */
function baseline(pod: Fields): readonly string[] {
  const spaces = ["hostNetwork", "hostPID", "hostIPC"].filter((it) => pod[it] === true);
  const paths = Array.isArray(pod["volumes"]) && pod["volumes"].some((it) => isFields(it) && it["hostPath"] !== undefined);
  return [
    ...(spaces.length > 0 ? [`host namespaces (${spaces.map((it) => `${it}=true`).join(", ")})`] : []),
    ...(paths ? ["hostPath volumes"] : []),
    ...containersOf(pod)
      .filter((it) => secured(it)["privileged"] === true)
      .map((it) => `privileged (container "${String(it["name"])}" must not set securityContext.privileged=true)`),
  ];
}

function restricted(pod: Fields): readonly string[] {
  return containersOf(pod)
    .filter((it) => secured(it)["allowPrivilegeEscalation"] !== false)
    .map(
      (it) =>
        `allowPrivilegeEscalation != false (container "${String(it["name"])}" must set securityContext.allowPrivilegeEscalation=false)`,
    );
}

/** What a quota would say, or nothing. A quota has no cause of its own in the answer: only this sentence. */
function overQuota(store: Store, resource: Resource, namespace: string, object: ApiObject): string | undefined {
  for (const quota of store.list("resourcequotas", namespace)) {
    const hard = isFields(quota.spec) && isFields(quota.spec["hard"]) ? quota.spec["hard"] : {};
    const over = Object.entries(hard).flatMap(([what, limit]) => {
      const requested = usage(resource, what, [object]);
      if (requested === 0) return [];
      const used = usage(resource, what, live(store, resource, namespace));
      return used + requested > quantity(limit) ? [{ what, requested, used, limit }] : [];
    });
    if (over.length === 0) continue;
    const list = (pick: (it: (typeof over)[number]) => string): string => over.map((it) => `${it.what}=${pick(it)}`).join(",");
    const show = (what: string, n: number): string =>
      what.endsWith("cpu") && !Number.isInteger(n) ? `${Math.round(n * 1000)}m` : String(n);
    return (
      `exceeded quota: ${quota.metadata.name}, requested: ${list((it) => show(it.what, it.requested))}, ` +
      `used: ${list((it) => show(it.what, it.used))}, limited: ${list((it) => String(it.limit))}`
    );
  }
  return undefined;
}

/** Pods that ended count no more; Jobs count as long as they are there, held or not. */
function live(store: Store, resource: Resource, namespace: string): readonly ApiObject[] {
  const all = store.list(resource, namespace);
  if (resource !== "pods") return all;
  return all.filter((it) => !["Succeeded", "Failed"].includes((it as PodObject).status.phase));
}

function usage(resource: Resource, what: string, objects: readonly ApiObject[]): number {
  if (what === `count/${qualified(resource)}` || what === resource) return objects.length;
  const name = /^(?:requests\.)?(cpu|memory)$/.exec(what)?.[1];
  if (resource !== "pods" || name === undefined) return 0;
  return objects.reduce((sum, it) => sum + requests(it.spec as PodSpec, name), 0);
}

function requests(spec: PodSpec, name: string): number {
  return spec.containers.reduce(
    (sum, it) => sum + quantity(it.resources?.requests?.[name] ?? it.resources?.limits?.[name] ?? "0"),
    0,
  );
}

const UNITS: Readonly<Record<string, number>> = {
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

export function quantity(text: unknown): number {
  const [, digits, unit = ""] = /^([0-9.]+)([a-zA-Z]*)$/.exec(String(text)) ?? [];
  return digits === undefined ? 0 : Number(digits) * (UNITS[unit] ?? 1);
}

/**
 * Admits a new object, unless its namespace is being deleted, a quota is full, or Pod Security forbids it.
 *
 * The bug this prevents: a product that takes every 403 for a missing permission. A full quota has room again later, a
 * namespace that is being deleted never has, and Pod Security admits the Job but refuses its pods.
 */
import { type ApiObject, type Fields, fieldsIn, isDeleting, isFields, type Resource } from "../objects.ts";
import { charge } from "../controllers/quota.ts";
import { forbidden, notFound } from "./status.ts";
import type { Store } from "./store.ts";

export interface Admitted {
  readonly warnings: readonly string[];
  book(): void;
}

/** Throws the refusal. */
export function admit(store: Store, resource: Resource, namespace: string, object: ApiObject): Admitted {
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
  const { refused, book } = charge(store, resource, namespace, object);
  if (refused !== undefined) throw forbidden(resource, name, refused);
  return { warnings: offences === undefined ? [] : [`would violate PodSecurity ${offences}`], book };
}

function offencesIn(resource: Resource, object: ApiObject, level: string | undefined): string | undefined {
  if (level !== "baseline" && level !== "restricted") return undefined;
  const spec = fieldsIn(object.spec);
  const pod = resource === "pods" ? spec : resource === "jobs" ? fieldsIn(spec["template"])["spec"] : undefined;
  if (!isFields(pod)) return undefined;
  const found = [...baseline(pod), ...(level === "restricted" ? restricted(pod) : [])];
  return found.length === 0 ? undefined : `"${level}:latest": ${found.join(", ")}`;
}

const containersOf = (pod: Fields): readonly Fields[] =>
  [pod["initContainers"], pod["containers"]].flatMap((it) => (Array.isArray(it) ? it.filter(isFields) : []));
const secured = (container: Fields): Fields => fieldsIn(container["securityContext"]);

/** The rows of Pod Security that a test needs; the pocket is no judge of security. */
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

/**
 * The requests that change something: create, patch, delete.
 *
 * The bug this prevents: a write that half happens. Each request is first judged as a whole, in a real server's order (name,
 * validity, admission, existence), and is then one change in the store.
 */
import type { Clock } from "@longshore/runtime/clock.ts";
import { admit } from "./admission.ts";
import { type DeleteOptions, deleteObject, type Propagation } from "./delete.ts";
import type { ApiObject, Fields, JobObject, Metadata, Resource } from "../objects.ts";
import { apiVersionOf, CLAIM_PROTECTION, fieldsIn, isDeleting, isFields, KINDS, timestamp, withFinalizers } from "../objects.ts";
import { jsonMerge, strategicMerge } from "./patch.ts";
import { type Asked, selection, wholeNumber } from "./query.ts";
import type { Cause } from "./status.ts";
import { alreadyExists, badRequest, conflict, invalid, invalidValue, notFound, preconditionFailed, refusal } from "./status.ts";
import type { Store } from "./store.ts";
import { decodeJob } from "./decode.ts";
import {
  badCronJob,
  badFinalizers,
  badJob,
  badJobUpdate,
  badLabels,
  badMarks,
  badName,
  completeJob,
  newFinalizers,
} from "./validate.ts";

export interface Written {
  readonly status: number;
  readonly object: ApiObject;
  readonly warnings?: readonly string[];
}

export interface Writer {
  readonly store: Store;
  readonly clock: Clock;
}

const shown = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

/**
 * Chance makes the UID differ between clusters, and the version makes it differ within one, even if a test's chance is always
 * the same.
 */
export function createUid({ store, clock }: Writer): string {
  const hex = (digits: number): string =>
    Math.floor(clock.random() * 16 ** digits)
      .toString(16)
      .padStart(digits, "0");
  return `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${(store.version() + 1).toString(16).padStart(12, "0")}`;
}

const LETTERS = "bcdfghjklmnpqrstvwxz2456789";
const SUFFIXES = LETTERS.length ** 5;

/** Makes an unused name, as generateName does. */
export function createName({ store, clock }: Writer, resource: Resource, namespace: string, start: string): string {
  for (let n = Math.floor(clock.random() * SUFFIXES); ; n = (n + 1) % SUFFIXES) {
    const letters = Array.from({ length: 5 }, (_, i) => LETTERS[Math.floor(n / LETTERS.length ** i) % LETTERS.length]).join("");
    if (store.get(resource, namespace, start + letters) === undefined) return start + letters;
  }
}

export function createObject(writer: Writer, asked: Asked, body: unknown): Written {
  const { store } = writer;
  const { resource, namespace = "" } = asked;
  const read = readBody(resource, body);
  const { given, warnings: dropped } = resource === "jobs" ? decodeJob(read) : { given: read, warnings: [] };
  const metadata = newMetadata(writer, resource, namespace, fieldsIn(given["metadata"]));
  const causes = badNew(resource, metadata, given);
  if (causes.length > 0) throw invalid(resource, metadata.name, causes);
  const object = complete(resource, given, metadata);
  const isTried = asked.query.get("dryRun") === "All";
  const admitted = KINDS[resource].namespaced ? admit(store, resource, namespace, object) : undefined;
  const warnings = [...dropped, ...(admitted?.warnings ?? [])];
  if (!isTried) admitted?.book();
  if (store.get(resource, namespace, metadata.name) !== undefined) throw alreadyExists(resource, metadata.name);
  if (isTried) return { status: 201, object, warnings };
  return { status: 201, object: store.insert(resource, object), warnings };
}

export function createNamespace(writer: Writer, name: string, uid = createUid(writer)): void {
  const metadata = { ...newMetadata(writer, "namespaces", "", { name }), uid };
  writer.store.insert("namespaces", complete("namespaces", {}, metadata));
}

function readBody(resource: Resource, body: unknown): Fields {
  const { kind } = KINDS[resource];
  if (!isFields(body)) throw badRequest("the body is not a JSON object");
  if ((body["kind"] ?? kind) !== kind || (body["apiVersion"] ?? apiVersionOf(resource)) !== apiVersionOf(resource)) {
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}, apiVersion ${apiVersionOf(resource)}): ` +
        `${String(body["apiVersion"])} ${String(body["kind"])}`,
    );
  }
  return body;
}

function newMetadata(writer: Writer, resource: Resource, namespace: string, given: Fields): Metadata {
  const { name, generateName, labels, annotations, finalizers, ownerReferences } = given;
  if ((given["namespace"] ?? namespace) !== namespace) {
    throw badRequest("the namespace of the provided object does not match the namespace sent on the request");
  }
  const generated =
    typeof generateName === "string" && generateName !== "" ? createName(writer, resource, namespace, generateName) : "";
  return {
    name: typeof name === "string" && name !== "" ? name : generated,
    ...(KINDS[resource].namespaced ? { namespace } : {}),
    uid: createUid(writer),
    resourceVersion: "",
    ...(resource === "jobs" || resource === "pods" ? { generation: 1 } : {}),
    creationTimestamp: timestamp(writer.clock.now()),
    ...(isFields(labels) ? { labels: labels as Readonly<Record<string, string>> } : {}),
    ...(isFields(annotations) ? { annotations: annotations as Readonly<Record<string, string>> } : {}),
    ...(Array.isArray(finalizers) && finalizers.length > 0 ? { finalizers: finalizers.map(String) } : {}),
    ...(Array.isArray(ownerReferences) && ownerReferences.length > 0
      ? { ownerReferences: ownerReferences as Metadata["ownerReferences"] & {} }
      : {}),
  };
}

function badNew(resource: Resource, metadata: Metadata, given: Fields): readonly Cause[] {
  // Kubernetes adds eleven characters to a CronJob's name for each of its Jobs.
  const nameMost = resource === "cronjobs" ? 52 : resource === "jobs" || resource === "namespaces" ? 63 : 253;
  return [
    ...badName(metadata.name, nameMost),
    ...badLabels(metadata.labels, "metadata.labels"),
    ...badFinalizers(metadata.finalizers ?? []),
    ...(resource === "jobs" ? [...badJob(given["spec"]), ...badMarks(given["spec"], metadata)] : []),
    ...(resource === "cronjobs" ? badCronJob(given["spec"]) : []),
  ];
}

function complete(resource: Resource, given: Fields, metadata: Metadata): ApiObject {
  if (resource === "jobs") return completeJob(given, metadata);
  const { kind } = KINDS[resource];
  const object: ApiObject & Fields = { ...given, apiVersion: apiVersionOf(resource), kind, metadata };
  if (resource === "namespaces") {
    const labels = { ...metadata.labels, "kubernetes.io/metadata.name": metadata.name };
    return { ...object, metadata: { ...metadata, labels }, spec: { finalizers: ["kubernetes"] }, status: { phase: "Active" } };
  }
  if (resource === "resourcequotas") return { ...object, status: {} };
  // As the admission of a real server does, which then binds the claim to a volume.
  if (resource === "persistentvolumeclaims")
    return { ...withFinalizers(object, [...(metadata.finalizers ?? []), CLAIM_PROTECTION]), status: { phase: "Bound" } };
  return resource === "pods" ? { ...object, status: { phase: "Pending" } } : object;
}

export function patchObject({ store }: Writer, asked: Asked, body: unknown, contentType: string | undefined): Written {
  const { resource, namespace = "", name = "" } = asked;
  const before = store.get(resource, namespace, name);
  if (before === undefined) throw notFound(resource, name);
  const patched = merge(before, body, contentType);
  const after = asked.part === "status" ? { ...before, status: patched["status"] } : asWritten(before, patched);
  const causes = asked.part === "status" ? [] : badUpdate(resource, before, after, fieldsIn(patched["metadata"]));
  if (causes.length > 0) throw invalid(resource, name, causes);
  const wanted = fieldsIn(fieldsIn(body)["metadata"])["resourceVersion"];
  if (wanted !== undefined && wanted !== before.metadata.resourceVersion) {
    throw conflict(resource, name, "the object has been modified; please apply your changes to the latest version and try again");
  }
  if (JSON.stringify(after) === JSON.stringify(before) || asked.query.get("dryRun") === "All")
    return { status: 200, object: after };
  return { status: 200, object: store.replace(resource, after) };
}

function merge(before: ApiObject, body: unknown, contentType = "application/strategic-merge-patch+json"): Fields {
  if (!isFields(body)) throw badRequest("a patch must be a JSON object");
  const target: Fields = { ...before };
  const type = contentType.split(";")[0]?.trim();
  if (type === "application/strategic-merge-patch+json") return strategicMerge(target, body);
  if (type === "application/merge-patch+json") return fieldsIn(jsonMerge(target, body));
  const message = `the body of the request was in an unknown format (${contentType}): the pocket takes strategic and JSON merge patches`;
  throw refusal(415, "UnsupportedMediaType", message);
}

/** Puts back the fields that a client may not set; the status has its own path. */
function asWritten(before: ApiObject, patched: Fields): ApiObject {
  const { finalizers, labels: given, annotations, ownerReferences } = fieldsIn(patched["metadata"]);
  // A Job without labels gets its template's labels, at each write and not only at the first.
  const unlabelled = !isFields(given) || Object.keys(given).length === 0;
  const labels = unlabelled && before.kind === "Job" ? (before as JobObject).spec.template.metadata?.labels : given;
  const { finalizers: _f, labels: _l, annotations: _a, ownerReferences: _o, ...fixed } = before.metadata;
  const specChanged = patched["spec"] !== before.spec && JSON.stringify(patched["spec"]) !== JSON.stringify(before.spec);
  const metadata = {
    ...fixed,
    ...(fixed.generation !== undefined && specChanged ? { generation: fixed.generation + 1 } : {}),
    ...(isFields(labels) ? { labels } : {}),
    ...(isFields(annotations) ? { annotations } : {}),
    ...(Array.isArray(ownerReferences) && ownerReferences.length > 0 ? { ownerReferences } : {}),
    ...(Array.isArray(finalizers) && finalizers.length > 0 ? { finalizers } : {}),
  };
  return {
    ...before,
    ...patched,
    metadata: metadata as Metadata,
    ...(before.status === undefined ? {} : { status: before.status }),
  };
}

function badUpdate(resource: Resource, before: ApiObject, after: ApiObject, metadata: Fields): readonly Cause[] {
  const fixed = (["uid", "name", "namespace"] as const).filter(
    (it) => (metadata[it] ?? before.metadata[it]) !== before.metadata[it],
  );
  const finalizers = after.metadata.finalizers ?? [];
  return [
    ...fixed.map((it) => invalidValue(`metadata.${it}`, metadata[it], "field is immutable")),
    ...badLabels(after.metadata.labels, "metadata.labels"),
    ...badFinalizers(finalizers),
    ...(isDeleting(before) ? newFinalizers(before.metadata.finalizers ?? [], finalizers) : []),
    ...(resource === "jobs" ? badJobUpdate(before as never, after as never) : []),
  ];
}

export function removeObject({ store, clock }: Writer, asked: Asked, body: unknown) {
  const { resource, namespace = "", name = "" } = asked;
  const object = store.get(resource, namespace, name);
  if (object === undefined) throw notFound(resource, name);
  const { uid, resourceVersion } = fieldsIn(fieldsIn(body)["preconditions"]);
  const { metadata } = object;
  if (uid !== undefined && uid !== metadata.uid) {
    const why = `the UID in the precondition (${shown(uid)}) does not match the UID in record (${metadata.uid})`;
    throw preconditionFailed(resource, name, `${why}. The object might have been deleted and then recreated`);
  }
  if (resourceVersion !== undefined && resourceVersion !== metadata.resourceVersion) {
    const now = metadata.resourceVersion;
    const why = `the ResourceVersion in the precondition (${shown(resourceVersion)}) does not match the ResourceVersion in record (${now})`;
    throw preconditionFailed(resource, name, `${why}. The object might have been modified`);
  }
  const options = readDeleteOptions(asked, body);
  if (asked.query.get("dryRun") === "All") return { object, gone: false, warnings: [] };
  const orphans = resource === "jobs" && options.propagation === undefined;
  const warnings = orphans
    ? [
        "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning",
      ]
    : [];
  return { ...deleteObject(store, resource, object, options, clock.now()), warnings };
}

export function removeMany({ store, clock }: Writer, asked: Asked, body: unknown): readonly ApiObject[] {
  const chosen = selection(asked.query);
  const options = readDeleteOptions(asked, body);
  const found = store.list(asked.resource, asked.namespace).filter(chosen);
  return found.map((it) => deleteObject(store, asked.resource, it, options, clock.now()).object);
}

function readDeleteOptions(asked: Asked, body: unknown): DeleteOptions {
  const given = fieldsIn(body);
  const propagation = given["propagationPolicy"] ?? asked.query.get("propagationPolicy") ?? undefined;
  const grace = given["gracePeriodSeconds"] ?? wholeNumber(asked.query, "gracePeriodSeconds");
  if (propagation !== undefined && !isPropagation(propagation)) {
    const message = `invalid DeleteOptions: propagationPolicy: Unsupported value: ${JSON.stringify(propagation)}`;
    throw refusal(422, "Invalid", message);
  }
  if (grace !== undefined && (typeof grace !== "number" || !Number.isInteger(grace) || grace < 0)) {
    throw badRequest("gracePeriodSeconds must be a whole number");
  }
  return { propagation, graceSeconds: grace };
}

const isPropagation = (value: unknown): value is Propagation =>
  value === "Background" || value === "Foreground" || value === "Orphan";

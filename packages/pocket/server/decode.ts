/**
 * Decodes a Job's manifest before it is judged, as a server does: keeps known fields of the right type.
 *
 * The bug this prevents: a misspelt field that works here because nobody looks, or is refused here and taken by every real
 * cluster. A real server drops a misspelt field with a Warning, and answers a value of another type with BadRequest.
 */
import { type Fields, isFields } from "../objects.ts";
import { badRequest } from "./status.ts";

type Shape = ReadonlyMap<string, Known>;
/** The content of a field: an object or a list of objects with known fields, a value of this type, or anything. */
type Known =
  | { readonly kind: "object" | "list"; readonly shape: Shape }
  | { readonly kind: "int32" | "int64" | "bool" | "[]string" }
  | { readonly kind: "anything" };

const shape = (typed: Readonly<Record<string, Known>>, others: string): Shape =>
  new Map<string, Known>([...others.split(" ").map((it) => [it, { kind: "anything" }] as const), ...Object.entries(typed)]);

const WORDS = { kind: "[]string" } as const;
const CONTAINER = shape(
  { command: WORDS, args: WORDS },
  "name image workingDir ports envFrom env resources resizePolicy restartPolicy restartPolicyRules volumeMounts volumeDevices " +
    "livenessProbe readinessProbe startupProbe lifecycle terminationMessagePath terminationMessagePolicy imagePullPolicy " +
    "securityContext stdin stdinOnce tty",
);
const CONTAINERS = { kind: "list", shape: CONTAINER } as const;
const POD = shape(
  {
    containers: CONTAINERS,
    initContainers: CONTAINERS,
    terminationGracePeriodSeconds: { kind: "int64" },
    activeDeadlineSeconds: { kind: "int64" },
  },
  "volumes ephemeralContainers restartPolicy dnsPolicy nodeSelector serviceAccountName serviceAccount " +
    "automountServiceAccountToken nodeName hostNetwork hostPID hostIPC shareProcessNamespace securityContext imagePullSecrets " +
    "hostname subdomain affinity schedulerName tolerations hostAliases priorityClassName priority dnsConfig readinessGates " +
    "runtimeClassName enableServiceLinks preemptionPolicy overhead topologySpreadConstraints setHostnameAsFQDN os hostUsers " +
    "schedulingGates resourceClaims resources hostnameOverride",
);
const TEMPLATE = shape({ spec: { kind: "object", shape: POD } }, "metadata");
const NUMBER = { kind: "int32" } as const;
const SPEC = shape(
  {
    template: { kind: "object", shape: TEMPLATE },
    parallelism: NUMBER,
    completions: NUMBER,
    backoffLimit: NUMBER,
    backoffLimitPerIndex: NUMBER,
    maxFailedIndexes: NUMBER,
    ttlSecondsAfterFinished: NUMBER,
    activeDeadlineSeconds: { kind: "int64" },
    suspend: { kind: "bool" },
    manualSelector: { kind: "bool" },
  },
  "podFailurePolicy successPolicy selector completionMode podReplacementPolicy managedBy",
);
const JOB = shape({ spec: { kind: "object", shape: SPEC } }, "apiVersion kind metadata status");

/** The names of Go's structures, which the real message shows. */
const STRUCTURES = new Map<Shape, string>([
  [JOB, "Job"],
  [SPEC, "JobSpec"],
  [TEMPLATE, "PodTemplateSpec"],
  [POD, "PodSpec"],
  [CONTAINER, "Container"],
]);

export function decodeJob(body: Fields): { readonly given: Fields; readonly warnings: readonly string[] } {
  const warnings: string[] = [];
  const given = known(body, { shape: JOB, path: "", goPath: "" }, warnings);
  return { given, warnings };
}

interface At {
  readonly shape: Shape;
  readonly path: string;
  /** The path without the indexes of lists. */
  readonly goPath: string;
}

function known(fields: Fields, at: At, warnings: string[]): Fields {
  const kept: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(fields)) {
    const field = at.shape.get(key);
    const path = at.path === "" ? key : `${at.path}.${key}`;
    if (field === undefined) warnings.push(`unknown field ${JSON.stringify(path)}`);
    else kept[key] = read(value, field, { ...at, path, goPath: at.goPath === "" ? key : `${at.goPath}.${key}` }, warnings);
  }
  return kept;
}

function read(value: unknown, field: Known, at: At, warnings: string[]): unknown {
  if (value === null || value === undefined || field.kind === "anything") return value;
  const inner = (it: Fields, path: string, of: Shape): Fields => known(it, { shape: of, path, goPath: at.goPath }, warnings);
  switch (field.kind) {
    case "object":
      return isFields(value) ? inner(value, at.path, field.shape) : refuse(value, at, "object");
    case "list":
      if (!Array.isArray(value)) return refuse(value, at, "list");
      return value.map((it: unknown, n) => (isFields(it) ? inner(it, `${at.path}[${n}]`, field.shape) : it));
    case "int32":
    case "int64":
      return Number.isInteger(value) ? value : refuse(value, at, field.kind);
    case "bool":
      return typeof value === "boolean" ? value : refuse(value, at, field.kind);
    case "[]string":
      return Array.isArray(value) && value.every((it) => typeof it === "string") ? value : refuse(value, at, field.kind);
  }
}

function refuse(value: unknown, at: At, wanted: string): never {
  const is = Array.isArray(value) ? "array" : typeof value === "number" ? `number ${value}` : typeof value;
  const where = `Go struct field ${STRUCTURES.get(at.shape) ?? "Job"}.${at.goPath} of type ${wanted}`;
  throw badRequest(`Job in version "v1" cannot be handled as a Job: json: cannot unmarshal ${is} into ${where}`);
}

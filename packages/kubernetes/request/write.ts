/**
 * Writes to one group's namespace. Only the launcher imports this file; the watcher's program cannot reach it.
 *
 * The bugs this prevents: a write that hits another object of the same name (every write but a create carries the UID), and a
 * lost answer taken for a refusal: a write without an answer comes back as "unanswered", never as an exception.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";
import { type ApiObject, asObject, asStatus, retryAfterMs, saysMissing } from "../objects.ts";
import type { ApiAnswer } from "../transport.ts";
import { CLAIM_BUDGET } from "./claim-budget.ts";
import { ask, type ClusterRequest, type Sending, type Silent, silent } from "./purpose.ts";
import { METADATA } from "./read.ts";

/** An answer of the API server that has no kind of its own below; domain/diagnosis/replies knows its meaning. */
export interface Answered {
  readonly kind: "answered";
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterMs?: number;
}

export type Created =
  | ({ readonly kind: "created" } & Pick<ApiObject, "uid" | "resourceVersion" | "finalizers">)
  | Answered
  | Silent;

/**
 * "missing": the API server says that there is no object of this name. "foreign": an object exists, but with another UID.
 * "changed": the object was changed since it was looked at.
 */
export type Changed =
  | { readonly kind: "done"; readonly object: ApiObject | undefined }
  | { readonly kind: "missing" }
  | { readonly kind: "foreign" }
  | { readonly kind: "changed" }
  | Answered
  | Silent;

export interface Writes {
  createJob(manifest: object, signal: AbortSignal): Promise<Created>;
  createAnchor(manifest: object, signal: AbortSignal): Promise<Created>;
  createClaim(manifest: object, signal: AbortSignal): Promise<Created>;
  /** The launcher creates Secrets, and can neither read, change nor delete any. */
  createSecret(manifest: object, signal: AbortSignal): Promise<Created>;
  createFile(manifest: object, signal: AbortSignal): Promise<Created>;
  /** In the background: Kubernetes then collects everything that the anchor owns. */
  deleteAnchor(name: string, uid: string, signal: AbortSignal): Promise<Changed>;
  deleteJob(name: string, uid: string, options: DeleteOptions, signal: AbortSignal): Promise<Changed>;
  deletePod(name: string, uid: string, options: Omit<DeleteOptions, "propagation">, signal: AbortSignal): Promise<Changed>;
  /** Takes our finalizer off, leaves other finalizers, and sets how long the evidence stays: one write, idempotent. */
  releaseJob(
    name: string,
    uid: string,
    hold: string,
    options: { readonly ttlSeconds?: number; readonly annotations?: Readonly<Record<string, string>> },
    signal: AbortSignal,
  ): Promise<Changed>;
  /** Puts our finalizer back if somebody removed it. The API server refuses that once the Job is being deleted. */
  holdAgain(name: string, uid: string, hold: string, signal: AbortSignal): Promise<Changed>;
}

export interface DeleteOptions {
  readonly propagation: "Foreground" | "Background";
  readonly graceSeconds?: number;
  /** Writes only if the object did not change since; else "changed". */
  readonly resourceVersion?: string;
}

const STRATEGIC = "application/strategic-merge-patch+json";
const MANAGER = "fieldManager=longshore";
const TIMEOUT = `timeout=${CLAIM_BUDGET.serverMs / 1000}s`;

export function openWrites({ transport, clock, namespace }: Sending & { readonly namespace: string }): Writes {
  const space = encodeURIComponent(namespace);
  const jobs = `/apis/batch/v1/namespaces/${space}/jobs`;
  const job = (name: string) => `${jobs}/${encodeURIComponent(name)}`;
  const core = `/api/v1/namespaces/${space}`;
  const pod = (name: string) => `${core}/pods/${encodeURIComponent(name)}`;

  const send = (request: ClusterRequest, signal: AbortSignal) =>
    ask({ transport, clock }, { accept: METADATA, ...request }, signal);

  async function change(request: ClusterRequest, name: string, signal: AbortSignal): Promise<Changed> {
    const result = await send(request, signal);
    if (result.kind !== "told") return result;
    const { answer } = result;
    if (answer.status === 200 || answer.status === 202) return { kind: "done", object: asObject(answer.body) };
    if (saysMissing(answer, name)) return { kind: "missing" };
    if (isOfAnother(answer)) return { kind: "foreign" };
    if (isConflict(answer, /resource ?version/i)) return { kind: "changed" };
    return answered(answer);
  }

  const patch = (name: string, body: object, signal: AbortSignal) =>
    change({ purpose: "release", method: "PATCH", path: `${job(name)}?${MANAGER}`, contentType: STRATEGIC, body }, name, signal);

  const remove = (path: string, name: string, preconditions: object, how: object, signal: AbortSignal) =>
    change(
      { purpose: "delete", method: "DELETE", path, body: { apiVersion: "v1", kind: "DeleteOptions", preconditions, ...how } },
      name,
      signal,
    );

  async function create(purpose: "create" | "own", path: string, body: object, signal: AbortSignal): Promise<Created> {
    const result = await send({ purpose, method: "POST", path: `${path}?${TIMEOUT}&${MANAGER}`, body }, signal);
    return result.kind === "told" ? created(result.answer) : result;
  }

  return {
    createJob: (manifest, signal) => create("create", jobs, manifest, signal),
    createAnchor: (manifest, signal) => create("own", `${core}/configmaps`, manifest, signal),
    createClaim: (manifest, signal) => create("own", `${core}/persistentvolumeclaims`, manifest, signal),
    createSecret: (manifest, signal) => create("own", `${core}/secrets`, manifest, signal),
    createFile: (manifest, signal) => create("own", `${core}/configmaps`, manifest, signal),
    deleteAnchor: (name, uid, signal) =>
      remove(
        `${core}/configmaps/${encodeURIComponent(name)}`,
        name,
        only(uid, undefined),
        { propagationPolicy: "Background" },
        signal,
      ),
    deleteJob: (name, uid, { propagation, graceSeconds, resourceVersion }, signal) =>
      remove(job(name), name, only(uid, resourceVersion), { propagationPolicy: propagation, ...grace(graceSeconds) }, signal),
    deletePod: (name, uid, { graceSeconds, resourceVersion }, signal) =>
      remove(pod(name), name, only(uid, resourceVersion), grace(graceSeconds), signal),
    releaseJob: (name, uid, hold, { ttlSeconds, annotations }, signal) => {
      const spec = ttlSeconds === undefined ? {} : { spec: { ttlSecondsAfterFinished: ttlSeconds } };
      const metadata = { uid, "$deleteFromPrimitiveList/finalizers": [hold], ...(annotations && { annotations }) };
      return patch(name, { metadata, ...spec }, signal);
    },
    holdAgain: (name, uid, hold, signal) => patch(name, { metadata: { uid, finalizers: [hold] } }, signal),
  };
}

const only = (uid: string, resourceVersion: string | undefined) => ({
  uid,
  ...(resourceVersion !== undefined && { resourceVersion }),
});

const grace = (seconds: number | undefined) => (seconds === undefined ? {} : { gracePeriodSeconds: seconds });

function created(answer: ApiAnswer): Created {
  if (answer.status !== 201) return answered(answer);
  const object = asObject(answer.body);
  // A proxy between us and the API server may have given this answer. The Job may well exist.
  if (!object) return silent(new Failure("retry", "unanswered", "The API server answered 201 with something that is no object."));
  const { uid, resourceVersion, finalizers } = object;
  return { kind: "created", uid, resourceVersion, finalizers };
}

function answered(answer: ApiAnswer): Answered {
  const wait = retryAfterMs(answer);
  return { kind: "answered", status: answer.status, body: answer.body, ...(wait === undefined ? {} : { retryAfterMs: wait }) };
}

/**
 * True if the object has another UID: the API server refuses a patch as a change of an immutable field, and a delete as a
 * failed precondition.
 */
function isOfAnother(answer: ApiAnswer): boolean {
  if (answer.status === 422) return asStatus(answer.body)?.fields.includes("metadata.uid") ?? false;
  return isConflict(answer, /uid/i);
}

function isConflict({ status, body }: ApiAnswer, about: RegExp): boolean {
  const said = asStatus(body);
  return status === 409 && said?.reason === "Conflict" && about.test(said.message);
}

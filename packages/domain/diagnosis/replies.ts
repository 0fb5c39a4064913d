/**
 * The meaning of an API server's answer to one of our requests, and the next step.
 *
 * The bugs this prevents: a passing refusal that fails a run; a final refusal that is tried for a day; and, the worst, an
 * answer that only looks like a refusal: a 5xx may come from a proxy while the create behind it succeeds, so a 5xx decides
 * nothing.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { at, field, integer, list, text } from "../watch/raw.ts";
import { diagnoseAdmission, diagnoseWebhook } from "./admission.ts";
import { reasonOf } from "./jobs.ts";
import { diagnoseQuota } from "./quota.ts";
import { firstLineOf } from "./foreign-words.ts";

export interface Answer {
  readonly status: number;
  readonly body: unknown;
  readonly retryAfterMs?: number | undefined;
}

/** The group and the namespace, for the sentence. */
export interface Where {
  readonly group?: string;
  readonly namespace?: string;
  /** What was to be created, if not the Job. */
  readonly what?: string;
}

/**
 * `deferred`: nothing was created, but a later create may succeed; with `unhealthy`, not in this group until somebody acts, so
 * the run is placed again. `refused`: no create of this request will succeed. `unknown`: the Job may have been created, or may
 * still be created.
 */
export type Reply =
  | {
      readonly kind: "deferred";
      readonly diagnosis: Diagnosis;
      readonly retryAfterMs: number | undefined;
      readonly unhealthy: boolean;
    }
  | { readonly kind: "refused" | "unknown"; readonly diagnosis: Diagnosis };

/** `exists`: the name is taken; the caller reads the Job that has it. */
export type CreateReply = Reply | { readonly kind: "exists" };

/** Classifies the answer to a create, other than 201. */
export function classifyCreate(answer: Answer, where: Where = {}): CreateReply {
  const said = statusOf(answer);
  if (answer.status === 409 && said.genuine) return conflict(said, answer);
  return general(answer, said, where) ?? { kind: "refused", diagnosis: refusal(said, where) };
}

/**
 * Diagnoses the answer to any other request: a read, a delete, a release. The caller decides about a missing object or a
 * foreign UID.
 */
export function classifyReply(answer: Answer, where: Where = {}): Reply {
  const said = statusOf(answer);
  return general(answer, said, where) ?? { kind: "refused", diagnosis: refusal(said, where) };
}

export const diagnoseReply = (answer: Answer, where: Where = {}): Diagnosis => classifyReply(answer, where).diagnosis;

interface Status {
  readonly code: number;
  /** True if the body is a Kubernetes `Status`: an API server wrote it, not a proxy before it. */
  readonly genuine: boolean;
  readonly reason: string;
  readonly message: string;
  /** The kind of object that a 404 is about: the Job, or its namespace. */
  readonly kind: string;
  readonly causes: readonly { readonly reason: string; readonly field: string; readonly message: string }[];
  readonly evidence: readonly string[];
}

function statusOf({ status, body }: Answer): Status {
  const message = text(field(body, "message"), 4096) ?? text(body, 500) ?? "";
  const reason = text(field(body, "reason"), 256) ?? "";
  const causes = list(at(body, "details", "causes"), 20).map((it) => ({
    reason: text(field(it, "reason"), 256) ?? "",
    field: text(field(it, "field"), 512) ?? "",
    message: text(field(it, "message"), 1024) ?? "",
  }));
  return {
    code: integer(status) ?? 0,
    genuine: field(body, "kind") === "Status" && field(body, "apiVersion") === "v1",
    reason,
    message,
    kind: text(at(body, "details", "kind"), 128) ?? "",
    causes,
    evidence: [`HTTP ${status}${reason === "" ? "" : ` ${reason}`}${message === "" ? "" : `: ${message.slice(0, 2000)}`}`],
  };
}

/** Reads answers that mean the same for every request; `undefined`: the answer refuses this request alone. */
function general(answer: Answer, said: Status, where: Where): Reply | undefined {
  const { code, evidence } = said;
  const group = groupOf(where);
  if (code === 401) return unhealthy("AuthRejected", `The cluster of ${group} does not accept Longshore's token.`, evidence);
  if (code === 429)
    return deferred(
      diagnose("EndpointUnreachable", `The cluster of ${group} has too much to do and asked to wait.`, evidence, BUSY),
      answer,
    );
  const webhook = said.genuine ? diagnoseWebhook(said.message, `The cluster of ${group}`, "Job", evidence) : undefined;
  // The one 5xx that is a definite answer: an API server asks its webhooks before it stores anything.
  if (webhook) return { kind: "deferred", diagnosis: webhook, retryAfterMs: undefined, unhealthy: true };
  // A 2xx without an object may come from a proxy. The API server behind it may have created the Job, so the outcome is
  // unknown.
  if (code < 300 || code === 408 || code >= 500) return { kind: "unknown", diagnosis: trouble(said, group) };
  if (!said.genuine) return notKubernetes(said, group);
  if (code === 403) return forbidden(said, answer, where);
  if (code === 404 && said.kind === "namespaces")
    return unhealthy("NamespaceTerminating", `The namespace${nameOf(where)} of ${group} does not exist.`, evidence, NO_NAMESPACE);
  if (code === 404 && said.kind === "") return notKubernetes(said, group);
  return code === 409
    ? deferred(diagnose("Unknown", `The cluster of ${group} was changing what the request needs.`, evidence), answer)
    : undefined;
}

/** Quota, a terminating namespace and a missing permission all answer 403 and mean different things. */
function forbidden(said: Status, answer: Answer, where: Where): Reply {
  const { message, causes, evidence } = said;
  const group = groupOf(where);
  const quota = diagnoseQuota(message);
  if (quota?.code === "QuotaExceeded") return deferred(quota, answer);
  if (quota) return { kind: "refused", diagnosis: quota };
  if (causes.some(({ reason }) => reason === "NamespaceTerminating") || /because it is being terminated/.test(message))
    return unhealthy("NamespaceTerminating", `The namespace${nameOf(where)} of ${group} is being deleted.`, evidence);
  const [, verb, resource] = /^.*?User ".*?" cannot (\w+) resource "([^"]*)"/.exec(message) ?? [];
  if (resource === "namespaces" && verb === "get")
    return unhealthy(
      "Forbidden",
      `Longshore may not even read the namespace${nameOf(where)} of ${group}: its Role or RoleBinding there is gone, or was never made.`,
      evidence,
      roleHint(where),
    );
  if (verb !== undefined && resource !== undefined)
    return unhealthy(
      "Forbidden",
      `Longshore may not ${verb} ${resource} in the namespace${nameOf(where)} of ${group}.`,
      evidence,
      roleHint(where),
    );
  return { kind: "refused", diagnosis: admission(said, where) };
}

/** Names the group, so that the command can be copied. */
const roleHint = ({ group }: Where): string | undefined =>
  group === undefined ? undefined : `Apply the group's Role again: \`longshore rbac ${group}\` prints it.`;

function conflict(said: Status, answer: Answer): CreateReply {
  // The answer about an object under deletion is AlreadyExists, too: "object is being deleted: jobs.batch "x" already exists".
  if (said.reason === "AlreadyExists") return { kind: "exists" };
  return deferred(
    diagnose("QuotaExceeded", "The cluster was counting the quota for somebody else at that moment.", said.evidence),
    answer,
  );
}

/** Diagnoses a refusal of this request; the API server may accept others. */
function refusal(said: Status, where: Where): Diagnosis {
  if (/admission webhook|ValidatingAdmissionPolicy|PodSecurity|denied the request/.test(said.message))
    return admission(said, where);
  if (/quantities must match the regular expression/.test(said.message))
    return diagnose(
      "RequestInvalid",
      "An amount of CPU, memory or storage in it is written in a way that no cluster reads.",
      said.evidence,
      AMOUNT,
    );
  const fields = said.causes.map(({ field, message }) => (field === "" ? message : `${field}: ${message}`));
  const why =
    fields.length > 0
      ? firstLineOf(fields.slice(0, 5).join("; "))
      : reasonOf(said.message === "" ? `HTTP ${said.code}` : said.message);
  return diagnose("RequestInvalid", `The cluster does not accept the ${where.what ?? "Job"}: ${why}.`, [
    ...said.evidence,
    ...fields.slice(0, 20),
  ]);
}

const admission = ({ message, evidence }: Status, { what = "Job" }: Where): Diagnosis =>
  diagnoseAdmission(message, what, evidence) ??
  diagnose(
    "AdmissionDenied",
    `The cluster refuses the ${what}: ${firstLineOf(message === "" ? "it gives no reason" : message)}.`,
    evidence,
  );

/** The answer came from no API server: a login page, a redirect, another program's 404. */
function notKubernetes({ code, evidence }: Status, group: string): Reply {
  return unhealthy(
    "EndpointUnreachable",
    `What answers at the address of ${group} is not a Kubernetes API server (HTTP ${code}).`,
    evidence,
  );
}

const trouble = ({ code, evidence }: Status, group: string): Diagnosis =>
  diagnose(
    "EndpointUnreachable",
    `The cluster of ${group} is in trouble and did not say whether it did what was asked (HTTP ${code}).`,
    evidence,
    TROUBLE,
  );

const BUSY = "It is tried again by itself; if it lasts, lower the group's `createsPerSecond`, or give the API server more room.";
const TROUBLE = "It is tried again by itself; if it lasts, ask the cluster's people to look at their API server.";
const AMOUNT = "Write amounts like 500m or 2 (CPU), and 512Mi or 4Gi (memory), and send it again; the run's id is not used up.";
export const NO_NAMESPACE = "Create the namespace and its Roles (`longshore rbac <group>`), or correct the group's `namespaces`.";

const groupOf = ({ group }: Where): string => (group === undefined ? "this group" : `group "${group}"`);
const nameOf = ({ namespace }: Where): string => (namespace === undefined ? "" : ` "${namespace}"`);

type Trouble = "AuthRejected" | "Forbidden" | "NamespaceTerminating" | "EndpointUnreachable";

const unhealthy = (code: Trouble, sentence: string, evidence: readonly string[], hint?: string): Reply => ({
  kind: "deferred",
  diagnosis: diagnose(code, sentence, evidence, hint),
  retryAfterMs: undefined,
  unhealthy: true,
});

const deferred = (diagnosis: Diagnosis, { retryAfterMs }: Answer): Reply => ({
  kind: "deferred",
  diagnosis,
  retryAfterMs,
  unhealthy: false,
});

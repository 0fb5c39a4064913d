/**
 * Everything that can be wrong between us and one group, tried in order, each as a row for a person. Changes nothing.
 *
 * The bug this prevents: a group that looks well until its first Job needs the one permission that nobody gave.
 */
import { DIAGNOSES } from "@longshore/contract/diagnosis.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Connection } from "./connection.ts";
import { within } from "./deadline.ts";
import { asObject, member, saysMissing, text, wordsOf } from "./objects.ts";
import { type Need, needsOf, REFUSED, type RoleName } from "./rbac.ts";
import { reach, type Reach } from "./reach.ts";
import { told } from "./read.ts";
import { isUntrusted } from "./silence.ts";
import type { ApiAnswer, ApiRequest, Transport } from "./transport.ts";

export interface Row {
  readonly step: "network" | "version" | "clock" | "token" | "namespace" | "permissions" | "create";
  readonly state: "ok" | "warning" | "failed" | "skipped";
  /** "DNS, TCP, TLS (212 d left)" */
  readonly detail: string;
  readonly code?: string;
  readonly hint?: string;
}

export interface PreflightOptions {
  readonly connection: Connection;
  readonly transport: Pick<Transport, "send">;
  readonly clock: Clock;
  readonly namespace: string;
  readonly role: RoleName;
  /** A Job to create as a dry run; the launcher's only. */
  readonly manifest?: object;
}

type Ask = (request: ApiRequest) => ReturnType<typeof told>;
type DiagnosisCode = keyof typeof DIAGNOSES;

const TOKEN_SOON_MS = 14 * 86_400_000;
/** Tokens that live shorter than this are rotated by a machine. */
const TOKEN_SHORT_MS = 2 * 86_400_000;

export async function preflight(options: PreflightOptions, signal: AbortSignal): Promise<readonly Row[]> {
  const { connection, transport, clock, namespace, role, manifest } = options;
  const ask: Ask = (request) => told(() => within(clock, 10_000, signal, (inner) => transport.send(request, inner)));
  const rows: Row[] = [];

  const way = await reach(connection.server, await connection.trust(), clock.now());
  rows.push(networkRow(way));
  if (way.kind === "failed") return rows;

  const version = await ask({ method: "GET", path: "/version" });
  rows.push(versionRow(version));
  const token = tokenRow(connection, clock.now());
  if (token) rows.push(token);
  if (version.kind !== "told") return rows;
  const clockRow = skewRow(version.answer, clock.now());
  if (clockRow) rows.push(clockRow);

  if (role === "launcher")
    rows.push(namespaceRow(await ask({ method: "GET", path: `/api/v1/namespaces/${namespace}` }), namespace));
  rows.push(await permissionsRow(ask, role, namespace));
  if (manifest !== undefined && role === "launcher") {
    const path = `/apis/batch/v1/namespaces/${namespace}/jobs?dryRun=All&fieldManager=longshore`;
    rows.push(createRow(await ask({ method: "POST", path, body: manifest })));
  }
  return rows;
}

function failed(step: Row["step"], code: DiagnosisCode, detail: string): Row {
  return { step, state: "failed", detail, code, hint: DIAGNOSES[code].hint };
}

function networkRow(way: Reach): Row {
  if (way.kind === "failed")
    return failed(
      "network",
      isUntrusted(way.code) ? "TlsUntrusted" : "EndpointUnreachable",
      `${way.step.toUpperCase()}: ${way.message}`,
    );
  if (!way.tls) return { step: "network", state: "warning", detail: "DNS, TCP; no TLS: only for an API server on this machine" };
  const { daysLeft } = way.tls;
  const soon = daysLeft < 14;
  return {
    step: "network",
    state: soon ? "warning" : "ok",
    detail: `DNS, TCP, TLS (${daysLeft} d left)`,
    ...(soon ? { hint: "The API server's certificate must be renewed." } : {}),
  };
}

function versionRow(result: Awaited<ReturnType<Ask>>): Row {
  if (result.kind !== "told") return failed("version", "EndpointUnreachable", silent(result));
  const { answer } = result;
  const version = text(member(answer.body, "gitVersion"));
  if (answer.status === 200 && version)
    return { step: "version", state: "ok", detail: `Kubernetes ${version.replace(/^v/, "")}` };
  if (answer.status === 401) return failed("version", "AuthRejected", "The API server does not accept the credential.");
  // Some clusters show their version to nobody; what counts is asked below.
  if (answer.status === 403) return { step: "version", state: "skipped", detail: "The API server does not tell its version." };
  return failed(
    "version",
    "EndpointUnreachable",
    `What answers there is no Kubernetes API: status ${answer.status}, ${wordsOf(answer).slice(0, 80)}`,
  );
}

function tokenRow(connection: Connection, nowMs: number): Row | undefined {
  const times = connection.tokenTimes();
  if (!times) return undefined;
  const leftMs = times.expiresAtMs - nowMs;
  if (leftMs <= 0) return failed("token", "AuthRejected", "The token has expired.");
  const short = times.issuedAtMs !== undefined && times.expiresAtMs - times.issuedAtMs <= TOKEN_SHORT_MS;
  const detail = `The token expires in ${leftMs > 2 * 86_400_000 ? `${Math.floor(leftMs / 86_400_000)} d` : `${Math.ceil(leftMs / 60_000)} min`}.`;
  if (short || leftMs > TOKEN_SOON_MS) return { step: "token", state: "ok", detail };
  return { step: "token", state: "warning", detail, hint: "Its file is read again by itself; rotate it." };
}

function skewRow(answer: ApiAnswer, nowMs: number): Row | undefined {
  const theirs = Date.parse(answer.headers["date"] ?? "");
  if (Number.isNaN(theirs)) return undefined;
  // The header counts whole seconds, so a second says nothing.
  const skewSeconds = Math.round((theirs - nowMs) / 1000);
  const off = Math.abs(skewSeconds) > 5;
  const detail = off
    ? `The cluster's clock is ${Math.abs(skewSeconds)} s ${skewSeconds > 0 ? "ahead of" : "behind"} ours.`
    : "The clocks agree.";
  return {
    step: "clock",
    state: off ? "warning" : "ok",
    detail,
    ...(off ? { hint: "Let both be set by NTP: tokens and certificates depend on it." } : {}),
  };
}

function namespaceRow(result: Awaited<ReturnType<Ask>>, namespace: string): Row {
  if (result.kind !== "told") return failed("namespace", "EndpointUnreachable", silent(result));
  const { answer } = result;
  const object = answer.status === 200 ? asObject(answer.body) : undefined;
  if (object)
    return object.deleting
      ? failed("namespace", "NamespaceTerminating", `The namespace ${namespace} is being deleted.`)
      : { step: "namespace", state: "ok", detail: `namespace ${namespace}` };
  if (saysMissing(answer, namespace))
    return {
      step: "namespace",
      state: "failed",
      detail: `There is no namespace ${namespace}.`,
      hint: "Create it, or correct the group's namespaces.",
    };
  return failed("namespace", "Forbidden", `Its own namespace may not be read: ${wordsOf(answer)}`);
}

async function permissionsRow(ask: Ask, role: RoleName, namespace: string): Promise<Row> {
  const may = async (need: Need) => ({ need, allowed: await isAllowed(ask, need, namespace) });
  const needs = await Promise.all(needsOf(role).map(may));
  const unknown = needs.filter((it) => it.allowed === undefined);
  if (unknown.length > 0) return { step: "permissions", state: "skipped", detail: "The API server does not say what we may do." };
  const missing = needs.filter((it) => !it.allowed);
  if (missing.length > 0)
    return failed("permissions", "Forbidden", `The ${role} may not ${missing.map((it) => words(it.need)).join(", ")}.`);
  const tooMuch = (await Promise.all(REFUSED[role].map(may))).filter((it) => it.allowed);
  if (tooMuch.length === 0)
    return {
      step: "permissions",
      state: "ok",
      detail: `${role} may do what it needs; ${REFUSED[role].map(words).join(", ")} refused`,
    };
  const hint = "`longshore rbac` prints a Role that is enough.";
  return {
    step: "permissions",
    state: "warning",
    detail: `The ${role} may also ${tooMuch.map((it) => words(it.need)).join(", ")}, which it never does.`,
    hint,
  };
}

async function isAllowed(
  ask: Ask,
  { group, resource, subresource, verb }: Need,
  namespace: string,
): Promise<boolean | undefined> {
  const attributes = { namespace, verb, group, resource, ...(subresource === undefined ? {} : { subresource }) };
  const body = {
    apiVersion: "authorization.k8s.io/v1",
    kind: "SelfSubjectAccessReview",
    spec: { resourceAttributes: attributes },
  };
  const result = await ask({ method: "POST", path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body });
  const allowed = result.kind === "told" ? member(member(result.answer.body, "status"), "allowed") : undefined;
  return typeof allowed === "boolean" ? allowed : undefined;
}

function createRow(result: Awaited<ReturnType<Ask>>): Row {
  if (result.kind !== "told") return failed("create", "EndpointUnreachable", silent(result));
  const { answer } = result;
  const warning = answer.headers["warning"];
  if (answer.status === 201 && warning)
    return { step: "create", state: "warning", detail: `dry-run create: ${warning}`, hint: DIAGNOSES.AdmissionDenied.hint };
  if (answer.status === 201) return { step: "create", state: "ok", detail: "dry-run create" };
  const words = wordsOf(answer);
  if (/exceeded quota/.test(words))
    return {
      step: "create",
      state: "warning",
      detail: `The namespace is full: ${words}`,
      code: "QuotaExceeded",
      hint: DIAGNOSES.QuotaExceeded.hint,
    };
  return failed(
    "create",
    answer.status === 403 ? "AdmissionDenied" : "EndpointUnreachable",
    `A dry-run create was answered ${answer.status}: ${words}`,
  );
}

function words({ resource, subresource, verb }: Need): string {
  return `${verb} ${resource}${subresource === undefined ? "" : `/${subresource}`}`;
}

function silent(result: Exclude<Awaited<ReturnType<Ask>>, { kind: "told" }>): string {
  return result.kind === "answered" ? wordsOf(result) : result.failure.message;
}

/**
 * Checks everything that can be wrong between us and one group, in order, and reports each check as a row. Changes nothing.
 *
 * The bug this prevents: a group that looks well until its first Job needs the one permission that nobody gave.
 */
import { DIAGNOSES, type Diagnosis, RESTRICTED } from "@longshore/contract/messages/diagnosis.ts";
import { quantity } from "@longshore/contract/units.ts";
import type { Making } from "@longshore/contract/group-settings.ts";
import type { Connection } from "../access/connection.ts";
import { asList, asObject, isRaw, member, saysMissing, text, wordsOf } from "../objects.ts";
import { newToken, type TokenPlace } from "../access/new-token.ts";
import { type Need, needsOf, REFUSED, type RoleName, type Use as GroupUse } from "../permissions/rbac.ts";
import { ask as askInTime, type Sending, type Told } from "../request/purpose.ts";
import type { Unread } from "../request/read.ts";
import type { ApiAnswer, ApiRequest } from "../transport.ts";
import { networkRow } from "./reach.ts";

export interface Row {
  readonly step: "network" | "version" | "clock" | "token" | "namespace" | "permissions" | "quota" | "create";
  readonly state: "ok" | "warning" | "failed" | "skipped";
  /** "DNS, TCP, TLS (212 d left)" */
  readonly detail: string;
  readonly code?: string;
  readonly hint?: string;
}

interface PreflightOptions extends Sending {
  readonly connection: Connection;
  readonly namespace: string;
  readonly role: RoleName;
  /** The file of the credential's token, for the command that renews it. */
  readonly tokenFile?: string | undefined;
  /** Explains an unwelcome answer in the launcher's own words. */
  readonly explain: Explain;
  /** The group is polled: it needs no permission to watch. */
  readonly polls?: boolean;
  /** What the group's policy lets runs have beside Jobs. */
  readonly made?: Making;
  /** A Job to create as a dry run; only for the launcher. */
  readonly manifest?: object;
}

export type Explain = (to: "create" | "read", unread: Unread) => Pick<Diagnosis, "code" | "sentence" | "hint">;

type Ask = (request: ApiRequest) => Promise<Told>;
type DiagnosisCode = keyof typeof DIAGNOSES;

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const TOKEN_SOON_MS = 14 * DAY_MS;
/** Tokens that live shorter than this are rotated by a machine. */
const TOKEN_SHORT_MS = 2 * DAY_MS;

export async function preflight(options: PreflightOptions, signal: AbortSignal): Promise<readonly Row[]> {
  const { connection, transport, clock, namespace, role, tokenFile, polls = false, made = {}, manifest, explain } = options;
  const credential: Credential = { role, namespace, file: tokenFile };
  const ask: Ask = (request) => askInTime({ transport, clock }, { purpose: "inquire", ...request }, signal);
  const network = await networkRow(connection, clock.now());
  const rows = [network];
  if (network.state === "failed") return rows;

  const version = await ask({ method: "GET", path: "/version" });
  rows.push(versionRow(version, credential, explain));
  const token = tokenRow(connection, credential, clock.now());
  if (token) rows.push(token);
  // If the cluster does not know the user, it refuses everything: one row is enough to say so.
  if (version.kind !== "told" || version.answer.status === 401) return rows;
  const clockRow = skewRow(version.answer, clock.now());
  if (clockRow) rows.push(clockRow);

  const named = role === "launcher" ? await ask({ method: "GET", path: `/api/v1/namespaces/${namespace}` }) : undefined;
  if (named !== undefined) rows.push(namespaceRow(named, namespace, explain));
  const permissions = await permissionsRow(ask, role, namespace, { polls, ...made });
  rows.push(permissions);
  if (permissions.detail === nothing(role, namespace)) return rows; // the following rows would say the same again
  if (role === "launcher") {
    const quotas = await ask({ method: "GET", path: `/api/v1/namespaces/${namespace}/resourcequotas?limit=50` });
    const list = quotas.kind === "told" && quotas.answer.status === 200 ? asList(quotas.answer.body) : undefined;
    if (list !== undefined && list.items.length > 0) rows.push(quotaRow(list.items));
  }
  if (manifest !== undefined && role === "launcher") {
    const path = `/apis/batch/v1/namespaces/${namespace}/jobs?dryRun=All&fieldManager=longshore`;
    rows.push(createRow(await ask({ method: "POST", path, body: manifest }), isRestricted(named), explain));
  }
  return rows;
}

function diagnosed(step: Row["step"], { code, sentence, hint }: ReturnType<Explain>, state: Row["state"] = "failed"): Row {
  return { step, state, detail: sentence, code, hint };
}

function failed(step: Row["step"], code: DiagnosisCode, detail: string, hint: string = DIAGNOSES[code].hint): Row {
  return { step, state: "failed", detail, code, hint };
}

type Credential = Omit<TokenPlace, "file"> & { readonly file: string | undefined };

function toRenew({ file, ...of }: Credential): string {
  const what = of.role === "launcher" ? "launch" : "watch";
  return file === undefined
    ? `Give the group's \`${what}\` a new credential.`
    : `Put a new token into the group's \`${what}\` file: ${newToken({ ...of, file })}`;
}

const unknownHere = (step: Row["step"], credential: Credential, detail: string): Row =>
  failed(step, "AuthRejected", detail, `${toRenew(credential)} If its account is gone, apply \`longshore rbac <group>\` first.`);

/**
 * Minor versions of Kubernetes: below `whole` a field of our Jobs is not understood; below `least` the pods of our Jobs cannot
 * be found.
 */
const MINOR = { least: 27, whole: 29, tested: [31, 36] } as const;

function versionRow(result: Told, credential: Credential, explain: Explain): Row {
  if (result.kind !== "told") return diagnosed("version", explain("read", result));
  const { answer } = result;
  const version = text(member(answer.body, "gitVersion"))?.replace(/^v/, "");
  if (answer.status === 200 && version) return supportRow(version);
  if (answer.status === 401) return unknownHere("version", credential, "The API server does not accept the credential.");
  // Some clusters show their version to nobody; the rows that follow then decide.
  if (answer.status === 403) return { step: "version", state: "skipped", detail: "The API server does not tell its version." };
  const detail = `The answer is from no Kubernetes API: status ${answer.status}, ${wordsOf(answer).slice(0, 80)}`;
  return failed("version", "EndpointUnreachable", detail);
}

function supportRow(version: string): Row {
  const minor = Number(/^1\.(\d+)/.exec(version)?.[1] ?? Number.NaN);
  const [first, last] = MINOR.tested;
  const hint = `Upgrade the cluster: Longshore is tested with 1.${first} to 1.${last}.`;
  const row = (state: Row["state"], lacks: string): Row => ({
    step: "version",
    state,
    detail: `Kubernetes ${version} ${lacks}`,
    hint,
  });
  if (minor < MINOR.least) return row("failed", "does not label the pods of its Jobs as Longshore needs it.");
  if (minor < MINOR.whole) return row("warning", "may start a pod anew before the old one has ended.");
  return { step: "version", state: "ok", detail: `Kubernetes ${version}` };
}

function tokenRow(connection: Connection, credential: Credential, nowMs: number): Row | undefined {
  const times = connection.tokenTimes();
  if (!times) return undefined;
  const leftMs = times.expiresAtMs - nowMs;
  if (leftMs <= 0) return unknownHere("token", credential, "The token has expired.");
  const detail = `The token expires in ${inUnits(leftMs)}.`;
  const livesMs = times.issuedAtMs === undefined ? Number.POSITIVE_INFINITY : times.expiresAtMs - times.issuedAtMs;
  if (leftMs > soonMs(livesMs, credential)) return { step: "token", state: "ok", detail };
  return { step: "token", state: "warning", detail, hint: toRenew(credential) };
}

function soonMs(livesMs: number, { file }: Credential): number {
  if (livesMs > TOKEN_SHORT_MS) return TOKEN_SOON_MS;
  // A pod's own token may live for an hour, and the kubelet renews it in time.
  return file === undefined ? livesMs / 10 : Math.max(HOUR_MS, livesMs / 10);
}

function inUnits(ms: number): string {
  if (ms > 2 * DAY_MS) return `${Math.floor(ms / DAY_MS)} d`;
  return ms > 2 * HOUR_MS ? `${Math.floor(ms / HOUR_MS)} h` : `${Math.ceil(ms / 60_000)} min`;
}

function skewRow(answer: ApiAnswer, nowMs: number): Row | undefined {
  const theirs = Date.parse(answer.headers["date"] ?? "");
  if (Number.isNaN(theirs)) return undefined;
  // The header counts whole seconds, so a difference of one second says nothing.
  const skewSeconds = Math.round((theirs - nowMs) / 1000);
  if (Math.abs(skewSeconds) <= 5) return { step: "clock", state: "ok", detail: "The clocks agree." };
  const detail = `The cluster's clock is ${Math.abs(skewSeconds)} s ${skewSeconds > 0 ? "ahead of" : "behind"} ours.`;
  return { step: "clock", state: "warning", detail, hint: "Let both be set by NTP: tokens and certificates depend on it." };
}

function namespaceRow(result: Told, namespace: string, explain: Explain): Row {
  if (result.kind !== "told") return diagnosed("namespace", explain("read", result));
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
      hint: "Create it and its Roles (`longshore rbac <group>`), or correct the group's `namespaces`.",
    };
  // A user who may not read a namespace is not told whether it exists.
  if (answer.status === 403) {
    const detail = `The namespace ${namespace} may not be read: there is none of this name, or its Role is missing.`;
    const hint = "Correct the group's `namespaces`, or apply its Role again: `longshore rbac <group>` prints it.";
    return failed("namespace", "Forbidden", detail, hint);
  }
  return diagnosed("namespace", explain("read", { kind: "answered", ...answer }));
}

const TO_POLL = "If the cluster allows no watch, set `poll: 10s` for the group instead.";

const nothing = (role: RoleName, namespace: string): string => `The ${role} may do nothing in the namespace ${namespace}.`;

async function permissionsRow(ask: Ask, role: RoleName, namespace: string, use: GroupUse): Promise<Row> {
  const may = async (need: Need) => ({ need, allowed: await isAllowed(ask, need, namespace) });
  const needs = await Promise.all(needsOf(role, use).map(may));
  const unknown = needs.filter((it) => it.allowed === undefined);
  if (unknown.length > 0) return { step: "permissions", state: "skipped", detail: "The API server does not say what we may do." };
  const missing = needs.filter((it) => !it.allowed);
  if (missing.length === needs.length) return failed("permissions", "Forbidden", nothing(role, namespace));
  const basic = needsOf(role, { polls: use.polls === true });
  const isBasic = ({ resource, verb }: Need): boolean => basic.some((it) => it.resource === resource && it.verb === verb);
  if (missing.length > 0 && !missing.some(({ need }) => isBasic(need))) {
    const what = inWords(missing.map((it) => it.need));
    if (missing.every(({ need }) => need.resource === "cronjobs"))
      return {
        step: "permissions",
        state: "warning",
        detail: `Prepared CronJobs are not ${role === "watcher" ? "found" : "run"}: the ${role} may not ${what}.`,
        hint: DIAGNOSES.Forbidden.hint,
      };
    const hint = `${DIAGNOSES.Forbidden.hint} If no run shall have volumes there, set \`policy: {storageClasses: []}\` for the group.`;
    const detail = `Runs with volumes, secret values or large files of their own are refused, or what they leave stays: the ${role} may not ${what}.`;
    return { step: "permissions", state: "warning", detail, hint };
  }
  if (missing.length > 0) {
    const row = failed("permissions", "Forbidden", `The ${role} may not ${inWords(missing.map((it) => it.need))}.`);
    return missing.every(({ need }) => need.verb === "watch") ? { ...row, hint: `${row.hint} ${TO_POLL}` } : row;
  }
  const tooMuch = (await Promise.all(REFUSED[role].map(may))).filter((it) => it.allowed);
  const refused = `${role} may do what it needs; ${inWords(REFUSED[role])}: refused`;
  if (tooMuch.length === 0) return { step: "permissions", state: "ok", detail: refused };
  const detail = `The ${role} may also ${inWords(tooMuch.map((it) => it.need))}, which it never does.`;
  return { step: "permissions", state: "warning", detail, hint: "`longshore rbac` prints a Role that is enough." };
}

async function isAllowed(
  ask: Ask,
  { group, resource, subresource, verb }: Need,
  namespace: string,
): Promise<boolean | undefined> {
  const spec = { resourceAttributes: { namespace, verb, group, resource, subresource } };
  const body = { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec };
  const result = await ask({ method: "POST", path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body });
  const allowed = result.kind === "told" ? member(member(result.answer.body, "status"), "allowed") : undefined;
  return typeof allowed === "boolean" ? allowed : undefined;
}

interface Use {
  readonly quota: string;
  readonly resource: string;
  readonly used: string;
  readonly hard: string;
  /** "nothing": a hard limit of 0 on something that each run needs. "other": one of 0 on something else, or on other pods. */
  readonly allows: "some" | "nothing" | "other";
  /** The used part of the quota. From 1 on, nothing more fits. */
  readonly share: number;
}

const QUOTA_WARN_AT = 0.9;

/** Shows the fullest quota. Without this row, all rows could be well while the group takes no Job. */
function quotaRow(quotas: readonly unknown[]): Row {
  const counted = quotas.flatMap(usesOf);
  const never = counted.filter(({ allows }) => allows === "nothing");
  if (never.length > 0) {
    const detail = `No Job ever goes in: ${words(never)}. Each run fails at once.`;
    return failed("quota", "QuotaImpossible", detail, "Raise the namespace's quota, or take it away.");
  }
  const uses = counted.filter(({ allows }) => allows === "some").toSorted((a, b) => b.share - a.share);
  const tight = uses.filter(({ share }) => share >= QUOTA_WARN_AT);
  const fullest = uses.length === 0 ? "no amounts counted yet" : `fullest: ${words(uses.slice(0, 1))}`;
  if (tight.length === 0) return { step: "quota", state: "ok", detail: fullest };
  const full = tight.filter(({ share }) => share >= 1);
  return {
    step: "quota",
    state: "warning",
    detail: full.length > 0 ? `Nothing more goes in: ${words(full)}.` : `Nearly full: ${words(tight)}.`,
    ...(full.length > 0 && { code: "QuotaExceeded" }),
    hint: "Runs wait until others finish, and ended ones that count are deleted (`keepFor`); raise the namespace's quota if that takes too long.",
  };
}

const words = (uses: readonly Use[]): string =>
  uses.map(({ quota, resource, used, hard }) => `${used} of ${hard} ${resource} (quota ${quota})`).join(", ");

const NEEDED = /^(pods|jobs|count\/(pods|jobs\.batch)|((requests|limits)\.)?(cpu|memory))$/;

/** A quota with scopes is about some pods only, which need not be ours. */
function isScoped(raw: unknown): boolean {
  const spec = member(raw, "spec");
  return member(spec, "scopes") !== undefined || member(spec, "scopeSelector") !== undefined;
}

function usesOf(raw: unknown): readonly Use[] {
  const quota = text(member(member(raw, "metadata"), "name")) ?? "";
  const status = member(raw, "status");
  const [hard, used] = [member(status, "hard"), member(status, "used")];
  if (!isRaw(hard)) return [];
  return Object.keys(hard).flatMap((resource) => {
    const [limit, use] = [text(hard[resource]) ?? "", text(member(used, resource)) ?? "0"];
    const [most, now] = [quantity(limit), quantity(use)];
    if (most === undefined || now === undefined) return [];
    const share = now / most;
    const allows = most > 0 ? "some" : NEEDED.test(resource) && !isScoped(raw) ? "nothing" : "other";
    const name = resource.replace(/^count\//, "").replace(/^jobs\.batch$/, "Jobs");
    return [{ quota, resource: name, used: use, hard: limit, allows, share }];
  });
}

const RESTRICTED_PODS = /PodSecurity "restricted/;

/** True if the namespace refuses every pod that is not `restricted`: its label says so, and the dry run of a Job only warns. */
function isRestricted(namespace: Told | undefined): boolean {
  if (namespace?.kind !== "told") return false;
  const labels = member(member(namespace.answer.body, "metadata"), "labels");
  return member(labels, "pod-security.kubernetes.io/enforce") === "restricted";
}

function createRow(result: Told, restricted: boolean, explain: Explain): Row {
  if (result.kind !== "told") return diagnosed("create", explain("create", result));
  const { answer } = result;
  const warning = answer.headers["warning"];
  if (answer.status === 201 && warning && restricted && RESTRICTED_PODS.test(warned(warning))) {
    const detail = `The namespace enforces Pod Security "restricted": a Job would be taken, and each of its pods refused: ${warned(warning)}`;
    return failed("create", "AdmissionDenied", detail, RESTRICTED);
  }
  if (answer.status === 201 && warning)
    return {
      step: "create",
      state: "warning",
      detail: `A Job would be taken, and its pods perhaps not: ${warned(warning)}`,
      hint: RESTRICTED_PODS.test(warned(warning)) ? RESTRICTED : DIAGNOSES.AdmissionDenied.hint,
    };
  if (answer.status === 201) return { step: "create", state: "ok", detail: "A Job would be taken (dry run)" };
  const why = explain("create", { kind: "answered", ...answer });
  return diagnosed("create", why, why.code === "QuotaExceeded" ? "warning" : "failed");
}

/** Returns the text of a Warning header: `299 - "would violate \\"it\\""` */
function warned(header: string): string {
  const quoted = /^\d{3} \S+ "((?:[^"\\]|\\.)*)"/.exec(header)?.[1];
  return quoted === undefined ? header : quoted.replaceAll(/\\(.)/g, "$1");
}

/** "create and patch jobs, delete pods" */
function inWords(needs: readonly Need[]): string {
  const resources = Map.groupBy(needs, ({ resource, subresource }) => [resource, subresource ?? []].flat().join("/"));
  return [...resources].map(([resource, of]) => `${listed(of.map(({ verb }) => verb))} ${resource}`).join(", ");
}

const listed = (verbs: readonly string[]): string =>
  verbs.length < 2 ? (verbs[0] ?? "") : `${verbs.slice(0, -1).join(", ")} and ${verbs.at(-1)}`;

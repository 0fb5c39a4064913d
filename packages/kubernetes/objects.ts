/**
 * Checks by hand the parts of an API server's answers that this package needs: names, UIDs, versions, the kind of refusal.
 *
 * The bug this prevents: a proxy's HTML page or a half-deleted object read as if it were the object we asked for. Other files
 * decide the meaning of an object; this one only decides whether an answer is an object.
 */
import type { ApiAnswer } from "./transport.ts";

export type Raw = Readonly<Record<string, unknown>>;

export function isRaw(value: unknown): value is Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The member, if the value is an object and has it. */
export function member(value: unknown, key: string): unknown {
  return isRaw(value) && Object.hasOwn(value, key) ? value[key] : undefined;
}

export function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** An object of the cluster: with name, UID and version, and otherwise as it came. */
export interface ApiObject {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly finalizers: readonly string[];
  readonly deleting: boolean;
  readonly raw: Raw;
}

/** Undefined if name, UID or version is missing: no Kubernetes API sent such an object. */
export function asObject(value: unknown): ApiObject | undefined {
  const metadata = member(value, "metadata");
  const name = text(member(metadata, "name"));
  const uid = text(member(metadata, "uid"));
  const resourceVersion = text(member(metadata, "resourceVersion"));
  if (!isRaw(value) || !name || !uid || !resourceVersion) return undefined;
  const finalizers = member(metadata, "finalizers");
  return {
    name,
    uid,
    resourceVersion,
    finalizers: Array.isArray(finalizers) ? finalizers.filter((it) => typeof it === "string") : [],
    deleting: text(member(metadata, "deletionTimestamp")) !== undefined,
    raw: value,
  };
}

export interface ApiList {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  readonly next: string | undefined;
}

/** Undefined if the body is no list: an error page must never be read as an empty list. */
export function asList(value: unknown): ApiList | undefined {
  const metadata = member(value, "metadata");
  const resourceVersion = text(member(metadata, "resourceVersion"));
  const kind = text(member(value, "kind"));
  if (!resourceVersion || !kind?.endsWith("List")) return undefined;
  const items = member(value, "items");
  if (!Array.isArray(items) && items !== null && items !== undefined) return undefined;
  return { items: Array.isArray(items) ? items : [], resourceVersion, next: text(member(metadata, "continue")) || undefined };
}

/** The `Status` with which a Kubernetes API refuses a request. */
export interface ApiStatus {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
  readonly name: string | undefined;
  /** The fields that are wrong: "metadata.uid". */
  readonly fields: readonly string[];
  readonly causes: readonly string[];
  readonly retryAfterSeconds: number | undefined;
}

export function asStatus(value: unknown): ApiStatus | undefined {
  if (member(value, "kind") !== "Status") return undefined;
  const details = member(value, "details");
  const list = member(details, "causes");
  const causes: readonly unknown[] = Array.isArray(list) ? list : [];
  const code = member(value, "code");
  const retryAfter = member(details, "retryAfterSeconds");
  return {
    code: typeof code === "number" ? code : 0,
    reason: text(member(value, "reason")) ?? "",
    message: text(member(value, "message")) ?? "",
    name: text(member(details, "name")),
    fields: causes.map((it) => text(member(it, "field")) ?? "").filter((it) => it !== ""),
    causes: causes.map((it) => text(member(it, "reason")) ?? "").filter((it) => it !== ""),
    retryAfterSeconds: typeof retryAfter === "number" && retryAfter >= 0 ? retryAfter : undefined,
  };
}

/**
 * True if the API server itself says that the object called `name` does not exist. A load balancer's 404, a wrong path or a
 * missing namespace does not prove that, and must not lead to a Job being declared gone.
 */
export function saysMissing(answer: ApiAnswer, name: string): boolean {
  const status = asStatus(answer.body);
  return answer.status === 404 && status?.reason === "NotFound" && status.name === name;
}

const RETRY_AFTER_MAX_MS = 120_000;

/** The pause that the API server asks for; bounded, because a hostile or broken server may say a year. */
export function retryAfterMs(answer: ApiAnswer): number | undefined {
  const header = Number.parseInt(answer.headers["retry-after"] ?? "", 10);
  const seconds = Number.isFinite(header) && header >= 0 ? header : asStatus(answer.body)?.retryAfterSeconds;
  return seconds === undefined ? undefined : Math.min(seconds * 1000, RETRY_AFTER_MAX_MS);
}

/** The answer in words for a person: the Status's message, or the beginning of the text that came instead. */
export function wordsOf(answer: { readonly status: number; readonly body: unknown }): string {
  const status = asStatus(answer.body);
  if (status && status.message !== "") return status.message.slice(0, 500);
  if (typeof answer.body === "string" && answer.body.trim() !== "") return answer.body.trim().slice(0, 200);
  return `status ${answer.status} without a reason`;
}

/**
 * The bodies of an API server's refusals: real `Status` objects, with the reasons and causes that clients decide by.
 *
 * The bug this prevents: a client that is tested against a bare "409" and then cannot tell AlreadyExists from Conflict.
 */
import type { ApiAnswer } from "../api.ts";
import { KINDS, qualified, type Resource } from "../objects.ts";

export interface Cause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

/** Thrown inside the pocket if a request must be refused; the server turns it into its answer. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly answer: ApiAnswer;
  constructor(answer: ApiAnswer) {
    super("the request is refused");
    this.answer = answer;
  }
}

interface Details {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly Cause[];
  readonly retryAfterSeconds?: number;
}

export function statusBody(code: number, reason: string, message: string, details?: Details, metadata: object = {}): object {
  const body = { kind: "Status", apiVersion: "v1", metadata, status: "Failure", message, reason };
  return details === undefined ? { ...body, code } : { ...body, details, code };
}

export function refusal(
  code: number,
  reason: string,
  message: string,
  details?: Details,
  headers: Record<string, string> = {},
): Refusal {
  return new Refusal({ status: code, headers, body: statusBody(code, reason, message, details) });
}

const about = (resource: Resource, name: string, kind: string = resource): Details => {
  const { group } = KINDS[resource];
  return group === "" ? { name, kind } : { name, group, kind };
};

/** "Job.batch", as some messages write it. */
const qualifiedKind = (resource: Resource): string => {
  const { group, kind } = KINDS[resource];
  return group === "" ? kind : `${kind}.${group}`;
};

export const badRequest = (message: string): Refusal => refusal(400, "BadRequest", message);
export const unauthorized = (): Refusal => refusal(401, "Unauthorized", "Unauthorized");
export const notServed = (): Refusal => refusal(404, "NotFound", "the server could not find the requested resource", {});
export const notAllowed = (): Refusal =>
  refusal(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});

export const notFound = (resource: Resource, name: string): Refusal =>
  refusal(404, "NotFound", `${qualified(resource)} "${name}" not found`, about(resource, name));

export const alreadyExists = (resource: Resource, name: string): Refusal =>
  refusal(409, "AlreadyExists", `${qualified(resource)} "${name}" already exists`, about(resource, name));

export const conflict = (resource: Resource, name: string, why: string): Refusal =>
  refusal(409, "Conflict", `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`, about(resource, name));

/** A failed precondition has its own words and names the kind, unlike a Conflict of two writers. */
export function preconditionFailed(resource: Resource, name: string, why: string): Refusal {
  const message = `Operation cannot be fulfilled on ${qualifiedKind(resource)} "${name}": ${why}`;
  return refusal(409, "Conflict", message, about(resource, name, KINDS[resource].kind));
}

export const forbidden = (resource: Resource, name: string, why: string, causes?: readonly Cause[]): Refusal =>
  refusal(403, "Forbidden", `${qualified(resource)} "${name}" is forbidden: ${why}`, {
    ...about(resource, name),
    ...(causes === undefined ? {} : { causes }),
  });

export function invalid(resource: Resource, name: string, causes: readonly Cause[]): Refusal {
  const said = causes.map((it) => `${it.field}: ${it.message}`);
  const message = `${qualifiedKind(resource)} "${name}" is invalid: ${said.length === 1 ? said[0] : `[${said.join(", ")}]`}`;
  return refusal(422, "Invalid", message, { ...about(resource, name, KINDS[resource].kind), causes });
}

export const required = (field: string, detail?: string): Cause => ({
  reason: "FieldValueRequired",
  message: detail === undefined ? "Required value" : `Required value: ${detail}`,
  field,
});

export const invalidValue = (field: string, value: unknown, detail: string): Cause => ({
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${detail}`,
  field,
});

export const unsupported = (field: string, value: unknown, allowed: readonly string[]): Cause => ({
  reason: "FieldValueNotSupported",
  message: `Unsupported value: ${JSON.stringify(value)}: supported values: ${allowed.map((it) => JSON.stringify(it)).join(", ")}`,
  field,
});

export const forbiddenField = (field: string, detail: string): Cause => ({
  reason: "FieldValueForbidden",
  message: `Forbidden: ${detail}`,
  field,
});

export const expired = (message: string, metadata: object = {}): Refusal =>
  new Refusal({ status: 410, headers: {}, body: statusBody(410, "Expired", message, undefined, metadata) });

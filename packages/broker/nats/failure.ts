/**
 * JetStream's refusals as failures that a person can act on.
 *
 * The bug this prevents: a log that says "timeout" or "no responders" although a permission is missing or JetStream is off.
 */
import { Failure } from "@longshore/contract/problem.ts";
import { JetStreamApiError } from "@nats-io/jetstream";
import { errors, type PermissionViolationError } from "@nats-io/transport-node";
import { messageOf } from "../address.ts";

/** JetStream's numbers for its errors; its texts change. */
export const CODES = {
  consumerNotFound: 10014,
  noJetStream: 10039,
  noJetStreamHere: 10076,
  streamNameTaken: 10058,
  streamNotFound: 10059,
  subjectsOverlap: 10065,
} as const;

export function apiCode(error: unknown): number | undefined {
  if (error instanceof JetStreamApiError) return error.code;
  return error instanceof Error && error.cause !== undefined ? apiCode(error.cause) : undefined;
}

/** The operation that our user may not do. */
export type Denial = Pick<PermissionViolationError, "operation" | "subject">;

export function denialIn(error: unknown): Denial | undefined {
  if (error instanceof errors.PermissionViolationError) return error;
  return error instanceof Error && error.cause !== undefined ? denialIn(error.cause) : undefined;
}

/**
 * True if nobody takes messages of that subject. For a subject of JetStream's API: the consumer is gone, or JetStream is off.
 */
export function hasNoResponders(error: unknown): boolean {
  if (error instanceof errors.NoRespondersError) return true;
  return error instanceof Error && error.cause !== undefined && hasNoResponders(error.cause);
}

export interface Where {
  readonly where: string; // "NATS at host:port"
  readonly user: string;
}

export function forbidden({ where, user }: Where, { operation, subject }: Denial, error?: unknown): Failure {
  const who = user === "" ? "a client without a user" : `the user "${user}"`;
  const what = `${where} does not allow ${who} to ${operation === "publish" ? "publish" : "subscribe"} to "${subject}".`;
  return new Failure("halt", "BrokerForbidden", `${what} Add the subject to the user's permissions.`, error);
}

export function failureOf(error: unknown, at: Where, what: string): Failure {
  if (error instanceof Failure) return error;
  const denied = denialIn(error);
  if (denied !== undefined) return forbidden(at, denied, error);
  const code = apiCode(error);
  if (code === CODES.noJetStream || code === CODES.noJetStreamHere) {
    const off = `${at.where} has no JetStream for the account of our user.`;
    return new Failure(
      "halt",
      "BrokerJetStream",
      `${off} Enable it: "jetstream: enabled" in the account's configuration.`,
      error,
    );
  }
  return new Failure("retry", "BrokerUnavailable", `${at.where} ${what}: ${messageOf(error)}`, error);
}

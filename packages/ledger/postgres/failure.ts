/**
 * Turns errors of Postgres and of the network into a `Failure`, once: the only place that reads a SQLSTATE.
 *
 * The bugs this prevents: a lost connection taken for a refusal (the work would be dropped); a request that can never be
 * stored, tried again for ever; and a password in an error message.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";

export interface Place {
  readonly host: string;
  readonly port: number;
  readonly database: string;
  readonly user: string;
}

/** Returns the ledger's address in words that may be printed: without the password. */
export function placeOf(url: string): Place {
  if (!URL.canParse(url) || !/^postgres(ql)?:$/.test(new URL(url).protocol))
    throw new Failure("halt", "LedgerUrl", "The ledger's URL is wrong. Write postgres://user:password@host:5432/database.");
  const { hostname, port, pathname, username } = new URL(url);
  const user = decodeURIComponent(username) || "postgres";
  return {
    host: hostname.replace(/^\[|\]$/g, "") || "localhost",
    port: port === "" ? 5432 : Number(port),
    database: decodeURIComponent(pathname.slice(1)) || user,
    user,
  };
}

const named = ({ host, port, database }: Place): string =>
  `The ledger (Postgres at ${host.includes(":") ? `[${host}]` : host}:${port}/${database})`;

/** True for a transaction that lost against another one: `transaction` repeats it at once. */
export const lostRace = (error: unknown): boolean => {
  const state = stateOf(error);
  return state === "40001" || state === "40P01";
};

const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused the connection. Is it running, and is the port right?",
  ENOTFOUND: "has no address: DNS does not know the host. Check its spelling in the ledger's URL.",
  EAI_AGAIN: "has no address at the moment: DNS did not answer. Check the network of this machine.",
  ETIMEDOUT: "did not answer. Is there a firewall between, and is the port right?",
  EHOSTUNREACH: "cannot be reached from this machine. Check the network.",
};

const HALT: Readonly<Record<string, readonly [code: string, sentence: (place: Place) => string]>> = {
  "28P01": ["LedgerLogin", ({ user }) => `refuses the password of the user "${user}". Check the user and the password.`],
  "28000": ["LedgerLogin", ({ user }) => `does not let the user "${user}" in. Check the user, and the server's pg_hba.conf.`],
  "3D000": ["LedgerMissing", ({ database }) => `has no database "${database}". Create it, or correct the URL.`],
  "42501": [
    "LedgerRights",
    ({ user }) =>
      `does not give the user "${user}" the rights it needs. Run what \`longshore ledger roles\` prints as the owner of the database.`,
  ],
};

/** Classes of SQLSTATE that pass by themselves: connection, resources, shutdown, a standby, a lock or a time-out. */
const PASSES = /^(08|53|57|58|40|25006|25P03|25P02|55P03)/;
/** Classes of SQLSTATE for values that cannot be stored: trying again never helps. */
const DATA = /^(22|23|54)/;

/** Turns every error of a query or a connection into a `Failure`, which says what to do next. A `Failure` stays as it is. */
export function failureOf(error: unknown, place: Place): Failure {
  if (error instanceof Failure) return error;
  const state = stateOf(error);
  const message = error instanceof Error ? error.message : String(error);
  const where = named(place);
  const halt = state === undefined ? undefined : HALT[state];
  if (halt !== undefined) return new Failure("halt", halt[0], `${where} ${halt[1](place)}`, error);
  if (state !== undefined && /^[0-9A-Z]{5}$/.test(state)) {
    if (PASSES.test(state)) return new Failure("retry", "LedgerUnavailable", `${where} says: ${message}.`, error);
    if (DATA.test(state)) return new Failure("refuse", "LedgerRefused", `${where} cannot store this: ${message}.`, error);
    const hint = "Was its schema changed by hand, or by a newer Longshore?";
    return new Failure("halt", "LedgerBroken", `${where} does not understand us: ${message}. ${hint}`, error);
  }
  const told = state === undefined ? undefined : NETWORK[state];
  return new Failure("retry", "LedgerUnreachable", `${where} ${told ?? `was lost: ${message}.`}`, error);
}

function stateOf(error: unknown): string | undefined {
  const inner: unknown = error instanceof AggregateError && error.errors.length > 0 ? error.errors[0] : error;
  if (typeof inner !== "object" || inner === null || !("code" in inner)) return undefined;
  return typeof inner.code === "string" ? inner.code : undefined;
}

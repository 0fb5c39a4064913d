/**
 * Reads a broker's address, prints it without the password, and says what to do if the broker cannot be reached.
 *
 * The bugs this prevents: a password in an error message or a log, and "ECONNREFUSED" as the whole explanation.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The virtual host (RabbitMQ) or the database (Postgres). */
  readonly space: string;
  readonly secure: boolean;
  readonly query: URLSearchParams;
}

/** A user or a password that is given beside the URL wins over the one in the URL. */
export function readAddress(
  url: URL,
  given: { readonly user?: string | undefined; readonly password?: string | undefined },
  defaults: Pick<Address, "port" | "user" | "space" | "secure">,
): Address {
  return {
    host: url.hostname.replace(/^\[|\]$/g, "") || "localhost",
    port: url.port === "" ? defaults.port : Number(url.port),
    user: given.user ?? (decodeURIComponent(url.username) || defaults.user),
    password: given.password ?? decodeURIComponent(url.password),
    space: url.pathname.length > 1 ? decodeURIComponent(url.pathname.slice(1)) : defaults.space,
    secure: defaults.secure,
    query: url.searchParams,
  };
}

export function hostPort({ host, port }: Pick<Address, "host" | "port">): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

const UNTRUSTED = "has a certificate that this machine does not trust. Give its CA.";
const NO_TLS = "speaks no TLS on this port. Name its TLS port, or write the URL without TLS (amqp://, nats://).";
const NO_HANDSHAKE =
  "does not agree with us on TLS. Is this its TLS port, and does it speak TLS 1.2 or newer, with a certificate that fits?";
const NETWORK: Readonly<Record<string, string>> = {
  ECONNREFUSED: "refused the connection. Is it running, and is the port right?",
  ENOTFOUND: "has no address: DNS does not know the host. Check its spelling in the broker's URL.",
  EAI_AGAIN: "has no address at the moment: DNS did not answer. Check the network of this machine.",
  ETIMEDOUT: "did not answer. Is there a firewall between, and is the port right?",
  EHOSTUNREACH: "cannot be reached from this machine. Check the network.",
  ECONNRESET: "closed the connection at once. Does the port speak this protocol, and with or without TLS?",
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  ERR_SSL_WRONG_VERSION_NUMBER: NO_TLS,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: NO_TLS,
  EPROTO: NO_TLS,
  ERR_TLS_CERT_ALTNAME_INVALID: "has a certificate for another host name. Write the name that is in the certificate.",
  CERT_HAS_EXPIRED: "has an expired certificate. Renew it.",
};

/** Explains the errors that every broker can have. An adapter explains its own errors first. */
export function unreachable(error: unknown, where: string): Failure {
  const told = NETWORK[codeOf(error) ?? ""];
  if (told !== undefined) return new Failure("retry", "BrokerUnreachable", `${where} ${told}`, error);
  if (codeOf(error)?.startsWith("ERR_SSL_")) return new Failure("retry", "BrokerUnreachable", `${where} ${NO_HANDSHAKE}`, error);
  return new Failure("retry", "BrokerUnavailable", `${where} cannot be used at the moment: ${messageOf(error)}`, error);
}

export function codeOf(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message || (codeOf(error) ?? error.name) : String(error);
}

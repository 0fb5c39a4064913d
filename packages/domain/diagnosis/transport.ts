/**
 * Why no answer came from a cluster: the codes of sockets, names and certificates in a sentence for people.
 *
 * The bug this prevents: every fault of the network looks like "fetch failed", and the operator who could mend it in a minute
 * (a missing CA, a misspelt host) is left to find out which.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/diagnosis.ts";

export interface NoAnswer {
  /** Of Node's error, or of the cause inside it: "ECONNREFUSED", "CERT_HAS_EXPIRED". */
  readonly code: string | undefined;
  readonly message: string;
  /** "api.prod-a.example:6443" */
  readonly host: string;
}

type Says = (host: string) => string;

const TLS: Readonly<Record<string, Says>> = {
  SELF_SIGNED_CERT_IN_CHAIN: (host) => `${host} shows a certificate that was signed by an authority this group does not trust.`,
  DEPTH_ZERO_SELF_SIGNED_CERT: (host) => `${host} shows a certificate that it signed itself.`,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: (host) => `${host} shows a certificate that was signed by an authority this group does not trust.`,
  UNABLE_TO_GET_ISSUER_CERT: (host) => `${host} shows a certificate whose signer is unknown.`,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: (host) => `${host} shows a certificate whose signer is unknown.`,
  CERT_SIGNATURE_FAILURE: (host) => `${host} shows a certificate that the group's CA did not sign.`,
  CERT_UNTRUSTED: (host) => `${host} shows a certificate that this group does not trust.`,
  CERT_REJECTED: (host) => `${host} shows a certificate that this group does not trust.`,
  CERT_REVOKED: (host) => `${host} shows a certificate that was revoked.`,
  CERT_HAS_EXPIRED: (host) => `${host} shows a certificate that has expired.`,
  CERT_NOT_YET_VALID: (host) => `${host} shows a certificate that is not valid yet; one of the two clocks may be wrong.`,
  INVALID_CA: (host) => `${host} shows a certificate that was signed by something that is no authority.`,
  ERR_TLS_CERT_ALTNAME_INVALID: (host) => `${host} shows a certificate for another name.`,
}; // biome-ignore format: a table

const NETWORK: Readonly<Record<string, Says>> = {
  ECONNREFUSED: (host) => `Nothing listens at ${host}.`,
  ENOTFOUND: (host) => `No address is known for ${host}.`,
  EAI_AGAIN: (host) => `The name server does not answer for ${host}.`,
  EHOSTUNREACH: (host) => `No way leads to ${host}.`,
  ENETUNREACH: (host) => `No way leads to ${host}.`,
  EHOSTDOWN: (host) => `${host} is down.`,
  ETIMEDOUT: (host) => `${host} did not answer in time.`,
  UND_ERR_CONNECT_TIMEOUT: (host) => `${host} did not take the connection in time; a firewall may drop it.`,
  UND_ERR_HEADERS_TIMEOUT: (host) => `${host} took the request and did not answer in time.`,
  UND_ERR_BODY_TIMEOUT: (host) => `${host} began to answer and stopped.`,
  ECONNRESET: (host) => `${host} cut the connection.`,
  EPIPE: (host) => `${host} cut the connection.`,
  UND_ERR_SOCKET: (host) => `${host} cut the connection.`,
  EPROTO: (host) => `What listens at ${host} does not speak TLS as an API server does.`,
  ERR_SSL_WRONG_VERSION_NUMBER: (host) => `What listens at ${host} does not speak TLS; the address may need another port.`,
  HPE_INVALID_CONSTANT: (host) => `What listens at ${host} does not speak HTTP.`,
}; // biome-ignore format: a table

/** Whether the caller knows that nothing arrived is its own matter: this only says why. */
export function diagnoseTransport({ code = "", message, host }: NoAnswer): Diagnosis {
  const evidence = [[code, message.slice(0, 1000)].filter((it) => it !== "").join(": ")];
  const untrusted = own(TLS, code);
  if (untrusted) return diagnose("TlsUntrusted", untrusted(host), evidence);
  const says = own(NETWORK, code);
  return diagnose("EndpointUnreachable", says?.(host) ?? `${host} could not be asked.`, evidence);
}

/** A code is foreign text: "constructor" is none. */
const own = (table: Readonly<Record<string, Says>>, code: string): Says | undefined =>
  Object.hasOwn(table, code) ? table[code] : undefined;

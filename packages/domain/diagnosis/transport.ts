/**
 * Says why no answer came from a cluster: the codes of sockets, names and certificates, in words.
 *
 * The bug this prevents: every fault of the network looks like "fetch failed", and the operator, who could mend a missing CA or
 * a misspelt host in a minute, is left to find out which it is. The caller decides whether the request may have arrived: this
 * file only says why.
 */
import { diagnose, type Diagnosis } from "@longshore/contract/messages/diagnosis.ts";
import { field, text } from "../watch/raw.ts";

const OTHER_NAME = "Use the name that the certificate is for: as the group's address, or beside it as its `serverName`.";
const CUT = "It is tried again by itself; if it lasts, look at what stands between here and the cluster: a proxy, a firewall.";

const UNTRUSTED: ReadonlyMap<string, string> = new Map([
  ["SELF_SIGNED_CERT_IN_CHAIN", "its certificate was signed by an authority that this group does not trust"],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", "its certificate is signed by itself and by no authority"],
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "its certificate was signed by an authority that this group does not trust"],
  ["UNABLE_TO_GET_ISSUER_CERT", "its certificate's signer is unknown"],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "its certificate's signer is unknown"],
  ["CERT_SIGNATURE_FAILURE", "its certificate was not signed by the group's CA"],
  ["CERT_UNTRUSTED", "its certificate is not trusted"],
  ["CERT_REJECTED", "its certificate is not accepted"],
  ["CERT_REVOKED", "its certificate was revoked"],
  ["CERT_HAS_EXPIRED", "its certificate has expired"],
  ["CERT_NOT_YET_VALID", "its certificate is not valid yet; one of the two clocks may be wrong"],
  ["INVALID_CA", "its certificate's signer is no certificate authority"],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "its certificate is for another name"],
  ["HOSTNAME_MISMATCH", "its certificate is for another name"],
]);

/** Hints for errors with which the hint of their diagnosis code would not help. */
const HINTS: ReadonlyMap<string, string> = new Map([
  ["CERT_HAS_EXPIRED", "Ask the cluster's people to renew the certificate of their API server."],
  ["CERT_NOT_YET_VALID", "Set both clocks by NTP; if they are right, ask the cluster's people to look at their certificate."],
  ["CERT_REVOKED", "Ask the cluster's people to renew the certificate of their API server."],
  ["ERR_TLS_CERT_ALTNAME_INVALID", OTHER_NAME],
  ["HOSTNAME_MISMATCH", OTHER_NAME],
  ["UND_ERR_SOCKET", CUT],
  ["ECONNRESET", CUT],
  ["EPIPE", CUT],
]);

const UNREACHABLE: ReadonlyMap<string, string> = new Map([
  ["ECONNREFUSED", "nothing listens at its address"],
  ["ENOTFOUND", "its name has no address"],
  ["EAI_AGAIN", "the name server does not answer"],
  ["EHOSTUNREACH", "no way leads to it"],
  ["ENETUNREACH", "no way leads to it"],
  ["ETIMEDOUT", "it did not answer in time"],
  ["UND_ERR_CONNECT_TIMEOUT", "it did not take the connection in time; a firewall may drop it"],
  ["UND_ERR_HEADERS_TIMEOUT", "it took the request and did not answer in time"],
  ["UND_ERR_BODY_TIMEOUT", "it began to answer and stopped"],
  ["ECONNRESET", "the connection was cut"],
  ["EPIPE", "the connection was cut"],
  ["UND_ERR_SOCKET", "the connection was cut"],
  ["EPROTO", "what listens there does not speak TLS as an API server does"],
  ["ERR_SSL_WRONG_VERSION_NUMBER", "what listens there does not speak TLS; the address may need another port"],
  ["HPE_INVALID_CONSTANT", "what listens there does not speak HTTP"],
]);

/** An error of Node, or an error around it: an adapter's `Failure`, or "fetch failed". */
export interface NoAnswer {
  readonly message: string;
  readonly cause?: unknown;
}

/** `who`: the server that was asked, as the beginning of a sentence. */
export function diagnoseTransport(error: NoAnswer, who = "The group's cluster"): Diagnosis {
  const code = codesOf(error).findLast((it) => UNTRUSTED.has(it) || UNREACHABLE.has(it));
  const untrusted = code === undefined ? undefined : UNTRUSTED.get(code);
  const why = untrusted ?? (code === undefined ? undefined : UNREACHABLE.get(code));
  const evidence = [text(error.message) ?? "", ...(code === undefined ? [] : [code])];
  return diagnose(
    untrusted ? "TlsUntrusted" : "EndpointUnreachable",
    `${who} gave no answer${why === undefined ? "" : `: ${why}`}.`,
    evidence,
    code === undefined ? undefined : HINTS.get(code),
  );
}

const DEPTH_MAX = 6;

/**
 * Lists the codes from the outer error to the inner ones. If several addresses were tried, only the first one's error is read.
 */
function codesOf(error: unknown): readonly string[] {
  const codes: string[] = [];
  let at: unknown = error;
  for (let depth = 0; depth < DEPTH_MAX && at !== undefined; depth++) {
    codes.push(...[text(field(at, "code"), 100) ?? []].flat());
    const tried = field(at, "errors");
    at = Array.isArray(tried) && tried.length > 0 ? (tried[0] as unknown) : field(at, "cause");
  }
  return codes;
}

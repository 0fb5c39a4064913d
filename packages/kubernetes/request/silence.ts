/**
 * Explains why no answer came: "unsent" if the request cannot have arrived, else "unanswered".
 *
 * The bug this prevents: a create whose answer was lost is tried again as if it had never been sent. A request counts as sent if
 * it was handed to a connection, or if that is in doubt.
 */
import { Failure } from "@longshore/contract/problems/problem.ts";

const STRANGER = "its certificate was signed by an authority we do not know";
const UNTRUSTED: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is signed by itself and by no authority we know",
  SELF_SIGNED_CERT_IN_CHAIN: STRANGER,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: STRANGER,
  UNABLE_TO_GET_ISSUER_CERT: STRANGER,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: STRANGER,
  CERT_SIGNATURE_FAILURE: "its certificate was not signed by the authority that it names",
  CERT_UNTRUSTED: "its certificate is not trusted",
  CERT_REJECTED: "its certificate is not accepted",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet; one of the clocks may be wrong",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
  HOSTNAME_MISMATCH: "its certificate is for another name",
};

const UNREACHABLE: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens at this address",
  ENOTFOUND: "its name cannot be found in DNS",
  EAI_AGAIN: "DNS did not answer",
  EHOSTUNREACH: "there is no route to it",
  ENETUNREACH: "there is no route to it",
  ETIMEDOUT: "it did not take the connection in time",
  UND_ERR_CONNECT_TIMEOUT: "it did not take the connection in time",
  ECONNRESET: "the connection was reset",
  EPIPE: "the connection was closed",
  UND_ERR_SOCKET: "the connection was closed",
  UND_ERR_HEADERS_TIMEOUT: "it took the request and did not answer in time",
  UND_ERR_BODY_TIMEOUT: "it stopped in the middle of its answer",
  UND_ERR_DESTROYED: "we are stopping",
  UND_ERR_CLOSED: "we are stopping",
  EPROTO: "it does not speak TLS as we do",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS; is this an http address?",
};

/** The code of the innermost error ("ECONNREFUSED", "CERT_HAS_EXPIRED"), by which domain/diagnosis/transport decides. */
export function networkCode(error: unknown): string | undefined {
  let found: string | undefined;
  let at: unknown = error;
  for (let depth = 0; depth < 6 && at instanceof Error; depth++) {
    if (!(at instanceof Failure) && "code" in at && typeof at.code === "string") found = at.code;
    // If several addresses were tried (AggregateError), the first one's reason is as good as any.
    at = at instanceof AggregateError && at.errors.length > 0 ? at.errors[0] : at.cause;
  }
  return found;
}

/** The code of an answer that was longer than we accept. */
export const TOO_LONG = "ANSWER_TOO_LONG";

/** The other side could not prove its identity. */
export const isUntrusted = (code = ""): boolean => Object.hasOwn(UNTRUSTED, code);

const EARLY = ["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH", "UND_ERR_CONNECT_TIMEOUT", "EPROTO"];

/** True if the code proves that no connection was made. */
export const neverConnected = (code = ""): boolean => isUntrusted(code) || EARLY.includes(code);

export function silence(server: string, arrived: boolean, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const code = networkCode(error);
  const known = code === undefined ? undefined : (UNTRUSTED[code] ?? UNREACHABLE[code]);
  const why = known ?? (error instanceof Error ? error.message : String(error));
  const message = `${server} gave no answer: ${why}${code ? ` (${code})` : ""}.`;
  return new Failure("retry", arrived ? "unanswered" : "unsent", message, error);
}

/**
 * The first row of preflight: looks up an API server's name, connects, and checks the certificate, step by step.
 *
 * The bug this prevents: a bare "connection error", which does not tell whether DNS, a firewall or a certificate is at fault.
 */
import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type DetailedPeerCertificate, type TLSSocket } from "node:tls";
import { DIAGNOSES } from "@longshore/contract/messages/diagnosis.ts";
import { type Connection, hostOf, TO_VERIFY, type Trust, UNVERIFIED } from "../access/connection.ts";
import { systemAuthorities } from "../request/exchange.ts";
import { isUntrusted, networkCode, silence } from "../request/silence.ts";
import type { Row } from "./preflight.ts";

const STEP_MS = 5_000;
const DAY_MS = 86_400_000;
const RENEW_DAYS = 14;

const WAYS = {
  dns: "Correct the name in the group's `server`, or see that DNS knows it where Longshore runs.",
  tcp: "Check the port, whether the API server runs, and whether a firewall lets Longshore's machine through.",
} as const;
const CERTIFICATES: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "Ask the cluster's people to renew the certificate of their API server.",
  CERT_NOT_YET_VALID: "Set both clocks by NTP.",
  ERR_TLS_CERT_ALTNAME_INVALID: "Use the name that the certificate is for: in `server`, or beside it as `serverName`.",
};

export async function networkRow(connection: Connection, nowMs: number): Promise<Row> {
  const { server } = connection;
  const trust = await connection.trust();
  const url = new URL(server);
  const host = hostOf(url);
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  let step: "dns" | "tcp" | "tls" = "dns";
  let shown = "";
  try {
    await lookup(host, { all: true });
    step = "tcp";
    await ready(connectTcp({ host, port }), "connect");
    if (url.protocol === "http:") return warning("DNS, TCP; no TLS: only for an API server on this machine");
    step = "tls";
    const { socket, certificate } = await shake(host, port, trust);
    shown = ` It shows a certificate for ${commonName(certificate.subject)}, signed by ${commonName(certificate.issuer)}.`;
    if (!trust.verify) return warning(`DNS, TCP, TLS. ${UNVERIFIED}`, TO_VERIFY);
    if (!socket.authorized) throw untrusted(socket.authorizationError);
    const daysLeft = Math.floor((Date.parse(certificate.valid_to) - nowMs) / DAY_MS);
    const detail = `DNS, TCP, TLS (${daysLeft} d left)`;
    if (daysLeft < RENEW_DAYS) return warning(detail, "Ask the cluster's people to renew it before it ends.");
    return { step: "network", state: "ok", detail };
  } catch (error) {
    const networked = networkCode(error);
    const code = isUntrusted(networked) ? "TlsUntrusted" : "EndpointUnreachable";
    const hint = (step === "tls" ? CERTIFICATES[networked ?? ""] : WAYS[step]) ?? DIAGNOSES[code].hint;
    const detail = `${step.toUpperCase()}: ${silence(server, false, error).message}${shown}`;
    return { step: "network", state: "failed", detail, code, hint };
  }
}

const warning = (detail: string, hint?: string): Row => ({
  step: "network",
  state: "warning",
  detail,
  ...(hint !== undefined && { hint }),
});

async function shake(
  host: string,
  port: number,
  { ca, cert, key, serverName }: Trust,
): Promise<{ socket: TLSSocket; certificate: DetailedPeerCertificate }> {
  const name = serverName ?? (isIP(host) === 0 ? host : undefined);
  const socket = connectTls({
    host,
    port,
    ca: ca ?? systemAuthorities(),
    // Accepts any certificate, to be able to show it; nothing is sent over this connection.
    rejectUnauthorized: false,
    ...(name === undefined ? {} : { servername: name }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  });
  const certificate = await ready(socket, "secureConnect", () => socket.getPeerCertificate(true));
  return { socket, certificate };
}

/** Resolves at the event, rejects at an error or after the time limit, and closes the socket in each case. */
function ready(socket: Socket, event: "connect"): Promise<void>;
function ready<T>(socket: Socket, event: "secureConnect", take: () => T): Promise<T>;
function ready<T>(socket: Socket, event: string, take?: () => T): Promise<T | undefined> {
  return new Promise((resolve, reject) => {
    const settle = (then: () => void) => {
      then();
      socket.destroy();
    };
    socket.setTimeout(STEP_MS, () => settle(() => reject(Object.assign(new Error("It took too long."), { code: "ETIMEDOUT" }))));
    socket.once(event, () => settle(() => resolve(take?.())));
    socket.on("error", (error) => settle(() => reject(error)));
  });
}

/** Node gives an Error or a bare code, depending on the version. */
function untrusted(reason: unknown): Error {
  const code = reason instanceof Error && "code" in reason ? reason.code : reason instanceof Error ? reason.message : reason;
  return Object.assign(new Error("The certificate is not trusted."), { code: String(code) });
}

function commonName(of: { readonly CN?: string | string[] } | undefined): string {
  const name = of?.CN;
  return (Array.isArray(name) ? name[0] : name) ?? "nobody in particular";
}

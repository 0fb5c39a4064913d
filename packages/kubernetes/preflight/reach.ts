/**
 * Tries the way to an API server step by step: its name, a connection, its certificate. `doctor` uses it when a person asks
 * why.
 *
 * The bug this prevents: "connection error", where the reader needs to know whether to call the people of DNS, of the firewall
 * or of the certificates.
 */
import { lookup } from "node:dns/promises";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type DetailedPeerCertificate, type TLSSocket } from "node:tls";
import { hostOf } from "../access/address.ts";
import type { Trust } from "../access/connection.ts";
import { systemAuthorities } from "../request/exchange.ts";
import { networkCode, silence } from "../request/silence.ts";

export interface Reached {
  readonly addresses: readonly string[];
  readonly tls?: { readonly daysLeft: number; readonly subject: string; readonly issuer: string };
}

export type Reach =
  | ({ readonly kind: "reached" } & Reached)
  | {
      readonly kind: "failed";
      readonly step: "dns" | "tcp" | "tls";
      readonly message: string;
      readonly code: string | undefined;
      readonly before: Reached;
    };

const STEP_MS = 5_000;
const DAY_MS = 86_400_000;

export async function reach(server: string, trust: Trust, nowMs: number): Promise<Reach> {
  const url = new URL(server);
  const host = hostOf(url);
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  let done: Reached = { addresses: [] };
  let step: "dns" | "tcp" | "tls" = "dns";
  try {
    done = { addresses: (await lookup(host, { all: true })).map((it) => it.address) };
    step = "tcp";
    await ready(connectTcp({ host, port }), "connect");
    if (url.protocol === "http:") return { kind: "reached", ...done };
    step = "tls";
    const { socket, certificate } = await shake(host, port, trust);
    const tls = {
      daysLeft: Math.floor((Date.parse(certificate.valid_to) - nowMs) / DAY_MS),
      subject: commonName(certificate.subject),
      issuer: commonName(certificate.issuer),
    };
    done = { ...done, tls };
    if (!socket.authorized && trust.verify) throw untrusted(socket.authorizationError);
    return { kind: "reached", ...done };
  } catch (error) {
    const code = networkCode(error);
    const shown = done.tls ? ` It shows a certificate for ${done.tls.subject}, signed by ${done.tls.issuer}.` : "";
    return { kind: "failed", step, message: silence(server, false, error).message + shown, code, before: done };
  }
}

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

/** Resolves at the event and closes the socket, or throws the error that came within the time limit. */
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

/**
 * A cluster's address and our identity there, as exchange.ts needs them. The files that they come from may be replaced at any
 * time. connect.ts makes a connection from settings, watch-access.ts from an announcement.
 *
 * The bugs this prevents: a token sent in clear, or to the cloud's metadata service, or, without a warning, to a server whose
 * certificate nobody verifies; a service that works until its hourly token has expired; and a service that fails because it
 * read a file while the file was being replaced.
 */
import { readFile } from "node:fs/promises";
import { BlockList, isIP } from "node:net";
import type { Clock } from "@longshore/runtime/clock.ts";
import { reason } from "@longshore/runtime/config/config.ts";
import { withoutCredentials } from "@longshore/runtime/config/secret.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { member } from "../objects.ts";

export interface Trust {
  /** PEM. If undefined, the machine's own trust store is used. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly serverName: string | undefined;
  /** False only if the group's settings, or its kubeconfig, say that the certificate is not to be verified. */
  readonly verify: boolean;
}

export interface Connection {
  /** "https://10.2.0.1:6443", with a path if the API lives behind one; no slash at the end. */
  readonly server: string;
  /** The namespace that a kubeconfig's context names. A group names its own. */
  readonly contextNamespace?: string | undefined;
  trust(): Promise<Trust>;
  /** The Authorization header; undefined if we have a client certificate, or no credential. */
  authorization(): Promise<string | undefined>;
  /** Called after a 401 or an untrusted certificate: the next request reads the files again, not only after a minute. */
  rejected(): void;
  /** The token's start and end. A token of an hour is rotated by a machine, a token of a year by a person. */
  tokenTimes(): { readonly issuedAtMs: number | undefined; readonly expiresAtMs: number } | undefined;
}

/** Remembers the last token, to tell its times. */
export function connectionOf(
  of: Pick<Connection, "server" | "contextNamespace" | "trust" | "authorization" | "rejected">,
): Connection {
  let last: string | undefined;
  return {
    ...of,
    authorization: async () => {
      last = await of.authorization();
      return last;
    },
    tokenTimes: () => tokenTimesOf(last),
  };
}

/** A service account token is a JWT with an expiry. We read its times, and rely on nothing else in it. */
export function tokenTimesOf(authorization: string | undefined): ReturnType<Connection["tokenTimes"]> {
  const payload = authorization?.replace(/^Bearer /, "").split(".")[1];
  if (payload === undefined) return undefined;
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
    const [end, start] = [member(claims, "exp"), member(claims, "iat")];
    if (typeof end !== "number" || !Number.isFinite(end)) return undefined;
    return { expiresAtMs: end * 1000, issuedAtMs: typeof start === "number" ? start * 1000 : undefined };
  } catch {
    return undefined; // a token of another kind
  }
}

const AGE_MAX_MS = 60_000;
/** Least time between file readings: a cluster that answers 401 to everything must not make us read without pause. */
const AGE_MIN_MS = 1_000;
const FILE_MAX_BYTES = 1024 * 1024;

export interface Kept<T> {
  get(): Promise<T>;
  /** The last value was rejected: the next `get` makes it again, even if it is younger than a minute. */
  doubt(): void;
}

/** Hears why a value could not be made again, and `undefined` when it could. */
export type Hear = (trouble: string | undefined) => void;

/** Keeps the value that `make` made. If making it again fails, the old value stays in use: it may still be good. */
export function kept<T>(clock: Clock, first: T, make: () => Promise<T>, hear: Hear = () => undefined): Kept<T> {
  let value = first;
  let madeMs = clock.now();
  let maxMs = AGE_MAX_MS;
  let making: Promise<T> | undefined;

  async function again(): Promise<T> {
    try {
      value = await make();
      hear(undefined);
    } catch (error) {
      hear(reason(error));
      return value; // if the old value is no longer good, the request's 401 or failed handshake tells more
    } finally {
      madeMs = clock.now();
      maxMs = AGE_MAX_MS;
      making = undefined;
    }
    return value;
  }

  return {
    get: () => {
      if (clock.now() - madeMs < maxMs) return Promise.resolve(value);
      making ??= again();
      return making;
    },
    doubt: () => {
      maxMs = AGE_MIN_MS;
    },
  };
}

/** Throws a sentence that names the file. */
export async function readText(path: string): Promise<string> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    throw new Error(`The file ${path} cannot be read: ${UNREADABLE[String(code)] ?? String(code ?? error)}.`, { cause: error });
  }
  if (bytes.length > FILE_MAX_BYTES) throw new Error(`The file ${path} is larger than ${FILE_MAX_BYTES} bytes.`);
  return bytes.toString("utf8");
}

const UNREADABLE: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "we may not read it",
  EISDIR: "it is a folder",
};

const NEVER = listOf([
  ["169.254.0.0", 16], // link-local, as most metadata services are
  ["fe80::", 10],
  ["100.100.100.200", 32],
  ["fd00:ec2::254", 128],
  ["0.0.0.0", 8],
]);
const LOOPBACK = listOf([
  ["127.0.0.0", 8],
  ["::1", 128],
]);

/**
 * Returns why the address cannot be an API server's. `URL` spells every form of an IP address (0x7f.1, 2130706433) in one way.
 */
export function addressProblem(server: string): string | undefined {
  if (!URL.canParse(server)) return `"${withoutCredentials(server)}" is not an address; write it as https://host:6443.`;
  const url = new URL(server);
  if (url.username !== "" || url.password !== "")
    return "An address must not hold a user or password; give the group a token or a client certificate.";
  if (url.search !== "" || url.hash !== "") return "An address must not hold a query or a fragment.";
  const host = hostOf(url);
  if (is(NEVER, host)) return `${host} is link-local or a metadata service, never a cluster's API server.`;
  if (url.protocol === "https:") return undefined;
  if (url.protocol !== "http:") return `The scheme must be https, not ${url.protocol.replace(":", "")}.`;
  if (is(LOOPBACK, host) || host === "localhost") return undefined;
  return "http would send the token in clear; use https. (Only an API server on this machine's loopback may be http.)";
}

export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "");

function is(list: BlockList, host: string): boolean {
  const version = isIP(host);
  return version !== 0 && list.check(host, version === 4 ? "ipv4" : "ipv6");
}

function listOf(subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of subnets) list.addSubnet(net, prefix, isIP(net) === 4 ? "ipv4" : "ipv6");
  return list;
}

export const UNVERIFIED = "The cluster's certificate is not verified: whoever answers at its address is sent our token.";
export const TO_VERIFY = "Give the group the cluster's CA (caFile), and remove insecureSkipVerify.";

interface Named {
  readonly name: string;
  readonly connection: Pick<Connection, "server" | "trust">;
}

export async function sayUnverified(clusters: readonly Named[], log: Pick<Log, "warn">): Promise<void> {
  for (const { name, connection } of clusters)
    if (!(await connection.trust()).verify) warnUnverified(log, name, connection.server);
}

export const warnUnverified = (log: Pick<Log, "warn">, group: string, server: string): void =>
  log.warn("a cluster's certificate is not verified", { group, server, why: UNVERIFIED, hint: TO_VERIFY });

/**
 * Turns a group's cluster settings and one credential into a `Connection`, or returns every problem with them at once.
 *
 * The bugs this prevents: certificates that nobody verifies because no setting says otherwise, a token that is read once, a
 * program run because an uploaded kubeconfig named it, and a group that fails at its first Job because a file was never there.
 */
import { X509Certificate } from "node:crypto";
import type { Problem } from "@longshore/contract/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Secret } from "@longshore/runtime/config/secret.ts";
import { addressProblem } from "./address.ts";
import type { Connection, Trust } from "./connection.ts";
import { type Kept, kept, readText } from "./credential-file.ts";
import { openKubeconfig } from "./kubeconfig.ts";
import { member } from "../objects.ts";

/** The place of the cluster: exactly one of `server`, `kubeconfig` and `inCluster`. */
export interface ClusterSettings {
  readonly server?: string | undefined;
  readonly caFile?: string | undefined;
  /** PEM. Without `ca` and `caFile`, the machine's own trust store judges the cluster. */
  readonly ca?: string | undefined;
  /** The name in the server's certificate, if it is not the address's host. */
  readonly serverName?: string | undefined;
  readonly insecureSkipVerify?: boolean | undefined;
  readonly kubeconfig?: string | undefined;
  /** Absent: the kubeconfig's current context. */
  readonly context?: string | undefined;
  /** Lets the kubeconfig name programs that are run for its credential (`exec`, `auth-provider`). */
  readonly allowPrograms?: boolean | undefined;
  readonly inCluster?: boolean | undefined;
}

/**
 * Our identity there. It may be empty for a kubeconfig, which has a user of its own, and in a cluster, whose pod has a token.
 */
export interface CredentialSettings {
  readonly token?: string | Secret | undefined;
  readonly tokenFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

export interface ConnectOptions {
  readonly cluster: ClusterSettings;
  readonly credential: CredentialSettings;
  readonly clock: Clock;
  /** The place of these settings, for the problems' paths: "/groups/prod-a". */
  readonly at?: string;
  /** The credential's name there: "launch" or "watch". */
  readonly as?: string;
  /** A sentence's beginning, if these settings are not a group's: "Add --allow-programs if …". */
  readonly toAllowPrograms?: string;
}

export type Connected =
  | { readonly kind: "connected"; readonly connection: Connection }
  | { readonly kind: "refused"; readonly problems: readonly Problem[] };

const POD = "/var/run/secrets/kubernetes.io/serviceaccount";

export async function connect(options: ConnectOptions): Promise<Connected> {
  const { clock, at = "", as = "credential", toAllowPrograms } = options;
  const problems: Problem[] = [];
  const report: Report = (path, code, message) => void problems.push({ path: `${at}${path}`, code, message });
  checkChoice(options.cluster, report);
  if (problems.length > 0) return { kind: "refused", problems };

  const { cluster, credential } = inPod(options);
  const opened =
    cluster.kubeconfig === undefined
      ? undefined
      : await tried("/cluster/kubeconfig", report, () =>
          openKubeconfig(cluster.kubeconfig ?? "", { ...cluster, toAllowPrograms }, clock),
        );
  const server = (opened?.server ?? cluster.server ?? "").replace(/\/+$/, "");
  const wrong = cluster.server === undefined ? undefined : addressProblem(server);
  if (wrong !== undefined) report("/cluster/server", "Address", wrong);

  const own = hasOwn(credential);
  const readTrust = async (base: Trust): Promise<Trust> => ({
    ca: cluster.caFile === undefined ? (cluster.ca ?? base.ca) : await readText(cluster.caFile),
    cert: credential.certFile === undefined ? (own ? undefined : base.cert) : await readText(credential.certFile),
    key: credential.keyFile === undefined ? (own ? undefined : base.key) : await readText(credential.keyFile),
    serverName: cluster.serverName ?? base.serverName,
    verify: base.verify && cluster.insecureSkipVerify !== true,
  });
  const base = async () => (opened ? await opened.trust() : NOTHING);
  const trust = await openTrust(cluster, credential, report, as, base, readTrust, clock);
  const token = await openToken(credential, report, as, clock);
  if (opened === undefined && cluster.kubeconfig === undefined && !own) {
    report(`/${as}`, "Missing", "The group has no credential here; give it a tokenFile, or a certFile and keyFile.");
  }
  if (problems.length > 0 || trust === undefined) return { kind: "refused", problems };

  const authorization =
    token === undefined ? async () => (own ? undefined : opened?.authorization()) : async () => bearer(await token.get());
  let last: string | undefined;
  return {
    kind: "connected",
    connection: {
      server,
      description: `${server} with ${words(credential, cluster)}${cluster.insecureSkipVerify ? ", its certificate NOT verified" : ""}`,
      contextNamespace: opened?.namespace,
      trust: () => trust.get(),
      authorization: async () => {
        last = await authorization();
        return last;
      },
      rejected: () => {
        token?.doubt();
        trust.doubt();
        opened?.doubt();
      },
      expiresAtMs: () => timesOf(last)?.expiresAtMs,
      tokenTimes: () => timesOf(last),
    },
  };
}

type Report = (path: string, code: string, message: string) => void;

const NOTHING: Trust = { ca: undefined, cert: undefined, key: undefined, serverName: undefined, verify: true };

function hasOwn({ token, tokenFile, certFile, keyFile }: CredentialSettings): boolean {
  return [token, tokenFile, certFile, keyFile].some((it) => it !== undefined);
}

function checkChoice(cluster: ClusterSettings, report: Report): void {
  const chosen = [
    cluster.server !== undefined && "server",
    cluster.kubeconfig !== undefined && "kubeconfig",
    cluster.inCluster === true && "inCluster",
  ].filter((it) => it !== false);
  if (chosen.length !== 1) {
    const found = chosen.length === 0 ? "none of them is there" : `${chosen.join(" and ")} are there`;
    report("/cluster", "Choice", `A cluster is named by exactly one of server, kubeconfig and inCluster; ${found}.`);
  }
  if (cluster.ca !== undefined && cluster.caFile !== undefined) report("/cluster/caFile", "Choice", "Give either ca or caFile.");
  if (cluster.insecureSkipVerify === true && (cluster.ca !== undefined || cluster.caFile !== undefined)) {
    report(
      "/cluster/insecureSkipVerify",
      "Choice",
      "A CA is given and would not be used: take insecureSkipVerify away, or the CA.",
    );
  }
  if (cluster.kubeconfig === undefined) {
    for (const key of ["context", "allowPrograms"] as const) {
      if (cluster[key] !== undefined)
        report(`/cluster/${key}`, "Choice", `${key} means something only together with kubeconfig.`);
    }
  }
}

/** In a pod: the service's own name, and the files that Kubernetes puts there and rotates. */
function inPod({ cluster, credential }: ConnectOptions): Pick<ConnectOptions, "cluster" | "credential"> {
  if (cluster.inCluster !== true) return { cluster, credential };
  return {
    cluster: { caFile: `${POD}/ca.crt`, ...cluster, server: "https://kubernetes.default.svc" },
    credential: hasOwn(credential) ? credential : { tokenFile: `${POD}/token` },
  };
}

async function openTrust(
  cluster: ClusterSettings,
  credential: CredentialSettings,
  report: Report,
  as: string,
  base: () => Promise<Trust>,
  read: (base: Trust) => Promise<Trust>,
  clock: Clock,
): Promise<Kept<Trust> | undefined> {
  if ((credential.certFile === undefined) !== (credential.keyFile === undefined)) {
    const [given, missing] = credential.certFile === undefined ? ["keyFile", "certFile"] : ["certFile", "keyFile"];
    report(`/${as}/${missing}`, "Missing", `A ${given} is of no use without a ${missing}.`);
  }
  // Reads each file by itself first, so that every problem has its path.
  if (cluster.ca !== undefined) checkCertificates("/cluster/ca", cluster.ca, report);
  await tried(
    "/cluster/caFile",
    report,
    async () => cluster.caFile && checkCertificates("/cluster/caFile", await readText(cluster.caFile), report),
  );
  await tried(
    `/${as}/certFile`,
    report,
    async () => credential.certFile && checkCertificates(`/${as}/certFile`, await readText(credential.certFile), report),
  );
  const keyReadable = await tried(`/${as}/keyFile`, report, async () =>
    credential.keyFile === undefined ? "" : await readText(credential.keyFile),
  );
  if (keyReadable === undefined) return undefined;
  let held: Trust;
  try {
    held = await read(await base());
  } catch {
    return undefined; // reported above, with its path
  }
  // Returns the same object while the files' content is the same: the exchange builds a TLS context for each new object.
  return kept(clock, held, async () => {
    const now = await read(await base());
    if (JSON.stringify(now) !== JSON.stringify(held)) held = now;
    return held;
  });
}

function checkCertificates(path: string, pem: string, report: Report): void {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) report(path, "Certificate", "It holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).");
  for (const [index, block] of blocks.entries()) {
    try {
      new X509Certificate(block).toString();
    } catch {
      report(
        path,
        "Certificate",
        `Its certificate number ${index + 1} cannot be read; it may have been cut while it was copied.`,
      );
    }
  }
}

async function openToken(
  { token, tokenFile }: CredentialSettings,
  report: Report,
  as: string,
  clock: Clock,
): Promise<Kept<string> | undefined> {
  if (token !== undefined && tokenFile !== undefined) report(`/${as}/tokenFile`, "Choice", "Give either token or tokenFile.");
  if (token !== undefined) {
    const text = await tried(`/${as}/token`, report, async () => usable(typeof token === "string" ? token : token.reveal()));
    return text === undefined ? undefined : kept(clock, text, async () => text);
  }
  if (tokenFile === undefined) return undefined;
  const read = async () => usable(await readText(tokenFile));
  const first = await tried(`/${as}/tokenFile`, report, read);
  return first === undefined ? undefined : kept(clock, first, read);
}

/** Throws, without the token, if the token cannot stand in a header. */
function usable(text: string): string {
  const token = text.trim();
  if (token === "") throw new Error("The token is empty.");
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new Error("The token holds blanks or characters that no token has; is it the right file?");
  return token;
}

const bearer = (token: string) => `Bearer ${token}`;

async function tried<T>(path: string, report: Report, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    report(path, "Unusable", error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

function words({ token, tokenFile, certFile }: CredentialSettings, { kubeconfig }: ClusterSettings): string {
  if (tokenFile !== undefined) return `the token of ${tokenFile}`;
  if (token !== undefined) return "a token";
  return certFile !== undefined ? `the certificate of ${certFile}` : `the user of ${kubeconfig}`;
}

/** Service account tokens are JWTs with an expiry. We only read it, and believe nothing else. */
export function timesOf(authorization: string | undefined): ReturnType<Connection["tokenTimes"]> {
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

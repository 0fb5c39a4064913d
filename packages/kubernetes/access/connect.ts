/**
 * Turns a group's cluster settings and one credential into a `Connection`, or returns every problem with them at once.
 *
 * The bugs this prevents: a certificate that is not verified although no setting says so, and a group that fails at its first
 * Job because a file is missing.
 */
import { X509Certificate } from "node:crypto";
import type { Problem } from "@longshore/contract/problems/problem.ts";
import type { Clock } from "@longshore/runtime/clock.ts";
import type { Log } from "@longshore/runtime/log.ts";
import { addressProblem, type Connection, type Hear, type Kept, kept, connectionOf, readText, type Trust } from "./connection.ts";
import { openKubeconfig } from "./kubeconfig.ts";

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

/** Our identity in the cluster. It may be empty with a kubeconfig, which names a user, and in a pod, which has a token. */
export interface CredentialSettings {
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
}

interface ConnectOptions {
  readonly cluster: ClusterSettings;
  readonly credential: CredentialSettings;
  readonly clock: Clock;
  /** The place of these settings, for the problems' paths: "/groups/prod-a". */
  readonly at?: string;
  /** The credential's name in these settings: "launch" or "watch". */
  readonly as?: string;
  /** Tells the command that writes a new token into this file. */
  readonly toRenew?: (tokenFile: string) => string;
  /** Hears once that a file cannot be used any more, and once that it can again. */
  readonly log?: Pick<Log, "warn" | "info">;
  /** The hint how to allow programs, for settings that are not a group's: "Add --allow-programs if …". */
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
  const hear = (): Hear | undefined => options.log && onceEach(options.log, at.slice(at.lastIndexOf("/") + 1));
  const { kubeconfig } = cluster;
  const opened =
    kubeconfig === undefined
      ? undefined
      : await tried("/cluster/kubeconfig", report, () =>
          openKubeconfig(kubeconfig, { ...cluster, toAllowPrograms }, clock, hear()),
        );
  const server = (opened?.first.server ?? cluster.server ?? "").replace(/\/+$/, "");
  const wrong = cluster.server === undefined ? undefined : addressProblem(server);
  if (wrong !== undefined) report("/cluster/server", "Address", wrong);

  const own = hasOwn(credential);
  await checkFiles(cluster, credential, as, report);
  const token = await keptToken(credential, { ...options, as, report, hear: hear() });
  if (kubeconfig === undefined && !own)
    report(`/${as}`, "Missing", "The group has no credential here; give it a tokenFile, or a certFile and keyFile.");

  const readTrust = async (): Promise<Trust> => {
    const base = (await opened?.get())?.trust ?? NOTHING;
    return {
      ca: cluster.caFile === undefined ? (cluster.ca ?? base.ca) : await readCertificates(cluster.caFile),
      cert: credential.certFile === undefined ? (own ? undefined : base.cert) : await readCertificates(credential.certFile),
      key: credential.keyFile === undefined ? (own ? undefined : base.key) : await readText(credential.keyFile),
      serverName: cluster.serverName ?? base.serverName,
      verify: base.verify && cluster.insecureSkipVerify !== true,
    };
  };
  const first = problems.length > 0 ? undefined : await tried("/cluster", report, readTrust);
  if (first === undefined) return { kind: "refused", problems };
  const trust = kept(clock, first, readTrust, hear());
  const rejected = () => [token, trust, opened].forEach((it) => it?.doubt());
  const authorization = token?.get ?? (async () => (own ? undefined : (await opened?.get())?.authorization));
  const connection = connectionOf({
    server,
    contextNamespace: opened?.first.namespace,
    trust: trust.get,
    authorization,
    rejected,
  });
  return { kind: "connected", connection };
}

type Report = (path: string, code: string, message: string) => void;

const NOTHING: Trust = { ca: undefined, cert: undefined, key: undefined, serverName: undefined, verify: true };

export function hasOwn({ token, tokenFile, certFile, keyFile }: CredentialSettings = {}): boolean {
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
    const message = "A CA is given and would not be used: take insecureSkipVerify away, or the CA.";
    report("/cluster/insecureSkipVerify", "Choice", message);
  }
  if (cluster.kubeconfig === undefined) {
    for (const key of ["context", "allowPrograms"] as const) {
      if (cluster[key] !== undefined)
        report(`/cluster/${key}`, "Choice", `${key} means something only together with kubeconfig.`);
    }
  }
}

/** In a pod, fills in the API server's own name and the files that Kubernetes puts into the pod and rotates. */
function inPod({ cluster, credential }: ConnectOptions): Pick<ConnectOptions, "cluster" | "credential"> {
  if (cluster.inCluster !== true) return { cluster, credential };
  return {
    cluster: { caFile: `${POD}/ca.crt`, ...cluster, server: "https://kubernetes.default.svc" },
    credential: hasOwn(credential) ? credential : { tokenFile: `${POD}/token` },
  };
}

/** Reads each file by itself, so that every problem has its path. */
async function checkFiles(cluster: ClusterSettings, credential: CredentialSettings, as: string, report: Report): Promise<void> {
  const { certFile, keyFile } = credential;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    const [given, missing] = certFile === undefined ? ["keyFile", "certFile"] : ["certFile", "keyFile"];
    report(`/${as}/${missing}`, "Missing", `A ${given} is of no use without a ${missing}.`);
  }
  const check = (path: string, pem: string, whose?: string) =>
    certificateProblems(pem, whose).forEach((it) => report(path, "Certificate", it));
  if (cluster.ca !== undefined) check("/cluster/ca", cluster.ca);
  for (const [path, file] of [
    ["/cluster/caFile", cluster.caFile],
    [`/${as}/certFile`, certFile],
  ] as const)
    if (file !== undefined) await tried(path, report, async () => check(path, await readText(file), file));
  if (keyFile !== undefined) await tried(`/${as}/keyFile`, report, () => readText(keyFile));
}

/** Throws a sentence if the file holds no certificates: a file that became empty must not replace a CA that is good. */
async function readCertificates(file: string): Promise<string> {
  const pem = await readText(file);
  const [problem] = certificateProblems(pem, file);
  if (problem !== undefined) throw new Error(problem);
  return pem;
}

function certificateProblems(pem: string, file?: string): readonly string[] {
  const [it, its] = file === undefined ? ["It", "Its"] : [`The file ${file}`, `In the file ${file} the`];
  if (file !== undefined && pem.trim() === "") return [`${it} is empty. Write the certificate into it, in PEM form.`];
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length === 0) return [`${it} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).`];
  return blocks.flatMap((block, index) => {
    try {
      new X509Certificate(block).toString();
      return [];
    } catch {
      return [`${its} certificate number ${index + 1} cannot be read; it may have been cut while it was copied.`];
    }
  });
}

interface TokenOptions extends Pick<ConnectOptions, "clock" | "toRenew"> {
  readonly as: string;
  readonly report: Report;
  readonly hear: Hear | undefined;
}

async function keptToken(
  { token, tokenFile }: CredentialSettings,
  { as, report, clock, toRenew, hear }: TokenOptions,
): Promise<Kept<string> | undefined> {
  if (token !== undefined && tokenFile !== undefined) report(`/${as}/tokenFile`, "Choice", "Give either token or tokenFile.");
  if (token === undefined && tokenFile === undefined) return undefined;
  const read = async () => (token === undefined ? bearerIn(tokenFile ?? "", toRenew) : bearer(token, "The token"));
  const first = await tried(`/${as}/${token === undefined ? "tokenFile" : "token"}`, report, read);
  return first === undefined ? undefined : kept(clock, first, read, hear);
}

async function bearerIn(file: string, toRenew: ConnectOptions["toRenew"]): Promise<string> {
  const text = await readText(file);
  const remedy = toRenew === undefined ? "Write a token into it." : `Write a token into it: ${toRenew(file)}`;
  if (text.trim() === "") throw new Error(`The file ${file} is empty. ${remedy}`);
  return bearer(text, `The token in ${file}`);
}

/** Tells each trouble once, and that it has passed. */
function onceEach(log: Pick<Log, "warn" | "info">, group: string): Hear {
  let last: string | undefined;
  return (trouble) => {
    if (trouble === last) return;
    last = trouble;
    if (trouble === undefined) log.info("a group's files can be read again", { group });
    else log.warn("a group's file cannot be used, and its earlier content stays in use", { group, error: trouble });
  };
}

/** If a header cannot have the token as its value, throws an error that does not quote the token. */
function bearer(text: string, what: string): string {
  const token = text.trim();
  if (token === "") throw new Error(`${what} is empty.`);
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new Error(`${what} holds blanks or characters that no token has; is it the right file?`);
  return `Bearer ${token}`;
}

async function tried<T>(path: string, report: Report, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    report(path, "Unusable", error instanceof Error ? error.message : String(error));
    return undefined;
  }
}

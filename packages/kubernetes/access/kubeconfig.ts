/**
 * A kubeconfig's context: its address, trust and user. Only this file loads @kubernetes/client-node, and only if a group has a
 * kubeconfig: loading it costs 400 ms and 85 MB.
 *
 * The bugs this prevents: a program (`exec`) that runs because the file names it, credentials that go through a proxy because
 * the file names it, and an error that quotes the token beside a mistake: every problem is one thrown sentence in words of our
 * own.
 */
import { stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { KubeConfig } from "@kubernetes/client-node";
import type { Clock } from "@longshore/runtime/clock.ts";
import { addressProblem, type Hear, type Kept, kept, readText, type Trust } from "./connection.ts";
import { member, text } from "../objects.ts";

interface KubeconfigOptions {
  readonly context?: string | undefined;
  readonly allowPrograms?: boolean | undefined;
  /** The hint how to allow programs, if the file is not a group's setting. */
  readonly toAllowPrograms?: string | undefined;
}

const TO_ALLOW = "Set allowPrograms if you trust the file, or give the group a tokenFile.";

interface Kubeconfig {
  readonly server: string;
  readonly namespace: string | undefined;
  readonly trust: Trust;
  readonly authorization: string | undefined;
}

export async function openKubeconfig(
  path: string,
  options: KubeconfigOptions,
  clock: Clock,
  hear?: Hear,
): Promise<Kept<Kubeconfig> & { readonly first: Kubeconfig }> {
  let parsed: Parsed | undefined;
  let changedMs = 0;

  // The parsed file is kept until the file changes: the library's user in it keeps a program's credential while that is good.
  async function load(): Promise<Kubeconfig> {
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: -1 }));
    if (parsed === undefined || mtimeMs !== changedMs) parsed = await parse(path);
    changedMs = mtimeMs;
    return await read(parsed, path, options);
  }

  const first = await load();
  return { first, ...kept(clock, first, load, hear) };
}

interface Parsed {
  readonly config: KubeConfig;
  /** The `tokenFile` of each user: the library reads this key under a name that kubectl does not write. */
  readonly tokenFiles: ReadonlyMap<string, string>;
}

async function parse(path: string): Promise<Parsed> {
  const written = await readText(path); // its error for a file that cannot be read is clearer than the library's
  const { KubeConfig, loadYaml } = await import("@kubernetes/client-node");
  const config = new KubeConfig();
  try {
    config.loadFromFile(path);
    return { config, tokenFiles: tokenFilesIn(loadYaml(written), dirname(path)) };
  } catch (error) {
    throw new Error(`${path} is no kubeconfig: ${unquoting(error)}.`); // without its cause, which holds the whole file
  }
}

/** Returns line, column and the parser's reason, cut before it quotes the file. */
function unquoting(error: unknown): string {
  const [line, column] = [member(member(error, "mark"), "line"), member(member(error, "mark"), "column")];
  const reason = text(member(error, "reason"))
    ?.split(/["'<:!*&%|>{[]/, 1)[0]
    ?.trim();
  if (reason && typeof line === "number" && typeof column === "number")
    return `${reason} (line ${line + 1}, column ${column + 1})`;
  const lacks = /^(clusters|contexts|users)\[\d+\][a-z.]* is missing$/.exec(error instanceof Error ? error.message : "");
  return lacks?.[0] ?? "it does not hold the lists of clusters, contexts and users";
}

function tokenFilesIn(written: unknown, folder: string): ReadonlyMap<string, string> {
  const users = member(written, "users");
  return new Map(
    (Array.isArray(users) ? (users as readonly unknown[]) : []).flatMap((it) => {
      const [name, file] = [text(member(it, "name")), text(member(member(it, "user"), "tokenFile"))];
      return name && file ? [[name, resolve(folder, file)] as const] : [];
    }),
  );
}

async function read(
  { config, tokenFiles }: Parsed,
  path: string,
  { context, allowPrograms, toAllowPrograms = TO_ALLOW }: KubeconfigOptions,
): Promise<Kubeconfig> {
  const names = config.contexts.map((it) => it.name).join(", ") || "none";
  // The library leaves `currentContext` undefined if the file names none.
  const name = context ?? (config.currentContext as string | undefined);
  if (!name) throw new Error(`${path} names no current context; it has ${names}. Name the context that is meant.`);
  const chosen = config.getContextObject(name);
  if (!chosen) throw new Error(`${path} has no context "${name}"; it has ${names}.`);
  config.setCurrentContext(name);
  const cluster = config.getCurrentCluster();
  const user = config.getCurrentUser();
  if (!cluster) throw new Error(`The context "${name}" of ${path} names a cluster that is not in the file.`);
  if (!user) throw new Error(`The context "${name}" of ${path} names a user that is not in the file.`);
  if (cluster.proxyUrl)
    throw new Error(`The cluster of context "${name}" of ${path} is behind a proxy-url, which we do not go through.`);
  if (user.impersonateUser) throw new Error(`The user of context "${name}" of ${path} impersonates another; we never do.`);
  if (user.username)
    throw new Error(`The user of context "${name}" of ${path} has a password; Kubernetes takes none since 1.19.`);
  const programs = user.exec ? "exec" : user.authProvider ? "auth-provider" : undefined;
  if (programs && !allowPrograms) {
    throw new Error(
      `The user of context "${name}" of ${path} wants a program run for its credential (${programs}). ${toAllowPrograms}`,
    );
  }
  const wrong = addressProblem(cluster.server);
  if (wrong) throw new Error(`The cluster of context "${name}" of ${path}: ${wrong}`);
  const tokenFile = tokenFiles.get(user.name);
  const token = (tokenFile === undefined ? user.token : await readText(tokenFile))?.trim(); // kubectl prefers the file, too
  const given = programs
    ? await run(config, `The program for the user of context "${name}" of ${path}`)
    : { cert: undefined, key: undefined, authorization: token && `Bearer ${token}` };
  return {
    server: cluster.server,
    namespace: chosen.namespace,
    trust: {
      ca: await pemOf(cluster.caFile, cluster.caData),
      cert: given.cert ?? (await pemOf(user.certFile, user.certData)),
      key: given.key ?? (await pemOf(user.keyFile, user.keyData)),
      serverName: cluster.tlsServerName,
      verify: !cluster.skipTLSVerify,
    },
    authorization: given.authorization,
  };
}

async function pemOf(file: string | undefined, base64: string | undefined): Promise<string | undefined> {
  if (file) return await readText(file);
  return base64 ? Buffer.from(base64, "base64").toString("utf8") : undefined;
}

/**
 * Runs the user's program, which the group's settings allow. The output may be the credential itself, so no error quotes it.
 */
async function run(config: KubeConfig, who: string): Promise<Pick<Trust, "cert" | "key"> & Pick<Kubeconfig, "authorization">> {
  const applied: { readonly headers: object; readonly cert?: unknown; readonly key?: unknown } = { headers: {} };
  try {
    await config.applyToHTTPSOptions(applied);
  } catch (error) {
    const code = text(member(error, "code"));
    const why = code === "ENOENT" ? "it is not installed here" : (code ?? "it failed, or printed no ExecCredential");
    throw new Error(`${who} gave no credential: ${why}. Run it by hand to see what it says.`);
  }
  return { cert: pem(applied.cert), key: pem(applied.key), authorization: authorizationIn(applied.headers) };
}

function pem(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  return Buffer.isBuffer(value) ? value.toString("utf8") : undefined;
}

function authorizationIn(headers: object): string | undefined {
  if (!("Authorization" in headers)) return undefined;
  return typeof headers.Authorization === "string" ? headers.Authorization : undefined;
}

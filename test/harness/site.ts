/**
 * One group's place in a cluster, as the harness sees it. It is the pocket, or a namespace of a real control plane in which our
 * services have exactly the permissions of `longshore rbac`, with service accounts' tokens in files.
 *
 * The failure this prevents: two harnesses, one for the pocket and one for real clusters, of which only one is kept up to date.
 */
import { open, writeFile } from "node:fs/promises";
import path from "node:path";
import { type ClusterChoice, NAMESPACE } from "@longshore/cli/embedded/home.ts";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import { objectsFor } from "@longshore/kubernetes/permissions/rbac.ts";
import type { ApiAnswer, Transport } from "@longshore/kubernetes/transport.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import type { TestCluster } from "./kubernetes/test-cluster.ts";
import { startPocketProcess } from "./servers/pocket.ts";

/** One line of the cluster's own log: a request that read one object, or tried to change something, and its answer. */
export interface Asked {
  readonly atMs: number;
  readonly verb: "get" | "create" | "update" | "patch" | "delete" | "deletecollection";
  readonly resource: string;
  readonly name: string;
  readonly status: number;
  /** The user who asked, if the cluster knows it; otherwise "". */
  readonly user: string;
}

export interface Site {
  readonly group: string;
  readonly namespace: string;
  readonly choice: ClusterChoice;
  readonly pid: number | undefined;
  /** Sends requests as the cluster's administrator, without any proxy of the test. */
  readonly admin: Transport;
  /** Asks as the cluster's administrator; throws for an answer that is not 2xx. Paths begin after the namespace: "jobs/x". */
  ask(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, body?: object): Promise<unknown>;
  asked(): Promise<readonly Asked[]>;
  /** The user name of the launcher; "" if the cluster does not say who asked. */
  readonly launcher: string;
}

export type Through = (url: string) => Promise<string>;
/** Puts a proxy before the cluster. A proxy that ends TLS itself also names the authority of its certificate. */
export type Before = (url: string, ca: string) => Promise<string | { readonly url: string; readonly ca: string }>;
const direct: Through = (url) => Promise.resolve(url);
const forever = new AbortController().signal;

/** Starts a pocket; `parts` owns everything that is started. */
export async function pocketSite(
  parts: AsyncDisposableStack,
  home: string,
  { instant = false, through = direct }: { readonly instant?: boolean; readonly through?: Before | undefined },
): Promise<Site> {
  const requestLog = path.join(home, "requests.jsonl");
  const pocket = parts.use(await startPocketProcess(home, requestLog, instant ? "instant" : "processes"));
  const tokenFile = path.join(home, "token");
  await writeFile(tokenFile, pocket.token, { mode: 0o600 });
  const connected = await connect({ cluster: { server: pocket.url }, credential: { token: pocket.token }, clock });
  if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
  const admin = parts.use(openTransport(connected.connection));
  return {
    group: "pocket",
    namespace: NAMESPACE,
    choice: {
      name: "pocket",
      namespace: NAMESPACE,
      cluster: { server: urlOf(await through(pocket.url, "")) },
      launch: { tokenFile },
      watch: { tokenFile },
    },
    pid: pocket.pid,
    admin,
    ask: asking(admin, NAMESPACE),
    asked: growing(requestLog, loggedByPocket),
    launcher: "",
  };
}

export interface NamespaceOptions {
  readonly cluster: TestCluster;
  readonly group: string;
  readonly through?: Before | undefined;
  /**
   * Puts the service accounts into a namespace of their own and gives them the same rules as ClusterRoles, so that both outlive
   * the group's namespace.
   */
  readonly accountsElsewhere?: boolean | undefined;
}

export async function namespaceSite(home: string, options: NamespaceOptions): Promise<Site> {
  const { cluster, group, through = direct, accountsElsewhere = false } = options;
  const namespace = await cluster.namespace();
  const accounts = accountsElsewhere ? await cluster.namespace("accounts") : namespace;
  if (accountsElsewhere) await boundFromOutside(cluster, accounts);
  const tokenFile = async (account: string): Promise<string> => {
    const file = path.join(home, `${group}-${account}`);
    await writeFile(file, await cluster.token(accounts, account), { mode: 0o600 });
    return file;
  };
  const met = await through(cluster.url, cluster.ca);
  const caFile = path.join(home, `${group}-ca`);
  await writeFile(caFile, typeof met === "string" ? cluster.ca : met.ca);
  return {
    group,
    namespace,
    choice: {
      name: group,
      namespace,
      cluster: { server: urlOf(met), caFile },
      launch: { tokenFile: await tokenFile("longshore-launcher") },
      watch: { tokenFile: await tokenFile("longshore-watcher") },
    },
    pid: undefined,
    admin: cluster.admin,
    ask: asking(cluster.admin, namespace),
    asked: growing(cluster.auditLog, (line) => audited(line, namespace)),
    launcher: `system:serviceaccount:${accounts}:longshore-launcher`,
  };
}

const urlOf = (met: Awaited<ReturnType<Before>>): string => (typeof met === "string" ? met : met.url).replace(/\/$/, "");

async function boundFromOutside(cluster: TestCluster, accounts: string): Promise<void> {
  const roles = (["launcher", "watcher"] as const).flatMap((role) =>
    objectsFor(role, accounts, { volumes: true, secretValues: true }),
  );
  for (const { kind, ...object } of roles.filter((it) => it.kind !== "ServiceAccount")) {
    const named = { ...object, kind: `Cluster${kind}`, metadata: { name: `${accounts}-${object.metadata.name}` } };
    const roleRef =
      kind === "RoleBinding"
        ? { roleRef: { ...(object["roleRef"] as object), kind: "ClusterRole", name: named.metadata.name } }
        : {};
    const path = `/apis/${object.apiVersion}/cluster${kind.toLowerCase()}s`;
    const { status, body } = await cluster.admin.send({ method: "POST", path, body: { ...named, ...roleRef } }, forever);
    if (status !== 201) throw new Error(`POST ${path} was answered ${status}: ${JSON.stringify(body)}`);
  }
}

function asking(transport: Transport, namespace: string): Site["ask"] {
  return async (method, what, body) => {
    const root = /^(cron)?jobs/.test(what) ? "/apis/batch/v1" : "/api/v1";
    const at = `${root}/namespaces/${namespace}/${what}`;
    const contentType = method === "PATCH" ? { contentType: "application/merge-patch+json" } : {};
    const answer: ApiAnswer = await transport.send({ method, path: at, ...contentType, ...(body && { body }) }, forever);
    if (answer.status < 300) return answer.body;
    throw new Error(`${method} ${at} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
  };
}

/**
 * Reads what the lines of a growing file say, each line once: tests ask every 50 ms, and the log of a cluster that many files
 * share has megabytes. A last line that is still being written is read the next time.
 */
function growing<T>(file: string, read: (line: string) => readonly T[]): () => Promise<readonly T[]> {
  const found: T[] = [];
  let at = 0;
  let reading = Promise.resolve();
  const readOn = async (): Promise<void> => {
    await using handle = await open(file);
    const more = Buffer.alloc((await handle.stat()).size - at);
    const { bytesRead } = await handle.read(more, 0, more.length, at);
    const end = more.subarray(0, bytesRead).lastIndexOf("\n") + 1;
    for (const line of more.toString("utf8", 0, end).split("\n")) if (line !== "") found.push(...read(line));
    at += end;
  };
  return async () => {
    reading = reading.then(readOn, readOn); // one after the other, else two would take the same lines
    await reading;
    return [...found];
  };
}

interface AuditLine {
  readonly verb: string;
  readonly stage: string;
  readonly user?: { readonly username?: string };
  readonly objectRef?: {
    readonly resource?: string;
    readonly namespace?: string;
    readonly name?: string;
    readonly subresource?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly stageTimestamp: string;
}

const VERBS: readonly string[] = ["get", "create", "update", "patch", "delete", "deletecollection"] satisfies Asked["verb"][];
const isVerb = (verb: string): verb is Asked["verb"] => VERBS.includes(verb);

/** Takes the time of the answer, by which the request had taken effect. */
function audited(line: string, namespace: string): readonly Asked[] {
  if (!line.includes(namespace)) return []; // most of a shared cluster's lines belong to other tests
  const { verb, stage, user, objectRef, responseStatus, stageTimestamp } = JSON.parse(line) as AuditLine;
  if (stage !== "ResponseComplete" || !isVerb(verb) || objectRef?.namespace !== namespace) return [];
  if (objectRef.subresource !== undefined) return [];
  const { resource = "", name = "" } = objectRef;
  const atMs = Date.parse(stageTimestamp);
  return [{ atMs, verb, resource, name, status: responseStatus?.code ?? 0, user: user?.username ?? "" }];
}

const METHODS: Readonly<Record<string, Asked["verb"]>> = {
  GET: "get",
  POST: "create",
  PUT: "update",
  PATCH: "patch",
  DELETE: "delete",
};

function loggedByPocket(line: string): readonly Asked[] {
  const request = JSON.parse(line) as Pick<Asked, "atMs" | "name" | "status" | "user"> & { method: string; path: string };
  const verb = METHODS[request.method];
  const [, resource] = /\/namespaces\/[^/]+\/(\w+)(?:\/[^/?]+)?(?:\?|$)/.exec(request.path) ?? [];
  if (verb === undefined || resource === undefined || (verb === "get" && request.name === "")) return [];
  const { atMs, name, status, user } = request;
  return [{ atMs, verb, resource, name, status, user }];
}

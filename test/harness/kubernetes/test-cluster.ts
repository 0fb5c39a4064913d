/**
 * One running cluster, with everything that tests do with it: requests as its administrator, namespaces with our Roles, tokens,
 * kubectl, and control of its parts.
 *
 * The failure this prevents: tests whose programs may do more than an operator would let them. Our services run here with
 * exactly the permissions that `longshore rbac` prints.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import path from "node:path";
import { connect } from "@longshore/kubernetes/access/connect.ts";
import { openTransport } from "@longshore/kubernetes/request/exchange.ts";
import { objectsFor } from "@longshore/kubernetes/permissions/rbac.ts";
import type { Transport } from "@longshore/kubernetes/transport.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { type ControlPlane, controlPlane } from "./control-plane.ts";
import type { Etcd } from "./etcd.ts";
import { found, type Admin, adminOf } from "./admin.ts";
import type { RealNode } from "./node.ts";
import type { Part } from "./part.ts";
import type { Programs } from "./programs.ts";

/** All that a process must know to use a cluster that runs already; made of plain values, so that it can be sent to one. */
export interface ClusterPlace {
  readonly url: string;
  readonly ca: string;
  readonly caFile: string;
  /** The path of a kubeconfig whose user may do everything. */
  readonly kubeconfig: string;
  readonly adminToken: string;
  /** The path of a file of JSON lines: every change to Jobs and pods, and every request of a service account. */
  readonly auditLog: string;
  /** The folder of this cluster's data, which is removed with the cluster. */
  readonly folder: string;
  /** The path of the program. */
  readonly kubectlProgram: string;
}

/** A cluster that other test files may use at the same time, each in namespaces of its own. */
export interface TestCluster extends ClusterPlace {
  /** "v1.34.4" */
  readonly version: string;
  readonly admin: Transport;
  as(token: string): Promise<Transport>;
  /** Makes a namespace, and applies the output of `longshore rbac` in it. */
  namespace(prefix?: string): Promise<string>;
  /** A token from the TokenRequest API, valid for at least 600 seconds: Kubernetes gives none that is shorter. */
  token(namespace: string, serviceAccount: string, seconds?: number): Promise<string>;
  kubectl(args: readonly string[], stdin?: string): Promise<Said>;
}

/** A cluster of one test file alone, which may break its parts. */
export interface PrivateCluster extends TestCluster {
  /** Makes everything before this moment unreadable: etcd is compacted, and the API server started again. */
  forget(): Promise<void>;
  readonly apiServer: Part;
  readonly controllers: Part;
  readonly scheduler: Part;
  readonly etcd: Etcd;
  /** The real node, if the test asked for one. */
  readonly node?: RealNode;
  /** What plays the simulated nodes, if the test asked for them. */
  readonly kubelets?: Part;
  /** Copies the present content of etcd; `restore` returns to a copy. */
  snapshot(): Promise<string>;
  restore(snapshot: string): Promise<void>;
}

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface StartedCluster extends PrivateCluster, AsyncDisposable {
  readonly plane: ControlPlane;
}

export async function startCluster(programs: Programs, folder: string): Promise<StartedCluster> {
  await using parts = new AsyncDisposableStack();
  const plane = await controlPlane(programs, folder);
  for (const it of [plane.etcd, plane.apiServer, plane.scheduler, plane.controllers]) parts.defer(() => it.kill());
  await plane.etcd.start();
  await plane.apiServer.start();
  await Promise.all([plane.controllers.start(), plane.scheduler.start()]);

  const { url, caFile, kubeconfig, adminToken, auditLog } = plane;
  const ca = await plane.ca();
  const place = { url, ca, caFile, kubeconfig, adminToken, auditLog, folder, kubectlProgram: programs.kubectl };
  const cluster = parts.use(await clusterAt(place));
  const kept = parts.move();
  return {
    ...cluster,
    forget: async () => {
      await plane.etcd.compact();
      await plane.apiServer.kill(); // a stop would wait for the open watches
      await plane.apiServer.start();
    },
    apiServer: plane.apiServer,
    controllers: plane.controllers,
    scheduler: plane.scheduler,
    etcd: plane.etcd,
    snapshot: () => snapshot(plane, folder),
    restore: (from) => restore(plane, from),
    plane,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Uses a cluster that runs. The namespaces that it makes get the labels, so that somebody else can find what is left of them. */
export async function clusterAt(
  place: ClusterPlace,
  labels: Readonly<Record<string, string>> = {},
): Promise<TestCluster & AsyncDisposable> {
  await using parts = new AsyncDisposableStack();
  const as = async (token: string): Promise<Transport> => {
    const connected = await connect({ cluster: { server: place.url, ca: place.ca }, credential: { token }, clock });
    if (connected.kind === "refused") throw new Error(JSON.stringify(connected.problems));
    return openTransport(connected.connection);
  };
  const admin = parts.use(await as(place.adminToken));
  const { must } = adminOf(admin);
  const version = String((await must("GET", "/version"))["gitVersion"]);
  const kept = parts.move();
  return {
    ...place,
    version,
    admin,
    as: async (token) => kept.use(await as(token)),
    namespace: (prefix = "batch") => namespace(must, prefix, labels),
    token: async (name, serviceAccount, seconds = 3_600) => {
      const asked = { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: seconds } };
      const at = `/api/v1/namespaces/${name}/serviceaccounts/${serviceAccount}/token`;
      return ((await must("POST", at, asked))["status"] as { readonly token: string }).token;
    },
    kubectl: (args, stdin = "") => said(place.kubectlProgram, [`--kubeconfig=${place.kubeconfig}`, ...args], stdin, place.folder),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

/** Pods cannot be made before the controllers have made the namespace's default account. */
async function namespace(must: Admin["must"], prefix: string, labels: Readonly<Record<string, string>>): Promise<string> {
  const name = `${prefix}-${randomBytes(4).toString("hex")}`;
  await must("POST", "/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name, labels } });
  for (const object of [
    ...objectsFor("launcher", name, { volumes: true, secretValues: true, prepared: true }),
    ...objectsFor("watcher", name, { prepared: true }),
  ]) {
    const plural = `${object.kind.toLowerCase()}s`;
    const api = object.apiVersion === "v1" ? "/api/v1" : `/apis/${object.apiVersion}`;
    await must("POST", `${api}/namespaces/${name}/${plural}`, object);
  }
  const account = `/api/v1/namespaces/${name}/serviceaccounts/default`;
  await found(`the default account of ${name}`, () => must("GET", account).catch(() => undefined));
  return name;
}

async function snapshot(plane: ControlPlane, folder: string): Promise<string> {
  const to = path.join(folder, `snapshot-${randomBytes(4).toString("hex")}`);
  await plane.apiServer.kill();
  await plane.etcd.stop();
  await plane.etcd.copyTo(to);
  await plane.etcd.start();
  await plane.apiServer.start();
  return to;
}

/** Restores etcd as an operator would. The controllers remember newer objects, so they start again too. */
async function restore(plane: ControlPlane, from: string): Promise<void> {
  const clients = [plane.controllers, plane.scheduler];
  await Promise.all(clients.map((it) => it.kill()));
  await plane.apiServer.kill();
  await plane.etcd.stop();
  await plane.etcd.returnTo(from);
  await plane.etcd.start();
  await plane.apiServer.start();
  await Promise.all(clients.map((it) => it.start()));
}

/**
 * HOME is the cluster's folder: kubectl caches there what it learned of an API, and another cluster may have the same port
 * tomorrow.
 */
async function said(program: string, args: readonly string[], stdin: string, home: string): Promise<Said> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env: { ...process.env, HOME: home }, timeout: 120_000 });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  child.stdin.on("error", () => undefined).end(stdin); // kubectl may end without reading its input
  const [code] = (await once(child, "close")) as [number | null];
  return { code: code ?? -1, stdout, stderr };
}

export const removeFolder = (folder: string): Promise<void> => fs.rm(folder, { recursive: true, force: true, maxRetries: 5 });

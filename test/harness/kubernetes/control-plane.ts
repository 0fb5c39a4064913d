/**
 * etcd, API server, controller-manager and scheduler of one test's cluster, on loopback ports and in a folder of their own.
 *
 * The failure this prevents: settings that make the test's cluster kinder than real ones. Only two settings differ, both
 * because the defaults make tests slow: the controllers' request limits, which allow five Jobs a second, and how often Go
 * collects garbage.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import type { IncomingMessage } from "node:http";
import { get } from "node:https";
import path from "node:path";
import { freePort } from "@longshore/ledger/embedded-postgres.ts";
import { type Etcd, etcd } from "./etcd.ts";
import { clientCertificate } from "./node-certificate.ts";
import { type Part, part } from "./part.ts";
import type { Programs } from "./programs.ts";

export interface ControlPlane {
  readonly url: string;
  readonly port: number;
  /** The authority that signed the API server's certificate, as PEM. The API server makes it at its first start. */
  ca(): Promise<string>;
  readonly caFile: string;
  readonly kubeconfig: string;
  readonly adminToken: string;
  /** The kubelet's token. */
  readonly nodeToken: string;
  /** The file of the certificate by which a kubelet knows the API server. */
  readonly kubeletClientCertificate: string;
  readonly auditLog: string;
  readonly etcd: Etcd;
  readonly apiServer: Part;
  readonly controllers: Part;
  readonly scheduler: Part;
}

export async function controlPlane(programs: Programs, folder: string): Promise<ControlPlane> {
  const store = await etcd(programs.etcd, folder);
  const port = await freePort();
  const files = await prepared(folder, port);
  const ready = answers(`${files.url}/readyz`, files.adminToken);
  const apiServer = part({
    name: "kube-apiserver",
    program: programs["kube-apiserver"],
    args: apiServerFlags(files, store.url, port),
    logFile: path.join(folder, "kube-apiserver.log"),
    ready,
  });
  const client = [`--kubeconfig=${files.kubeconfig}`, "--leader-elect=false", "--kube-api-qps=500", "--kube-api-burst=500"];
  const controllers = part({
    name: "kube-controller-manager",
    program: programs["kube-controller-manager"],
    on: (port) => ({
      args: [
        ...client,
        ...listening(port),
        "--concurrent-job-syncs=20",
        "--resource-quota-sync-period=10s", // else a quota made while the controller starts waits five minutes
        `--service-account-private-key-file=${files.signingKey}`,
        `--root-ca-file=${files.caFile}`,
      ],
      ready: answers(`https://127.0.0.1:${port}/healthz`),
    }),
    logFile: path.join(folder, "kube-controller-manager.log"),
  });
  const scheduler = part({
    name: "kube-scheduler",
    program: programs["kube-scheduler"],
    on: (port) => ({ args: [...client, ...listening(port)], ready: answers(`https://127.0.0.1:${port}/healthz`) }),
    logFile: path.join(folder, "kube-scheduler.log"),
  });
  return {
    ...files,
    port,
    ca: () => fs.readFile(files.caFile, "utf8"),
    etcd: store,
    apiServer,
    controllers,
    scheduler,
  };
}

interface Files {
  readonly url: string;
  readonly adminToken: string;
  readonly nodeToken: string;
  readonly folder: string;
  readonly signingKey: string;
  readonly verifyingKey: string;
  readonly tokens: string;
  readonly kubeletClientCertificate: string;
  readonly kubeletClientKey: string;
  readonly auditPolicy: string;
  readonly auditLog: string;
  readonly caFile: string;
  readonly kubeconfig: string;
}

async function prepared(folder: string, port: number): Promise<Files> {
  const at = (name: string): string => path.join(folder, name);
  const adminToken = randomBytes(24).toString("hex");
  const nodeToken = randomBytes(24).toString("hex");
  const files: Files = {
    url: `https://127.0.0.1:${port}`,
    folder,
    adminToken,
    nodeToken,
    signingKey: at("service-accounts.key"),
    verifyingKey: at("service-accounts.pub"),
    tokens: at("tokens.csv"),
    kubeletClientCertificate: at("kubelet-client.crt"),
    kubeletClientKey: at("kubelet-client.key"),
    auditPolicy: at("audit-policy.json"),
    auditLog: at("audit.jsonl"),
    caFile: at("certificates/apiserver.crt"),
    kubeconfig: at("kubeconfig.json"),
  };
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  await fs.writeFile(files.signingKey, privateKey.export({ type: "sec1", format: "pem" }), { mode: 0o600 });
  await fs.writeFile(files.verifyingKey, publicKey.export({ type: "spki", format: "pem" }));
  const client = clientCertificate("kube-apiserver", new Date());
  await fs.writeFile(files.kubeletClientCertificate, client.certificate);
  await fs.writeFile(files.kubeletClientKey, client.key, { mode: 0o600 });
  const users = [`${adminToken},admin,admin,system:masters`, `${nodeToken},system:node:localhost,node,system:nodes`];
  await fs.writeFile(files.tokens, `${users.join("\n")}\n`, { mode: 0o600 });
  const audit = { apiVersion: "audit.k8s.io/v1", kind: "Policy", omitStages: ["RequestReceived"], rules: AUDITED };
  await fs.writeFile(files.auditPolicy, JSON.stringify(audit));
  const cluster = { server: files.url, "certificate-authority": files.caFile };
  const named = { name: "test", cluster, user: { token: adminToken }, context: { cluster: "test", user: "test" } };
  await fs.writeFile(
    files.kubeconfig,
    JSON.stringify({
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      clusters: [{ name: named.name, cluster: named.cluster }],
      users: [{ name: named.name, user: named.user }],
      contexts: [{ name: named.name, context: named.context }],
    }),
    { mode: 0o600 },
  );
  return files;
}

/**
 * The audit log has every change to Jobs and pods, with its user and its answer. It leaves out what the control plane's parts
 * ask each other.
 */
const AUDITED = [
  {
    level: "Metadata",
    verbs: ["create", "update", "patch", "delete", "deletecollection"],
    resources: [
      { group: "batch", resources: ["jobs"] },
      { group: "", resources: ["pods", "secrets", "configmaps", "persistentvolumeclaims"] },
    ],
  },
  { level: "Metadata", users: ["system:anonymous"] },
  { level: "Metadata", userGroups: ["system:serviceaccounts"] },
  { level: "None" },
];

function apiServerFlags(files: Files, etcdUrl: string, port: number): readonly string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    "--bind-address=127.0.0.1",
    `--secure-port=${port}`,
    `--cert-dir=${path.dirname(files.caFile)}`,
    "--authorization-mode=Node,RBAC",
    "--anonymous-auth=false",
    `--token-auth-file=${files.tokens}`,
    "--service-account-issuer=https://longshore.test",
    `--service-account-key-file=${files.verifyingKey}`,
    `--service-account-signing-key-file=${files.signingKey}`,
    "--service-cluster-ip-range=10.96.0.0/16",
    "--advertise-address=198.18.0.1", // unused, but without it a computer without a network starts no API server
    "--endpoint-reconciler-type=none",
    "--allow-privileged=true",
    "--kubelet-preferred-address-types=Hostname,InternalIP",
    `--kubelet-client-certificate=${files.kubeletClientCertificate}`,
    `--kubelet-client-key=${files.kubeletClientKey}`,
    `--audit-policy-file=${files.auditPolicy}`,
    `--audit-log-path=${files.auditLog}`,
    "--profiling=false",
  ];
}

const listening = (port: number): readonly string[] => [`--secure-port=${port}`, "--bind-address=127.0.0.1"];

/**
 * Asks without checking certificates, which are made only at the first start. The token that it sends is worth nothing
 * elsewhere.
 */
function answers(url: string, token?: string): () => Promise<boolean> {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  return async () => {
    const asked = get(url, { headers, rejectUnauthorized: false, agent: false, timeout: 2_000 });
    asked.on("timeout", () => asked.destroy(new Error(`${url} did not answer`)));
    const [answer] = (await once(asked, "response")) as [IncomingMessage];
    answer.resume();
    return answer.statusCode === 200;
  };
}

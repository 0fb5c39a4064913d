/**
 * `longshore doctor` against a real API server, with a groups file in which each group has a trouble of its own. On the page
 * that a person reads, every line says what is wrong and what to do, and no group's trouble hides another's.
 */
// needs kubernetes
// runs with kube
import * as fs from "node:fs/promises";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";
import { doctor } from "@longshore/cli/commands/doctor/doctor.ts";
import { INSTALLATION, writeConfig } from "@longshore/cli/embedded/home.ts";
import { Installation } from "@longshore/contract/ids.ts";
import { openBroker } from "@longshore/broker/brokers.ts";
import { openLedger } from "@longshore/ledger/open.ts";
import { rulesOf } from "@longshore/kubernetes/permissions/rbac.ts";
import { systemClock as clock } from "@longshore/runtime/clock.ts";
import { silentLog } from "@longshore/runtime/log.ts";
import t from "tap";
import { stringify } from "yaml";
import { authority } from "../../../packages/kubernetes/testing/certificates.ts";
import { found, adminOf, heldJob, jobPath, only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { postgres } from "../../harness/servers/postgres.ts";

t.setTimeout(0);
const forever = new AbortController().signal;
await using test = await kubernetes({ nodes: "none" });
await using database = await postgres();
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);
const home = await fs.mkdtemp(path.join(tmpdir(), "longshore-doctor-"));
t.teardown(() => fs.rm(home, { recursive: true, force: true }));

interface Settings {
  readonly cluster: object;
  readonly launch?: object;
  readonly watch?: object;
  readonly namespaces: readonly string[];
  readonly poll?: string;
}

async function withoutWatch(namespace: string): Promise<void> {
  const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/roles/longshore-watcher`;
  await admin.must("PATCH", path, { rules: rulesOf("watcher", { polls: true }) });
}

async function keep(name: string, text: string): Promise<string> {
  const file = path.join(home, name);
  await fs.writeFile(file, text, { mode: 0o600 });
  return file;
}

async function tokens(name: string, namespace: string): Promise<Pick<Settings, "launch" | "watch">> {
  const tokenFile = async (account: string): Promise<string> =>
    await keep(`${name}-${account}`, await cluster.token(namespace, account, 24 * 3600));
  return {
    launch: { tokenFile: await tokenFile("longshore-launcher") },
    watch: { tokenFile: await tokenFile("longshore-watcher") },
  };
}

/** The settings of a group without a trouble, in a namespace of its own. */
async function well(name: string): Promise<Settings & { readonly namespace: string }> {
  const namespace = await cluster.namespace(name);
  return {
    namespace,
    cluster: { server: cluster.url, caFile: cluster.caFile },
    namespaces: [namespace],
    ...(await tokens(name, namespace)),
  };
}

async function freedPort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

const troubles: Record<string, (it: Settings & { readonly namespace: string }) => Promise<Settings>> = {
  "is-well": async (it) => it,
  "wrong-token": async (it) => {
    const tokenFile = await keep("stranger", "nobody-knows-this-token");
    return { ...it, launch: { tokenFile }, watch: { tokenFile } };
  },
  "wrong-ca": async (it) => ({ ...it, cluster: { server: cluster.url, caFile: await keep("other-ca", authority) } }),
  "wrong-port": async (it) => ({ ...it, cluster: { ...it.cluster, server: `https://127.0.0.1:${await freedPort()}` } }),
  "wrong-name": async (it) => ({ ...it, cluster: { ...it.cluster, server: "https://no-such-cluster.invalid:6443" } }),
  "wrong-namespace": async (it) => ({ ...it, namespaces: ["nobody-made-this"] }),
  "swapped-tokens": async ({ launch = {}, watch = {}, ...it }) => ({ ...it, launch: watch, watch: launch }),
  "no-roles": async (it) => {
    for (const account of ["longshore-launcher", "longshore-watcher"])
      await admin.must("DELETE", `/apis/rbac.authorization.k8s.io/v1/namespaces/${it.namespace}/rolebindings/${account}`);
    return it;
  },
  "too-small-role": async (it) => {
    const path = `/apis/rbac.authorization.k8s.io/v1/namespaces/${it.namespace}/roles/longshore-launcher`;
    const role = await admin.must("GET", path);
    const rules = (role["rules"] as readonly { readonly resources: readonly string[]; readonly verbs: readonly string[] }[]).map(
      (rule) => (rule.resources.includes("jobs") ? { ...rule, verbs: ["create", "get", "list"] } : rule),
    );
    await admin.must("PATCH", path, { rules });
    return it;
  },
  "cannot-watch": async (it) => {
    await withoutWatch(it.namespace);
    return it;
  },
  "is-polled": async (it) => {
    await withoutWatch(it.namespace);
    return { ...it, poll: "10s" };
  },
  "is-restricted": async (it) => {
    const labels = { "pod-security.kubernetes.io/enforce": "restricted" };
    await admin.must("PATCH", `/api/v1/namespaces/${it.namespace}`, { metadata: { labels } });
    return it;
  },
  "has-no-pods": async (it) => {
    const path = `/api/v1/namespaces/${it.namespace}/resourcequotas`;
    await admin.must("POST", path, { metadata: { name: "none" }, spec: { hard: { pods: "0" } } });
    await found("the quota to be counted", async () => {
      const { hard } = (await admin.must("GET", `${path}/none`))["status"] as {
        readonly hard?: Readonly<Record<string, string>>;
      };
      return hard?.["pods"] === "0";
    });
    return it;
  },
  "empty-token": async (it) => ({ ...it, launch: { tokenFile: await keep("empty", "") } }),
  "is-full": async (it) => {
    const path = `/api/v1/namespaces/${it.namespace}/resourcequotas`;
    await admin.must("POST", path, { metadata: { name: "few" }, spec: { hard: { "count/jobs.batch": "1" } } });
    await admin.must("POST", jobPath(it.namespace), heldJob("one", it.namespace));
    await found("the quota to be counted", async () => {
      const { used } = (await admin.must("GET", `${path}/few`))["status"] as { readonly used?: Readonly<Record<string, string>> };
      return used?.["count/jobs.batch"] === "1";
    });
    return it;
  },
  "in-a-kubeconfig": async (it) => {
    const { launch: _, watch, ...rest } = it;
    const kubeconfig = await keep("kubeconfig.yaml", await kubeconfigWithTokenFile(it.namespace));
    return { ...rest, cluster: { kubeconfig }, watch: watch ?? {} };
  },
};

/** A kubeconfig as kubectl and cloud tools write it: the token is in a file beside it. */
async function kubeconfigWithTokenFile(namespace: string): Promise<string> {
  await keep("launch.token", await cluster.token(namespace, "longshore-launcher"));
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "it",
    clusters: [{ name: "it", cluster: { server: cluster.url, "certificate-authority": cluster.caFile } }],
    users: [{ name: "it", user: { tokenFile: "launch.token" } }],
    contexts: [{ name: "it", context: { cluster: "it", user: "it" } }],
  });
}

const { url } = database;
const files = await writeConfig({
  home,
  brokerUrl: url,
  ledgerUrl: url,
  cluster: { name: "unused", namespace: "unused", cluster: { server: cluster.url } },
});
const groups: Record<string, Settings> = {};
for (const [name, trouble] of Object.entries(troubles)) {
  const { namespace: _, ...settings } = { namespace: "", ...(await trouble(await well(name))) };
  groups[name] = settings;
}
await fs.writeFile(files.groups, stringify({ groups }), { mode: 0o600 });
{
  const installation = Installation.parse(INSTALLATION);
  const jobName = (): never => {
    throw new Error("no attempt begins here");
  };
  await using _ledger = await openLedger({ url, installation, jobName, migrate: true, log: silentLog });
  await using _broker = await openBroker({ url, log: silentLog, clock });
}

let page = "";
const code = await doctor.run(["--config", files.launcher], {
  out: (text) => void (page += text),
  env: {},
  cwd: home,
  signal: forever,
});
t.comment(page);

/** Returns the lines about one group. */
const linesOf = (group: string): string => {
  const lines = page.split("\n");
  const from = lines.findIndex((line) => line.startsWith(`${group} `));
  const after = lines.findIndex((line, at) => at > from && /^\S/.test(line));
  return from < 0 ? "" : lines.slice(from, after).join("\n");
};

t.equal(code, 1, "something has failed");
for (const [group, says, todo] of [
  ["wrong-token", /FAIL +launcher: version: The API server does not accept the credential\. {2}AuthRejected/, /Put a new token into the group's `launch` file: kubectl -n \S+ create token longshore-launcher --duration 24h > \S+\/stranger/],
  ["wrong-ca", /FAIL +launcher: network: TLS: .*signed by an authority we do not know.*It shows a certificate for \S+, signed by \S+.*TlsUntrusted/, /Give the group the CA/],
  ["wrong-port", /FAIL +launcher: network: TCP: .*nothing listens at this address.*EndpointUnreachable/, /Check the port/],
  ["wrong-name", /FAIL +launcher: network: DNS: .*EndpointUnreachable/, /Correct the name in the group's `server`/],
  ["wrong-namespace", /FAIL +launcher: namespace: The namespace nobody-made-this may not be read: there is none of this name, or its Role is missing/, /Correct the group's `namespaces`, or apply its Role/],
  ["swapped-tokens", /FAIL +launcher: permissions: The launcher may not create, patch and delete jobs/, /longshore rbac swapped-tokens/],
  ["swapped-tokens", /FAIL +watcher: permissions: The watcher may not watch jobs/, /longshore rbac/],
  ["no-roles", /FAIL +launcher: permissions: The launcher may do nothing in the namespace/, /longshore rbac \S+-role/],
  ["no-roles", /FAIL +watcher: permissions: The watcher may do nothing in the namespace/, /longshore rbac \S+-role/],
  ["too-small-role", /FAIL +launcher: permissions: The launcher may not patch and delete jobs\./, /longshore rbac \S+-role/],
  ["cannot-watch", /FAIL +watcher: permissions: The watcher may not watch jobs, watch pods, watch events/, /longshore rbac cannot-watch.*poll: 10s/],
  ["is-restricted", /FAIL +launcher: create: The namespace enforces Pod Security "restricted": a Job would be taken, and each of its pods refused: would violate PodSecurity "restricted:latest"/, /pod-security\.kubernetes\.io\/enforce/],
  ["has-no-pods", /FAIL +launcher: quota: No Job ever goes in: 0 of 0 pods \(quota none\)\. Each run fails at once\. {2}QuotaImpossible/, /Raise the namespace's quota/],
  ["empty-token", /FAIL +launcher: \S+:\d+: groups\.empty-token\.launch\.tokenFile: The file \S+ is empty\./, /mend it/],
  ["is-full", /WARN +launcher: quota: Nothing more goes in: 1 of 1 Jobs \(quota few\)\./, /raise the namespace's quota/],
  ["is-full", /WARN +launcher: create: The quota "few" has no room now: 1 Job wanted, 1 of 1 in use\. {2}QuotaExceeded/, /raise the namespace's quota/],
] as const) // biome-ignore format: rows are read side by side
  await t.test(`${group}: ${says.source}`, async (t) => {
    t.match(linesOf(group), says, "what is wrong");
    t.match(linesOf(group), todo, "what to do");
  });

for (const group of ["is-well", "is-polled", "in-a-kubeconfig"])
  await t.test(`${group}: every step of both credentials`, async (t) => {
    const lines = linesOf(group);
    t.notMatch(lines, /FAIL/);
    t.match(lines, /ok +launcher: network: DNS, TCP, TLS \(\d+ d left\)/);
    t.match(lines, new RegExp(`ok +launcher: version: Kubernetes ${cluster.version.replace(/^v/, "").replaceAll(".", "\\.")}`));
    t.match(lines, /ok +launcher: token: The token expires in \d+ (h|min)\./);
    t.match(
      lines,
      /ok +launcher: permissions: launcher may do what it needs; create pods\/exec, impersonate serviceaccounts, get secrets: refused/,
    );
    t.match(lines, /ok +launcher: create: A Job would be taken \(dry run\)/);
    t.match(lines, /ok +watcher: permissions: watcher may do what it needs/);
  });

await t.test("a dry run leaves nothing behind, and the page shows no token", async (t) => {
  for (const { namespaces } of Object.values(groups)) {
    if (namespaces.includes("nobody-made-this")) continue;
    const left = (await admin.items(jobPath(only(namespaces)))).map(({ metadata }) => metadata.name);
    t.same(
      left.filter((it) => it !== "one"),
      [],
    );
  }
  t.notMatch(page, /eyJhbGciOi|nobody-knows-this-token/);
});

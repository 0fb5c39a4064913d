/**
 * Credentials end while everything runs: tokens become invalid, Roles are taken away, an authority is replaced (faults 27, 28,
 * 29 in GUARANTEES.md). Each waiting run says why it waits, and no healthy run fails. When the files or the Roles are right
 * again, everything goes on by itself: the services are never started again.
 */
// needs kubernetes
// runs with kube
// runs at most 8 min
import * as fs from "node:fs/promises";
import path from "node:path";
import { rbac } from "@longshore/cli/commands/rbac.ts";
import type { Child } from "@longshore/cli/embedded/child.ts";
import { isTerminal } from "@longshore/contract/messages/event.ts";
import t, { type Test } from "tap";
import { authority, serverCertificate, serverKey } from "../../../packages/kubernetes/testing/certificates.ts";
import type { PrivateCluster } from "../../harness/kubernetes/test-cluster.ts";
import { adminOf, only } from "../../harness/kubernetes/admin.ts";
import { kubernetes } from "../../harness/kubernetes/kubernetes.ts";
import { annotated } from "../../harness/kubernetes/simulated-pods.ts";
import { openSystem, type System } from "../../harness/system.ts";

t.setTimeout(0);
const forever = new AbortController().signal;
const test = await kubernetes({ nodes: "simulated" });
t.teardown(() => test[Symbol.asyncDispose]());
const cluster = only(test.clusters);
const admin = adminOf(cluster.admin);
const ACCOUNTS = ["longshore-launcher", "longshore-watcher"] as const;

interface Stage extends AsyncDisposable {
  readonly system: System;
  readonly namespace: string;
  readonly launcher: Child;
  readonly watcher: Child;
}

async function stage(on: PrivateCluster): Promise<Stage> {
  await using parts = new AsyncDisposableStack();
  const system = parts.use(await openSystem({ clusters: [on] }));
  const [launcher, watcher] = [parts.use(await system.launcher()), parts.use(await system.watcher())];
  const kept = parts.move();
  return { system, namespace: system.site.namespace, launcher, watcher, [Symbol.asyncDispose]: () => kept.disposeAsync() };
}

const step = { image: "demo/quick:1", command: ["sh", "-c", "true"] };
const ask = (system: System, run: string, runsFor?: string): Promise<void> =>
  system.command("run.requested", { run, ...step, ...(runsFor !== undefined && annotated({ runsFor })) });

/** The only group's health in the ledger, which the console and `longshore group` show. */
const toldOf = async (system: System): Promise<string | undefined> => {
  const { health, diagnosis } = only(await system.ledger.groups());
  return health === "unhealthy" ? diagnosis?.code : health;
};

/** Makes the trouble while one run is running, and asks for another. No run may end, and the waiting run must say why. */
async function troubled(
  t: Test,
  { system, watcher }: Stage,
  code: string,
  watch: RegExp,
  trouble: () => Promise<void>,
): Promise<void> {
  await ask(system, "before");
  await system.ended(["before"]);
  await ask(system, "running", "8s");
  await system.heard("run.started", "running");

  await trouble();
  await system.until(`the group to be told as ${code}`, async () => (await toldOf(system)) === code);
  await ask(system, "asked-meanwhile");
  const { data } = await system.heard("run.waiting", "asked-meanwhile");
  t.match(data, { reason: "GroupsUnhealthy", diagnosis: { code } }, "the run that waits says why");
  t.comment(JSON.stringify((data as { readonly diagnosis?: object }).diagnosis));
  await system.until("the watcher to say what it meets", () => watcher.said.some((line) => watch.test(line)));
  t.same(ends(system, ["running", "asked-meanwhile"]), [], "nothing has ended that did not end");
}

const ends = (system: System, runs: readonly string[]): readonly string[] =>
  system.received.filter(({ subject, type }) => runs.includes(subject ?? "") && isTerminal(type)).map(({ type }) => type);

async function healed(t: Test, { system, launcher, watcher }: Stage): Promise<void> {
  const pids = [launcher.pid, watcher.pid];
  await system.until("the group to be well again", async () => (await toldOf(system)) === "healthy");
  await ask(system, "after");
  t.same(await system.faults(["before", "running", "asked-meanwhile", "after"]), []);
  t.same(ends(system, ["running", "asked-meanwhile", "after"]), ["run.succeeded", "run.succeeded", "run.succeeded"]);
  t.same([launcher.pid, watcher.pid], pids, "by the same processes");
  for (const it of [launcher, watcher]) t.notMatch(it.said.join("\n"), /eyJhbGciOi/, "no token is in a log");
}

/** Starts the API server again, which ends all watches: otherwise a watch would outlive the credential that opened it. */
async function restart(): Promise<void> {
  await cluster.apiServer.kill();
  await cluster.apiServer.start();
}

t.test("27: both tokens become invalid while a Job runs, and are replaced on disk", async (t) => {
  const on = { ...cluster, token: boundToken };
  await using it = await stage(on);
  const { system, namespace } = it;
  await troubled(t, it, "AuthRejected", /"reason":"rejected"/, async () => {
    for (const account of ACCOUNTS) await admin.must("DELETE", `/api/v1/namespaces/${namespace}/secrets/bound-${account}`);
    await restart();
  });
  for (const account of ACCOUNTS) await replace(path.join(system.home, `a-${account}`), await cluster.token(namespace, account));
  await healed(t, it);
});

/** Makes a token that is valid as long as its Secret exists. */
async function boundToken(namespace: string, account: string): Promise<string> {
  const name = `bound-${account}`;
  const { metadata } = await admin.must("POST", `/api/v1/namespaces/${namespace}/secrets`, { metadata: { name } });
  const boundObjectRef = { apiVersion: "v1", kind: "Secret", name, uid: metadata.uid };
  const { status } = await admin.must("POST", `/api/v1/namespaces/${namespace}/serviceaccounts/${account}/token`, {
    apiVersion: "authentication.k8s.io/v1",
    kind: "TokenRequest",
    spec: { expirationSeconds: 3_600, boundObjectRef },
  });
  return (status as { readonly token: string }).token;
}

/** Replaces a file as kubelets and people do, so that the file is never missing. */
async function replace(file: string, text: string): Promise<void> {
  await fs.writeFile(`${file}.new`, text, { mode: 0o600 });
  await fs.rename(`${file}.new`, file);
}

for (const { name, also } of [
  { name: "28: both Roles are taken away while a Job runs, and the watches live on", also: async () => undefined },
  { name: "28: both Roles are taken away while a Job runs, and the watches end too", also: restart },
])
  t.test(name, async (t) => {
    await using it = await stage(cluster);
    const { namespace } = it;
    const watch = also === restart ? /may not list jobs|forbidden/ : /the watcher is up/;
    await troubled(t, it, "Forbidden", watch, async () => {
      for (const account of ACCOUNTS)
        await admin.must("DELETE", `/apis/rbac.authorization.k8s.io/v1/namespaces/${namespace}/rolebindings/${account}`);
      await also();
    });
    let printed = "";
    await rbac.run(["--namespace", namespace], {
      out: (text) => void (printed += text),
      env: {},
      cwd: it.system.home,
      signal: forever,
    });
    const applied = await cluster.kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], printed);
    t.equal(applied.code, 0, applied.stderr);
    await healed(t, it);
  });

t.test("29: the API server comes back with another authority's certificate, and the CA is replaced on disk", async (t) => {
  const folder = path.dirname(cluster.caFile);
  const own = {
    certificate: await fs.readFile(cluster.caFile, "utf8"),
    key: await fs.readFile(path.join(folder, "apiserver.key"), "utf8"),
  };
  const serve = async ({ certificate, key }: typeof own): Promise<void> => {
    await cluster.apiServer.kill();
    await fs.writeFile(cluster.caFile, certificate);
    await fs.writeFile(path.join(folder, "apiserver.key"), key, { mode: 0o600 });
    await cluster.apiServer.start();
  };
  await using it = await stage(cluster);
  const caFile = path.join(it.system.home, "a-ca");
  await troubled(t, it, "TlsUntrusted", /authority we do not know/, () =>
    serve({ certificate: serverCertificate, key: serverKey }),
  );
  await replace(caFile, authority);
  await it.system.until("the group to be well again", async () => (await toldOf(it.system)) === "healthy");
  await ask(it.system, "after");
  await replace(caFile, own.certificate + authority);
  await serve(own); // the cluster's own parts trust only this authority
  await healed(t, it);
});

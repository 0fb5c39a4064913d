/** `longshore up` with a given cluster whose credential a program prints, as in clouds. */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { authority, serverCertificate, serverKey } from "@longshore/kubernetes/testing/certificates.ts";
import { startPocket } from "@longshore/pocket/start.ts";
import { instantPods } from "@longshore/pocket/testing/scripted.ts";
import t, { type Test } from "tap";
import { parse } from "yaml";
import { explain } from "../explain.ts";
import { writeConfig } from "./home.ts";
import { realCluster } from "./real-cluster.ts";
import { up } from "../commands/up.ts";

const never = new AbortController().signal;

/** A cluster that answers, and its kubeconfig, in which a program prints the user's token. */
async function cloud(
  t: Test,
  of: { readonly namespace?: string } = {},
): Promise<{ readonly folder: string; readonly kubeconfig: string }> {
  const folder = await mkdtemp(join(tmpdir(), "longshore-real-cluster-"));
  const tls = { key: serverKey, cert: serverCertificate };
  const pocket = await startPocket({ dataDir: join(folder, "pocket"), pods: instantPods, tls });
  t.teardown(async () => {
    await pocket[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });
  const credential = { apiVersion: "client.authentication.k8s.io/v1", kind: "ExecCredential", status: { token: pocket.token } };
  const program = `console.log(${JSON.stringify(JSON.stringify(credential))})`;
  const exec = { apiVersion: credential.apiVersion, command: process.execPath, args: ["-e", program] };
  const kubeconfig = join(folder, "config");
  const written = {
    "current-context": "eks",
    contexts: [{ name: "eks", context: { cluster: "c", user: "u", ...of } }],
    clusters: [{ name: "c", cluster: { server: pocket.url, "certificate-authority-data": btoa(authority) } }],
    users: [{ name: "u", user: { exec } }],
  };
  await writeFile(kubeconfig, JSON.stringify(written));
  return { folder, kubeconfig };
}

t.test("up says by which flag the program of a kubeconfig is allowed", async (t) => {
  const { folder, kubeconfig } = await cloud(t);
  const surroundings = { out: () => undefined, env: {}, cwd: folder, signal: never };
  const said = explain(await up.run(["--kubeconfig", kubeconfig], surroundings).catch((error: unknown) => error));
  t.match(said, { exitCode: 1, text: /wants a program run for its credential \(exec\)\. Add --allow-programs if you trust/ });
  t.notMatch(said.text, /allowPrograms|tokenFile/);
});

t.test("with the flag the program logs in, and the groups file that up writes allows it, too", async (t) => {
  const { folder, kubeconfig } = await cloud(t);
  await using cluster = await realCluster({ kubeconfig, context: undefined, namespace: "default", allowPrograms: true }, never);
  t.same(cluster.cluster, { kubeconfig, allowPrograms: true });
  const url = "postgres://localhost/x";
  const files = await writeConfig({ home: folder, brokerUrl: url, ledgerUrl: url, cluster });
  t.match(parse(await readFile(files.groups, "utf8")), { groups: { cluster: { cluster: { kubeconfig, allowPrograms: true } } } });
});

t.test("Jobs are created in the namespace that the context names, unless another is named", async (t) => {
  const { kubeconfig } = await cloud(t, { namespace: "default" });
  const asked = { kubeconfig, context: undefined, allowPrograms: true };
  await using cluster = await realCluster({ ...asked, namespace: undefined }, never);
  t.equal(cluster.namespace, "default");
  await t.rejects(realCluster({ ...asked, namespace: "batch" }, never), { message: /There is no namespace batch/ });
});

t.test("a context that names no namespace is no reason to take any: up asks for one, and starts nothing", async (t) => {
  const { folder, kubeconfig } = await cloud(t);
  const surroundings = { out: () => undefined, env: {}, cwd: folder, signal: never };
  for (const [context, says] of [
    [[], /^The current context of \S+config names no namespace\. .*--namespace NAME\.$/],
    [["--context", "eks"], /^The context "eks" of \S+config names no namespace\./],
  ] as const) {
    const args = ["--kubeconfig", kubeconfig, "--allow-programs", ...context];
    const said = explain(await up.run(args, surroundings).catch((error: unknown) => error));
    t.match(said, { exitCode: 1, text: says });
  }
  t.notOk(existsSync(join(folder, ".longshore")));
});

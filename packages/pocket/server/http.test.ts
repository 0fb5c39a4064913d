/** The pocket's HTTP side: which clients may enter, and which requests it does not understand. */
import { mkdtemp, rm } from "node:fs/promises";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { authority, serverCertificate, serverKey } from "@longshore/kubernetes/testing/certificates.ts";
import t from "tap";
import { type Pocket, startPocket } from "../start.ts";
import { instantPods } from "../testing/scripted.ts";

const dataDir = await mkdtemp(join(tmpdir(), "pocket-http-"));
t.teardown(() => rm(dataDir, { recursive: true, force: true }));
const JOBS = "/apis/batch/v1/namespaces/default/jobs";
const job = (name: string, command: readonly string[]) => ({
  metadata: { name },
  spec: {
    backoffLimit: 0,
    template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox", command }] } },
  },
});

t.test("requests that cannot be taken", async (t) => {
  await using pocket = await startPocket({ dataDir: join(dataDir, "door"), pods: instantPods });
  const ask = async (
    path: string,
    init: { method?: string; body?: string; headers?: Record<string, string> } = {},
    token = pocket.token,
  ) => {
    const headers = { authorization: `Bearer ${token}`, ...init.headers };
    const response = await fetch(pocket.url + path, { ...init, headers });
    return { status: response.status, body: await response.text() };
  };
  t.match(await ask("/healthz", {}, ""), { status: 200, body: "ok" });
  t.match(await ask("/version", {}, ""), { status: 200, body: /v1\.34/ });
  t.match(await ask(JOBS, {}, "wrong"), { status: 401, body: /"reason":"Unauthorized"/ });
  t.match(await ask(JOBS, { method: "POST", body: "{" }), { status: 400, body: /the body is not JSON/ });
  t.match(await ask(JOBS, { method: "POST", body: "[]" }), { status: 400, body: /not a JSON object/ });
  t.match(await ask(JOBS, { method: "POST", body: JSON.stringify({ kind: "Pod" }) }), {
    status: 400,
    body: /must be of type Job/,
  });
  t.match(await ask(JOBS, { method: "PUT" }), { status: 400, body: /not PUT/ });
  t.match(await ask(JOBS, { method: "POST", body: "x".repeat(4_000_000) }).catch(() => ({ status: 413 })), { status: 413 });
  t.match(await ask("/apis/apps/v1/namespaces/default/deployments"), { status: 404 });
  t.match(await ask(`${JOBS}/%E0%A4%A`), { status: 400 });
  t.match(await ask(`${JOBS}?limit=many`), { status: 400, body: /limit must be a whole number/ });
  t.match(await ask(`${JOBS}?continue=nonsense`), { status: 400 });
  t.match(await ask("/apis/batch/v1/namespaces/nowhere/jobs", { method: "POST", body: JSON.stringify(job("a", [])) }), {
    status: 404,
    body: /namespaces \\"nowhere\\" not found/,
  });
  t.match(await ask(`${JOBS}/a`, { method: "PATCH", body: "[]", headers: { "content-type": "application/json-patch+json" } }), {
    status: 404,
  });
  t.match(await ask(JOBS, { method: "POST", body: JSON.stringify(job("a", [])) }), { status: 201 });
  t.match(await ask(`${JOBS}/a`, { method: "PATCH", body: "{}", headers: { "content-type": "application/json-patch+json" } }), {
    status: 415,
  });
});

t.test("namespaces keep their UIDs, and versions go on, when the pocket is started again", async (t) => {
  const start = () => startPocket({ dataDir: join(dataDir, "again"), pods: instantPods });
  const first = await start();
  const uidIn = ({ cluster }: Pocket) => cluster.store.get("namespaces", "", "default")?.metadata.uid;
  const uid = uidIn(first);
  const version = first.cluster.store.version();
  await first[Symbol.asyncDispose]();
  await using second = await start();
  t.equal(uidIn(second), uid);
  t.ok(second.cluster.store.version() >= version);
});

t.test("a watch ends when its reader goes away", async (t) => {
  await using pocket = await startPocket({ dataDir: join(dataDir, "left"), pods: instantPods });
  const gone = new AbortController();
  const request = { method: "GET", path: `${JOBS}?watch=true` } as const;
  const { lines } = await pocket.cluster.transport({ user: "reader" }).open(request, gone.signal);
  gone.abort();
  const told: string[] = [];
  for await (const line of lines) told.push(line);
  t.same(told, []);
});

t.test("over TLS it is the same cluster", async (t) => {
  const tls = { key: serverKey, cert: serverCertificate };
  await using pocket = await startPocket({ dataDir: join(dataDir, "tls"), pods: instantPods, tls });
  const answer = await new Promise<{ readonly status: number | undefined }>((resolve, reject) => {
    const asked = get(
      pocket.url + JOBS,
      { ca: authority, headers: { authorization: `Bearer ${pocket.token}` }, agent: false },
      (response) => {
        response.resume();
        resolve({ status: response.statusCode });
      },
    );
    asked.once("error", reject);
  });
  t.match(answer, { status: 200 });
});

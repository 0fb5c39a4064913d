/** The pocket's HTTP side: which clients may enter, which requests it does not understand, and what the request log has. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { get } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { authority, serverCertificate, serverKey } from "@longshore/kubernetes/testing/certificates.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import { startPocket } from "../start.ts";

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
  await using pocket = await startPocket({ dataDir: join(dataDir, "door"), token: "secret", instant: true });
  const ask = async (
    path: string,
    init: { method?: string; body?: string; headers?: Record<string, string> } = {},
    token = "secret",
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
  const start = () => startPocket({ dataDir: join(dataDir, "again"), instant: true });
  const first = await start();
  const uid = first.model.namespace("default")?.metadata.uid;
  const version = first.model.version();
  await first[Symbol.asyncDispose]();
  await using second = await start();
  t.equal(second.model.namespace("default")?.metadata.uid, uid);
  t.ok(second.model.version() >= version);
});

t.test("as a program: it says where it is, logs each request before answering, and ends its pods on SIGTERM", async (t) => {
  const requestLog = join(dataDir, "requests.jsonl");
  const program = join(import.meta.dirname, "../main.ts");
  const child = spawn(process.execPath, [program, "--data", join(dataDir, "program"), "--request-log", requestLog], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  const { url, token } = await ready(child);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const marker = join(dataDir, "pid");
  const body = JSON.stringify(
    job("sleeper", ["sh", "-c", `echo $$$$ > ${marker}.new; mv ${marker}.new ${marker}; sleep 600; true`]),
  );
  t.equal((await fetch(url + JOBS, { method: "POST", headers, body })).status, 201);
  const entries = (await readFile(requestLog, "utf8"))
    .trim()
    .split("\n")
    .map((it): unknown => JSON.parse(it));
  t.match(entries, [{ method: "POST", path: JOBS, name: "sleeper", status: 201, user: "admin", atMs: Number }]);
  await running(url, headers);
  const pid = await written(marker);
  child.kill("SIGTERM");
  t.same(await once(child, "exit"), [0, null]);
  t.notOk(await isAlive(pid), "its pod is gone");
});

t.test("as a program: processes that it left when it was killed are ended by the next one", async (t) => {
  const data = join(dataDir, "killed");
  const marker = join(dataDir, "left-pid");
  const child = spawn(process.execPath, [join(import.meta.dirname, "../main.ts"), "--data", data], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  const { url, token } = await ready(child);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const body = JSON.stringify(
    job("left", ["sh", "-c", `echo $$$$ > ${marker}.new; mv ${marker}.new ${marker}; sleep 600; true`]),
  );
  t.equal((await fetch(url + JOBS, { method: "POST", headers, body })).status, 201);
  await running(url, headers);
  const pid = await written(marker);
  child.kill("SIGKILL");
  await once(child, "exit");
  t.ok(await isAlive(pid), "it runs on");
  await using _next = await startPocket({ dataDir: data });
  for (let tries = 0; tries < 500 && (await isAlive(pid)); tries++) await systemClock.sleep(10);
  t.notOk(await isAlive(pid), "ended");
});

t.test("over TLS it is the same cluster", async (t) => {
  const tls = { key: serverKey, cert: serverCertificate };
  await using pocket = await startPocket({ dataDir: join(dataDir, "tls"), instant: true, tls });
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

t.test("as a program: without a folder it says how it is used", async (t) => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../main.ts")], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (bytes: Buffer) => {
    said += bytes.toString();
  });
  t.same(await once(child, "close"), [1, null]);
  t.match(said, /usage: .*--data DIR/);
});

async function ready(child: ChildProcess): Promise<{ readonly url: string; readonly token: string }> {
  if (child.stdout === null) throw new Error("the program has no output");
  for await (const line of createInterface({ input: child.stdout }))
    return JSON.parse(line) as { readonly url: string; readonly token: string };
  throw new Error("the program ended without a line");
}

/** Waits for the program's process id: the pod may run before its program has written it. */
async function written(marker: string): Promise<number> {
  for (let tries = 0; tries < 500 && !existsSync(marker); tries++) await systemClock.sleep(10);
  return Number(await readFile(marker, "utf8"));
}

/** False if the process is gone, or a zombie. */
async function isAlive(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => "");
  return stat !== "" && !/\) Z /.test(stat);
}

/** Watches pods until one runs. */
async function running(url: string, headers: Record<string, string>): Promise<void> {
  const stop = new AbortController();
  const response = await fetch(`${url}/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=30`, {
    headers,
    signal: stop.signal,
  });
  let text = "";
  for await (const part of response.body ?? []) {
    text += Buffer.from(part).toString();
    if (text.includes('"phase":"Running"')) break;
  }
  stop.abort();
}

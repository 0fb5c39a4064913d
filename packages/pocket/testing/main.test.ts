/** The pocket as a program: what it says, what its request log has, and that no process of its pods is left. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";

const dataDir = await mkdtemp(join(tmpdir(), "pocket-program-"));
t.teardown(() => rm(dataDir, { recursive: true, force: true }));
const JOBS = "/apis/batch/v1/namespaces/default/jobs";
const PROGRAM = join(import.meta.dirname, "main.ts");
const job = (name: string, command: readonly string[]) => ({
  metadata: { name },
  spec: {
    backoffLimit: 0,
    template: { spec: { restartPolicy: "Never", containers: [{ name: "main", image: "busybox", command }] } },
  },
});

t.test("it says where it is, logs each request before answering, and ends its pods on SIGTERM", async (t) => {
  const requestLog = join(dataDir, "requests.jsonl");
  const child = spawn(process.execPath, [PROGRAM, "--data", join(dataDir, "program"), "--request-log", requestLog], {
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

t.test("the processes of a throwaway pocket end with it, also when it is killed", async (t) => {
  const data = join(dataDir, "killed");
  const marker = join(dataDir, "left-pid");
  const child = spawn(process.execPath, [PROGRAM, "--throwaway", "--data", data], {
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
  for (let tries = 0; tries < 500 && (await isAlive(pid)); tries++) await systemClock.sleep(10);
  t.notOk(await isAlive(pid), "ended");
});

t.test("held pods run until SIGUSR2, and end well", async (t) => {
  const child = spawn(process.execPath, [PROGRAM, "--data", join(dataDir, "held"), "--pods", "held"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  const { url, token } = await ready(child);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const body = JSON.stringify(job("held", ["true"]));
  t.equal((await fetch(url + JOBS, { method: "POST", headers, body })).status, 201);
  t.ok(await running(url, headers));
  child.kill("SIGUSR2");
  t.ok(await seen(url, headers, '"phase":"Succeeded"'));
});

t.test("without a folder it says how it is used", async (t) => {
  const child = spawn(process.execPath, [PROGRAM], { stdio: ["ignore", "ignore", "pipe"] });
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

const running = (url: string, headers: Record<string, string>): Promise<boolean> => seen(url, headers, '"phase":"Running"');

/** Watches pods until this is seen of one. Resolves to false if that takes half a minute. */
async function seen(url: string, headers: Record<string, string>, words: string): Promise<boolean> {
  const stop = new AbortController();
  const response = await fetch(`${url}/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=30`, {
    headers,
    signal: stop.signal,
  });
  let text = "";
  for await (const part of response.body ?? []) {
    text += Buffer.from(part).toString();
    if (text.includes(words)) break;
  }
  stop.abort();
  return text.includes(words);
}

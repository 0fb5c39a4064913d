/** The bench's instruments count what they must count. No test here measures how fast Longshore is. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { globSync } from "node:fs";
import { appendFile, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import { openCoverage } from "./coverage.ts";
import { coresToShare, pin } from "./cores.ts";
import { cpuMs, since, treeOf } from "./cpu.ts";
import { percentiles, told } from "./figures.ts";
import { imageEnvironment } from "./image.ts";
import { openMemoryMeter } from "./process-memory.ts";
import { openRequestLog, writesIn } from "./requests.ts";

t.test("percentiles are of the values, whatever order they came in", async (t) => {
  const values = Array.from({ length: 200 }, (_, at) => 200 - at);
  t.same(percentiles(values), { p50: 101, p99: 199, most: 200 });
  t.same(percentiles([7]), { p50: 7, p99: 7, most: 7 });
});

t.test("figures within figures are told on their line", async (t) => {
  const [line = ""] = told({ latency: { ms: { p50: 1, p99: 2 }, runs: 3 } });
  t.equal(line.replace(/ +/, " "), "latency ms (p50 1  p99 2)  runs 3");
});

t.test("requests are counted once, by the verbs that Kubernetes has for them", async (t) => {
  const file = path.join(t.testdir(), "requests.jsonl");
  const jobs = "/apis/batch/v1/namespaces/default/jobs";
  const entry = (method: string, url: string) => `${JSON.stringify({ method, path: url })}\n`;
  const before =
    entry("POST", `${jobs}?timeout=10s`) + entry("PATCH", `${jobs}/a`) + entry("GET", `${jobs}/a`) + entry("GET", jobs);
  await writeFile(file, `${before}{"method":"GET","pa`);
  const log = openRequestLog(file);
  const first = await log.taken();
  t.same(first, { "create jobs": 1, "patch jobs": 1, "get jobs": 1, "list jobs": 1 }, "a half-written line waits");
  t.equal(writesIn(first), 2);

  await appendFile(file, 'th":"/api/v1/namespaces/default/pods?watch=true"}\n');
  await appendFile(file, entry("DELETE", `${jobs}/a`) + entry("GET", "/api/v1/namespaces/default/pods/a-x/log?tailLines=1"));
  t.same(await log.taken(), { "watch pods": 1, "delete jobs": 1, "get log": 1 });
});

t.test("the CPU of a process holds that of its children, running and ended", async (t) => {
  // The program's child burns CPU and ends; then the program says so and waits. The program itself uses almost none.
  const burn = "for (let n = 0; process.cpuUsage().user < 200_000; ) for (let k = 0; k < 1e6; k++) n += k;";
  const code = `require("child_process").execFileSync(process.execPath, ["-e", ${JSON.stringify(burn)}]); console.log("burnt"); process.stdin.resume();`;
  const child = spawn(process.execPath, ["-e", code], { stdio: ["pipe", "pipe", "inherit"] });
  const gone = once(child, "exit");
  try {
    const pids = { child: child.pid ?? 0 };
    const before = await cpuMs(pids);
    await once(createInterface({ input: child.stdout }), "line");
    const used = since(before, await cpuMs(pids));
    t.ok(used.child >= 190, `it used ${used.child} ms`);
    const all = await cpuMs({ us: process.pid, ...pids });
    t.ok(all.us > all.child, "it is counted in its parent");
  } finally {
    child.kill("SIGKILL");
    await gone;
  }
});

t.test("a module executes when a loop of it goes on, not when it is loaded", async (t) => {
  const folder = t.testdir({
    "main.mjs": `
      import { createInterface } from "node:readline";
      import { idle } from "./idle.mjs";
      import { follow } from "./follow.mjs";
      idle();
      await follow(createInterface({ input: process.stdin }));
    `,
    "idle.mjs": "export const idle = () => 1;",
    "follow.mjs": "export async function follow(lines) { for await (const line of lines) console.log(line); }",
  });
  const child = spawn(process.execPath, ["--inspect=127.0.0.1:0", path.join(folder, "main.mjs")]);
  const gone = once(child, "exit");
  try {
    const said: string[] = [];
    const [out, err] = [createInterface({ input: child.stdout }), createInterface({ input: child.stderr })];
    err.on("line", (line) => said.push(line));
    const echoed = async (line: string) => {
      const heard = once(out, "line");
      child.stdin.write(`${line}\n`);
      await heard;
    };
    await echoed("before");
    await using coverage = await openCoverage(said, folder);
    t.same([...(await coverage.taken())], [], "at rest");
    await echoed("on the way");
    t.same([...(await coverage.taken())], ["follow.mjs"]);
    t.same([...(await coverage.taken())], [], "at rest again");
  } finally {
    child.kill("SIGKILL");
    await gone;
  }
});

t.test("the highest size of a program counts from the last reading, and garbage is no part of its heap", async (t) => {
  const code = `process.stdin.on("data", () => { let s = 0; for (const it of Array.from({ length: 3e6 }, (_, at) => ({ at }))) s += it.at; console.log(s); });`;
  const child = spawn(process.execPath, ["--inspect=127.0.0.1:0", "-e", code]);
  const gone = once(child, "exit");
  try {
    const said: string[] = [];
    createInterface({ input: child.stderr }).on("line", (line) => said.push(line));
    const out = createInterface({ input: child.stdout });
    const swell = async () => {
      const heard = once(out, "line");
      child.stdin.write("x");
      await heard;
    };
    await swell();
    const meter = openMemoryMeter(child.pid ?? 0, said);
    const first = await meter.read();
    t.ok(first.peakMb > 100, `its highest size was ${first.peakMb} MB`);
    t.ok(first.heapMb < 30, `its heap is ${first.heapMb} MB`);
    await meter.reset();
    const rest = await meter.read();
    t.ok(rest.peakMb < first.peakMb, `afterwards it was ${rest.peakMb} MB at most`);
  } finally {
    child.kill("SIGKILL");
    await gone;
  }
});

t.test("a service runs with its image's settings, and with all that the image compiles beforehand", async (t) => {
  const cache = t.testdir();
  const env = await imageEnvironment("watcher", cache);
  t.match(env, { NODE_ENV: "production", NODE_COMPILE_CACHE: cache, NODE_OPTIONS: "--max-old-space-size=" });
  t.not(globSync(`${cache}/*/*`).length, 0);
});

t.test("a process is kept on a core with all its threads and children, and let go again", async (t) => {
  const cores = await coresToShare();
  if (typeof cores === "string")
    return void t.match(cores, /one core|taskset/, "the figures say why they are not measured apart");
  const child = spawn("sh", ["-c", `${process.execPath} -e 'console.log(1); process.stdin.resume()'; true`]);
  const gone = once(child, "exit");
  try {
    await once(createInterface({ input: child.stdout }), "line");
    const pids = await treeOf(child.pid ?? 0);
    const threads = pids.flatMap((pid) => globSync(`/proc/${pid}/task/*/status`));
    t.ok(pids.length > 1 && threads.length > pids.length, "a child, and threads");
    const allowed = async () => {
      const texts = await Promise.all(threads.map((it) => readFile(it, "utf8")));
      return [...new Set(texts.map((it) => /^Cpus_allowed_list:\s*(.*)$/m.exec(it)?.[1]))];
    };
    const before = await allowed();
    await pin([child.pid ?? 0], cores.slice(1, 2));
    t.same(await allowed(), [String(cores[1])]);
    await pin([child.pid ?? 0], cores);
    t.same(await allowed(), before);
  } finally {
    child.stdin.end();
    await gone;
  }
});

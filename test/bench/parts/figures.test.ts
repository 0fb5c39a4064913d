/** The bench's instruments: what they count, and what they must not miss. No test here looks at a time of ours. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { createInterface } from "node:readline";
import t from "tap";
import { cpuMs, since } from "./cpu.ts";
import { percentiles, told } from "./figures.ts";
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
  // It burns in a child that ends, then says so and waits: its own part of that is next to nothing.
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

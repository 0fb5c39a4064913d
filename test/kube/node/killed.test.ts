/** If a node's test is killed, the node ends with it. Only the cgroup stays, and the next node's start removes it. */
// needs node
import { spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { cgroups } from "../../harness/kubernetes/node-cgroups.ts";

t.setTimeout(0); // each wait has its own bound

const GONE_WITHIN_MS = 20_000;
const folder = await fs.mkdtemp(path.join(tmpdir(), "longshore-killed-"));
t.teardown(() => fs.rm(folder, { recursive: true, force: true }));

await t.test("kill -9 of the process that started a node ends its containers too", async (t) => {
  const child = spawn(process.execPath, [path.join(import.meta.dirname, "alone.ts"), folder], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const { cgroup } = JSON.parse(line) as { readonly cgroup: string };
  const procs = `/sys/fs/cgroup/pids${cgroup}/container/cgroup.procs`;
  t.not((await fs.readFile(procs, "utf8")).trim(), "", "its container runs");

  child.kill("SIGKILL");
  await once(child, "exit");
  for (const began = performance.now(); (await fs.readFile(procs, "utf8")).trim() !== ""; await sleep(20))
    if (performance.now() - began > GONE_WITHIN_MS) throw new Error(`its container was not ended within ${GONE_WITHIN_MS} ms`);

  await using _next = await cgroups();
  await t.rejects(fs.access(`/sys/fs/cgroup/pids${cgroup}`), { code: "ENOENT" }, "the next node to start swept its cgroup");
});

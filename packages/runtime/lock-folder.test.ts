/** A folder belongs to one process at a time, and to nobody once that process is gone. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t from "tap";
import { identityOf, writeIdentity } from "./birth.ts";
import { lockFolder } from "./lock-folder.ts";

const taken = (pid: number | undefined): Error => new Error(`taken by ${pid}`);

async function folderOf(t: { teardown(work: () => Promise<void>): void }): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "lock-folder-"));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

t.test("of many that want it at once, one gets it; the next one gets it afterwards", async (t) => {
  const folder = await folderOf(t);
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder, taken)));
  const [got, ...more] = all.flatMap((it) => (it.status === "fulfilled" ? [it.value] : []));
  t.same(more, []);
  for (const it of all) if (it.status === "rejected") t.match(it.reason, { message: `taken by ${process.pid}` });
  await got?.[Symbol.asyncDispose]();
  t.same(await readdir(folder), [], "nothing is left behind");
  await using _again = await lockFolder(folder, taken);
});

t.test("the lock of a process that is gone is nobody's: of many that find it, one gets it", async (t) => {
  const folder = await folderOf(t);
  const child = spawn("sleep", ["600"]);
  const it = identityOf(child.pid ?? 0);
  if (it === undefined) throw new Error("it did not start");
  await writeFile(join(folder, "pid"), writeIdentity(it));
  await t.rejects(lockFolder(folder, taken), { message: `taken by ${it.pid}` });
  child.kill("SIGKILL");
  await once(child, "exit");
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => lockFolder(folder, taken)));
  t.equal(all.filter(({ status }) => status === "fulfilled").length, 1);
});

for (const { name, text } of [
  { name: "a process that has got the dead one's id holds nothing", text: `${process.pid} another birth\n` },
  { name: "a lock that was cut off holds nothing", text: `${process.pid}` },
])
  t.test(name, async (t) => {
    const folder = await folderOf(t);
    await writeFile(join(folder, "pid"), text);
    await using _lock = await lockFolder(folder, taken);
    t.pass("it is locked");
  });

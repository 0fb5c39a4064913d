/** A process is known by its id and its birth: no other process is taken for it, and its end is noticed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { identityOf, isAlive, readIdentity, writeIdentity } from "./birth.ts";

const own = identityOf(process.pid);
if (own === undefined) throw new Error("this process has no identity");

t.test("a process that runs is alive, and is not once it has ended", async (t) => {
  const child = spawn("sleep", ["600"]);
  const it = identityOf(child.pid ?? 0);
  t.ok(it !== undefined && isAlive(it));
  child.kill("SIGKILL");
  await once(child, "exit");
  t.notOk(it !== undefined && isAlive(it));
  t.equal(identityOf(child.pid ?? 0), undefined);
});

t.test("another process that has the same id now is not taken for it", async (t) => {
  t.notOk(isAlive({ pid: own.pid, birth: `${own.birth}0` }));
});

t.test("what was written is read again, and what was cut off is not", async (t) => {
  const text = writeIdentity(own);
  t.same(readIdentity(text), own);
  for (let length = 0; length < text.length; length++) t.equal(readIdentity(text.slice(0, length)), undefined);
});

t.test("a shell's line is the same identity", async (t) => {
  const script = `if [ -r /proc/$$/stat ]; then read -r boot < /proc/sys/kernel/random/boot_id; read -r stat < /proc/$$/stat; echo "$$ $boot $stat"; else echo "$$ $(TZ=UTC0 LC_ALL=C /bin/ps -o lstart= -p $$)"; fi; exec sleep 600`;
  const child = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  t.same(readIdentity(line.toString()), identityOf(child.pid ?? 0));
  child.kill("SIGKILL");
});

for (const name of ["sh", "a name (with) brackets", "a name) S 1 2 3"])
  t.test(`a program's name may have brackets and spaces: ${name}`, async (t) => {
    const numbers = Array.from({ length: 30 }, (_, n) => n).join(" ");
    t.same(readIdentity(`7 boot 7 (${name}) S ${numbers}\n`), { pid: 7, birth: "boot/18" });
    t.equal(readIdentity(`7 boot 7 (${name}) Z ${numbers}\n`), undefined, "one that has ended");
  });

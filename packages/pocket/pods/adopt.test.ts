/**
 * Pods whose kubelet is gone: the next one takes up what runs, tells what ended, and takes no other process for a pod's.
 *
 * A kubelet that is left without a word stands for one that was killed. Real kills are in testing/main.test.ts.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { chown, mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { identityOf, isAlive, readIdentity } from "@longshore/runtime/birth.ts";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import type { PodObject } from "../objects.ts";
import { ends, isGone, podOf, said, sh, type Watched, watched } from "../testing/local-pods.ts";
import { folderOf, startProcesses } from "./processes.ts";

const dataDir = await mkdtemp(join(tmpdir(), "adopt-test-"));
const clock = systemClock;
const kubelet = () => startProcesses({ clock, dataDir, logBytesMost: 4_096 });
t.teardown(async () => {
  kubelet().retain?.([]); // a test that failed may have left its process
  await rm(dataDir, { recursive: true, force: true });
});
const fileOf = (pod: PodObject, name: string, container = "main"): string =>
  join(dataDir, "pods", folderOf(pod), container, name);
const pidIn = (pod: PodObject, name: string): number => Number(readFileSync(fileOf(pod, name), "utf8").split(" ")[0]);

/** A script that goes on when its file "go" is there, or after a minute: if this file is killed, nobody else ends it. */
const waits = (then: string): string =>
  `trap 'exit 9' TERM; echo begun; n=0; until [ -e "\${LONGSHORE_TERMINATION_LOG%/*}/go" ] || [ $n -gt 1200 ]; do n=$((n + 1)); sleep 0.05; done; ${then}`;
const isWhole = (path: string): boolean => existsSync(path) && readFileSync(path, "utf8").endsWith("\n");
const letGo = (pod: PodObject): void => writeFileSync(fileOf(pod, "go"), "");

async function begun(pod: PodObject): Promise<Watched> {
  const it = watched(kubelet(), pod);
  await it.until("running");
  await said(it.run, "begun");
  return it;
}

async function until(is: () => boolean): Promise<void> {
  for (let tries = 0; tries < 500 && !is(); tries++) await clock.sleep(10);
}

t.test("what runs is taken up, with its output and its start, and ends well", async (t) => {
  const pod = podOf(sh(waits("echo more; exit 4")));
  const before = await begun(pod);
  const { run, states, until } = watched(kubelet(), pod);
  t.match(states, [{ kind: "running" }], "told before the start returns");
  const [was, is] = [before.states.find((it) => it.kind === "running"), states[0]];
  if (was?.kind !== "running" || is?.kind !== "running") throw new Error("it does not run");
  t.ok(Math.abs(was.startedAtMs - is.startedAtMs) < 5_000, "its start is the first one");
  const lines: (string | undefined)[] = [];
  const over = new Promise<void>((resolve) => run.followLog("main", (it) => (lines.push(it), it ?? resolve())));
  letGo(pod);
  t.match(await until("terminated"), { exitCode: 4, reason: "Error" });
  await over;
  t.same(lines, ["begun", "more", undefined]);
  run.forget();
});

t.test("what ended meanwhile is told as it ended, before the start returns", async (t) => {
  const pod = podOf(sh(waits('printf why > "$LONGSHORE_TERMINATION_LOG"; echo last; exit 7')));
  await begun(pod);
  letGo(pod);
  await until(() => isWhole(fileOf(pod, "exit")));
  const { run, states, reports } = watched(kubelet(), pod);
  t.match(states, [{ kind: "terminated", exitCode: 7, message: "why", startedAtMs: Number, finishedAtMs: Number }]);
  t.equal(reports[0]?.ended, undefined);
  t.equal(run.log("main"), "begun\nlast\n");
  run.forget();
});

t.test("the next container begins when the one before it ended meanwhile", async (t) => {
  const pod = podOf(sh("echo main; exit 3"), [sh("echo first")]);
  const first = watched(kubelet(), pod, undefined, "init-0");
  await first.until("terminated");
  await until(() => existsSync(fileOf(pod, "exit")));
  // As if the kubelet had gone before it could begin the second.
  await rm(join(dataDir, "pods", folderOf(pod), "main"), { recursive: true, force: true });
  const { run, until: later } = watched(kubelet(), pod);
  t.match(await later("terminated"), { exitCode: 3 });
  run.forget();
});

t.test("a SIGTERM of a taken up process is heard, and its exit is told", async (t) => {
  const pod = podOf(sh(waits("exit 0")));
  await begun(pod);
  const { run, until } = watched(kubelet(), pod);
  run.stop(30);
  t.match(await until("terminated"), { exitCode: 9 });
  run.forget();
});

t.test("a taken up process that ignores SIGTERM is killed, and what it started goes with it", async (t) => {
  const pod = podOf(sh("sleep 600 & echo $! > pid; trap '' TERM; echo begun; while :; do sleep 0.05; done"));
  await begun(pod);
  const { run, until } = watched(kubelet(), pod);
  run.stop(1);
  run.stop(0);
  t.match(await until("terminated"), { exitCode: 137 });
  t.ok(await ends(Number(readFileSync(fileOf(pod, "root/pid"), "utf8"))));
  run.forget();
});

t.test("a pod under deletion starts nothing more", async (t) => {
  const pod = podOf(sh("echo no"), [], { deletionTimestamp: "2026-01-01T00:00:00Z", deletionGracePeriodSeconds: 0 });
  const { run, until, states } = watched(kubelet(), pod);
  t.match(await until("terminated"), { reason: "ContainerStatusUnknown", startedAtMs: undefined });
  t.equal(states.length, 1);
  run.forget();
});

for (const { name, become } of [
  {
    name: "after a restart of the machine",
    become: (pod: PodObject): { readonly pid?: number } => {
      // The files as they are when everything was killed at once, and another boot.
      for (const it of ["shim", "command"])
        writeFileSync(fileOf(pod, it), readFileSync(fileOf(pod, it), "utf8").replace(/ \S+/, " another-boot"));
      return {};
    },
  },
  {
    name: "when another process has the id of its shim",
    become: (pod: PodObject): { readonly pid?: number } => {
      const stranger = spawn("sleep", ["600"]);
      t.teardown(() => stranger.kill("SIGKILL"));
      const [, ...birth] = readFileSync(fileOf(pod, "shim"), "utf8").split(" ");
      writeFileSync(fileOf(pod, "shim"), [stranger.pid, ...birth].join(" "));
      writeFileSync(fileOf(pod, "command"), [stranger.pid, ...birth].join(" "));
      return stranger.pid === undefined ? {} : { pid: stranger.pid };
    },
  },
])
  t.test(`${name}, a process is gone: told with a sentence of its own, and nobody else is harmed`, async (t) => {
    const pod = podOf(sh(waits("exit 0")));
    await begun(pod);
    const [shim, command] = [pidIn(pod, "shim"), pidIn(pod, "command")];
    process.kill(-shim, "SIGKILL");
    t.ok((await ends(shim)) && (await ends(command)));
    const stranger = become(pod);
    const { run, reports } = watched(kubelet(), pod);
    t.match(reports, [
      {
        containers: [{ state: { kind: "terminated", exitCode: 137, reason: "ContainerStatusUnknown", startedAtMs: Number } }],
        ended: { reason: "LocalStop", message: /machine was restarted .* nobody knows how it ended/ },
      },
    ]);
    t.equal(run.log("main"), "begun\n");
    run.stop(0);
    run.forget();
    await clock.sleep(100);
    if (stranger.pid !== undefined) t.ok(identityOf(stranger.pid), "the other process runs on");
  });

t.test("a command whose shim was killed does not run on unwatched", async (t) => {
  const pod = podOf(sh(waits("exit 0")));
  const { run, until, reports } = await begun(pod);
  const command = pidIn(pod, "command");
  process.kill(pidIn(pod, "shim"), "SIGKILL");
  t.match(await until("terminated"), { reason: "ContainerStatusUnknown" });
  t.match(reports.at(-1), { ended: { reason: "LocalStop" } });
  t.ok(await ends(command));
  run.forget();
});

t.test("a stop in order ends what runs and says so, and what waits goes on at the next start", async (t) => {
  const own = kubelet();
  const runs = watched(own, podOf(sh("trap 'exit 0' TERM; echo begun; while :; do sleep 0.05; done")));
  const waitsFor = podOf(sh("exit 0", { image: "registry.invalid/shop/export:1" }));
  const stays = watched(own, waitsFor);
  await runs.until("running");
  await said(runs.run, "begun");
  await stays.until("ErrImagePull");
  await own[Symbol.asyncDispose]();
  t.match(runs.reports.at(-1), {
    containers: [{ state: { kind: "terminated", exitCode: 0 } }],
    ended: { reason: "LocalStop", message: "Longshore was stopped while this ran." },
  });
  t.notOk(stays.states.some((it) => it.kind === "terminated"));
  runs.run.forget();
  t.equal(runs.run.log("main"), "begun\n", "the log is kept for the next start");
  const again = watched(kubelet(), waitsFor);
  t.match(await again.until("ErrImagePull"), { kind: "waiting" });
  again.run.stop(0);
  again.run.forget();
});

t.test("what ended by itself before a stop is told as it ended, though nobody had seen its end", async (t) => {
  const [followed, alone] = [podOf(sh(waits("exit 0"))), podOf(sh(waits("exit 0")))];
  await begun(followed);
  await begun(alone);
  const own = kubelet();
  const { reports } = watched(own, followed);
  for (const it of [followed, alone]) letGo(it);
  await until(() => isWhole(fileOf(followed, "exit")) && isWhole(fileOf(alone, "exit")));
  await own[Symbol.asyncDispose]();
  t.match(reports.at(-1), { containers: [{ state: { exitCode: 0 } }], ended: undefined });
  await clock.sleep(20);
  writeFileSync(join(dataDir, "pods", folderOf(alone), "stopped"), "");
  t.match(watched(kubelet(), alone).reports, [{ containers: [{ state: { exitCode: 0 } }], ended: undefined }]);
});

t.test("a stop that was cut short is told by the next start, and goes on if the process still runs", async (t) => {
  const [ended, goesOn] = [podOf(sh(waits("exit 0"))), podOf(sh(waits("exit 0")))];
  await begun(ended);
  await begun(goesOn);
  for (const it of [ended, goesOn]) writeFileSync(join(dataDir, "pods", folderOf(it), "stopped"), "");
  process.kill(pidIn(ended, "command"), "SIGTERM");
  t.ok(await ends(pidIn(ended, "shim")));
  const own = kubelet();
  t.match(watched(own, ended).reports, [{ containers: [{ state: { exitCode: 9 } }], ended: { reason: "LocalStop" } }]);
  const on = watched(own, goesOn);
  t.match(await on.until("terminated"), { exitCode: 9 });
  t.match(on.reports.at(-1), { ended: { reason: "LocalStop" } });
  await own[Symbol.asyncDispose]();
});

t.test("a pod that had ended keeps its log, and runs nothing", async (t) => {
  const pod = podOf(sh("echo once"));
  await watched(kubelet(), pod).until("terminated");
  const { run, reports } = watched(kubelet(), { ...pod, status: { phase: "Succeeded" } });
  t.equal(run.log("main"), "once\n");
  t.equal(run.log("other"), undefined);
  t.same(reports, []);
  run.forget();
  await until(() => !existsSync(join(dataDir, "pods", folderOf(pod))));
  t.notOk(existsSync(join(dataDir, "pods", folderOf(pod))));
});

t.test("pods whose objects are gone are ended and removed, and the others are left alone", async (t) => {
  const [gone, kept] = [podOf(sh(waits("exit 0"))), podOf(sh(waits("exit 0")))];
  await begun(gone);
  await begun(kept);
  const [goneCommand, keptCommand] = [pidIn(gone, "command"), pidIn(kept, "command")];
  writeFileSync(join(dataDir, "pods", ".DS_Store"), "no pod");
  const own = kubelet();
  own.retain?.([kept]);
  t.ok(await ends(goneCommand));
  await until(() => !existsSync(join(dataDir, "pods", folderOf(gone))));
  t.notOk(existsSync(join(dataDir, "pods", folderOf(gone))));
  t.notOk(await isGone(keptCommand));
  watched(own, kept);
  await own[Symbol.asyncDispose]();
});

t.test("a command that has left its group is ended, too", async (t) => {
  const pod = podOf({ command: ["setsid", "sh", "-c", "echo begun; exec sleep 600"] });
  await begun(pod);
  const command = pidIn(pod, "command");
  await using own = kubelet();
  own.retain?.([]);
  t.ok(await ends(command));
});

t.test("a command of another user cannot be ended: its pod ends, and it is said that the command runs on", async (t) => {
  const pod = podOf(sh("echo begun; exec sleep 600"));
  const { run, until } = await begun(pod);
  const [shim, command] = [pidIn(pod, "shim"), pidIn(pod, "command")];
  const { kill } = process;
  // As the system does it with a command of sudo: no signal reaches it, and one to its group reaches the shim alone.
  process.kill = (pid, signal) => {
    if (pid === command) throw Object.assign(new Error("kill EPERM"), { code: "EPERM" });
    return kill.call(process, pid === -shim ? shim : pid, signal);
  };
  t.teardown(() => {
    process.kill = kill;
    process.kill(command, "SIGKILL");
  });
  const warned = new Promise<Error>((resolve) => process.once("warning", resolve));
  run.stop(0);
  t.match(await until("terminated"), { reason: "ContainerStatusUnknown" });
  t.match(await warned, { message: new RegExp(`process ${command} .* another user`) });
  t.notOk(await isGone(command));
  run.forget();
});

t.test("a pod's folder that takes no change is removed, and one of another user stays, with a warning", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "adopt-test-"));
  t.teardown(() => rm(folder, { recursive: true, force: true }));
  const isRoot = process.getuid?.() === 0;
  const nobody = 65_534;
  await mkdir(join(folder, "pods/others_uid"), { recursive: true });
  writeFileSync(join(folder, "pods/others_uid/file"), "");
  if (isRoot) for (const it of [folder, join(folder, "pods")]) await chown(it, nobody, nobody);
  const script = `
    import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
    import { systemClock } from "@longshore/runtime/clock.ts";
    import { startProcesses } from "./processes.ts";
    const [, dataDir] = process.argv;
    if (${isRoot}) process.setuid(${nobody});
    const modules = dataDir + "/pods/own_uid/main/root/go/mod";
    mkdirSync(modules, { recursive: true });
    writeFileSync(modules + "/file", "");
    chmodSync(modules, 0o555);
    const own = startProcesses({ clock: systemClock, dataDir });
    own.retain([]);
    await own[Symbol.asyncDispose]();`;
  const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script, folder], {
    cwd: import.meta.dirname,
    encoding: "utf8",
  });
  t.equal(status, 0, stderr);
  t.same(await readdir(join(folder, "pods")), isRoot ? ["others_uid"] : []);
  if (isRoot) t.match(stderr, /others_uid could not be removed: EPERM/);
});

t.test("without /proc, a command in another time zone is known by its birth", async (t) => {
  const folder = await mkdtemp(join(dataDir, "no-proc-"));
  const script = join(folder, "shim.sh");
  writeFileSync(script, readFileSync(new URL("shim.sh", import.meta.url), "utf8").replaceAll("/proc/", "/no-proc/"));
  const env = { PATH: process.env["PATH"] ?? "", TZ: "Asia/Tokyo", LONGSHORE_TERMINATION_LOG: join(folder, "termination-log") };
  const shim = spawn("/bin/sh", [script, "lasting", "sleep", "600"], { env, stdio: "ignore", detached: true });
  t.teardown(() => process.kill(-(shim.pid ?? 0), "SIGKILL"));
  await until(() => isWhole(join(folder, "command")));
  const command = readIdentity(readFileSync(join(folder, "command"), "utf8"));
  const { platform } = process;
  t.teardown(() => Object.defineProperty(process, "platform", { value: platform }));
  Object.defineProperty(process, "platform", { value: "darwin" });
  t.ok(command !== undefined && isAlive(command), JSON.stringify(command));
});

t.test("a command runs once, though two shims were started for it", async (t) => {
  const pod = podOf(sh("echo begun >> times; echo begun; sleep 600"));
  await begun(pod);
  const words = [new URL("shim.sh", import.meta.url).pathname, "lasting", "sh", "-c", "echo again >> times"];
  const env = { PATH: process.env["PATH"] ?? "", LONGSHORE_TERMINATION_LOG: fileOf(pod, "termination-log") };
  const second = spawn("/bin/sh", words, { cwd: fileOf(pod, "root"), env, stdio: "ignore", detached: true });
  await new Promise((resolve) => second.once("exit", resolve));
  const { run, until } = watched(kubelet(), pod);
  t.equal(readFileSync(fileOf(pod, "root/times"), "utf8"), "begun\n");
  run.stop(0);
  await until("terminated");
  run.forget();
});

t.test("a log that grew while nobody looked is cut to its bound", async (t) => {
  const pod = podOf(sh("i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done; echo begun; sleep 600"));
  const before = watched(startProcesses({ clock, dataDir }), pod);
  await before.until("running");
  await said(before.run, "begun");
  const { run, until } = watched(kubelet(), pod);
  const log = run.log("main") ?? "";
  t.ok(log.length <= 4_096, `${log.length} bytes`);
  t.match(log, /^line-\d+\n[\s\S]*line-1999\nbegun\n$/);
  run.stop(0);
  await until("terminated");
  run.forget();
});

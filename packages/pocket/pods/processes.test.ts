/** Pods as local processes: what they are given, how they end, and that nothing of them is left. */
import { existsSync, rmdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@longshore/runtime/clock.ts";
import t from "tap";
import type { Kubelet } from "../api.ts";
import type { Container, PodObject } from "../objects.ts";
import { ends, isGone, type Looking, podOf, said, sh, type Watched, watched } from "../testing/local-pods.ts";
import { folderOf, startProcesses } from "./processes.ts";

const dataDir = await mkdtemp(join(tmpdir(), "processes-test-"));
t.teardown(() => rm(dataDir, { recursive: true, force: true }));
const processes = startProcesses({ clock: systemClock, dataDir, logBytesMost: 4_096, throwaway: true });
t.teardown(() => processes[Symbol.asyncDispose]());
const start = (pod: PodObject, look?: Looking, container?: string, kubelet: Kubelet = processes): Watched =>
  watched(kubelet, pod, look, container);

interface Ending {
  readonly name: string;
  readonly container: Partial<Container>;
  readonly want: object;
  readonly log?: RegExp;
}

const endings: readonly Ending[] = [
  { name: "an exit code is told", container: sh("exit 7"), want: { exitCode: 7, reason: "Error" } },
  { name: "a signal is 128 and its number", container: sh("kill -KILL $$$$"), want: { exitCode: 137, reason: "Error" } },
  {
    name: "a program that is not there is a StartError",
    container: { command: ["no-such-program"] },
    want: { exitCode: 128, reason: "StartError", message: /no folder of PATH has "no-such-program"$/ },
  },
  {
    name: "neither is one that is named by its path",
    container: { command: ["/nope/x"] },
    want: { exitCode: 128, reason: "StartError", message: /here is no "\/nope\/x"$/ },
    log: /^$/,
  },
  {
    name: "nor one by a path from its working directory",
    container: { command: ["./x"] },
    want: { exitCode: 128, reason: "StartError", message: /here is no "\.\/x"$/ },
  },
  {
    name: "a folder is no program",
    container: { command: ["/usr"] },
    want: { exitCode: 128, reason: "StartError", message: '"/usr" is no file' },
  },
  {
    name: "a file that may not be executed is no program",
    container: { command: ["/etc/passwd"] },
    want: { exitCode: 128, reason: "StartError", message: '"/etc/passwd" may not be executed' },
  },
  {
    name: "a program by its path is started",
    container: { command: ["/bin/sh", "-c", "exit 5"] },
    want: { exitCode: 5, reason: "Error" },
  },
  {
    name: "a word with a NUL is a StartError",
    container: { command: ["echo", "a\0b"] },
    want: { exitCode: 128, reason: "StartError" },
  },
  { name: "without a command there is nothing to run", container: { args: ["x"] }, want: { exitCode: 0 }, log: /has no command/ },
  {
    name: "/dev/termination-log is the container's own",
    container: sh("printf '{\"a\":1}' > /dev/termination-log"),
    want: { exitCode: 0, message: '{"a":1}' },
  },
  {
    name: "a termination path of its own is followed",
    container: sh("echo mine > /out/message", { terminationMessagePath: "/out/message" }),
    want: { message: "mine\n" },
  },
  {
    name: "the variable names the same file",
    container: sh('printf hi > "$LONGSHORE_TERMINATION_LOG"'),
    want: { message: "hi" },
  },
  {
    name: "a program in a file finds it by the variable, as it would in a cluster by the path",
    container: sh("printf 'f=${LONGSHORE_TERMINATION_LOG:-/dev/%s-log}; printf hi > \"$f\"' termination > job.sh; sh job.sh"),
    want: { message: "hi" },
  },
  {
    name: "a command that removes its termination log has no message",
    container: sh('rm "$LONGSHORE_TERMINATION_LOG"; exit 3'),
    want: { exitCode: 3, message: undefined },
  },
  {
    name: "a folder in the place of the termination log is no message",
    container: sh('rm "$LONGSHORE_TERMINATION_LOG"; mkdir "$LONGSHORE_TERMINATION_LOG"; exit 3'),
    want: { exitCode: 3, message: undefined },
  },
  {
    name: "a pipe in the place of the termination log is not waited for",
    container: sh('rm "$LONGSHORE_TERMINATION_LOG"; mkfifo "$LONGSHORE_TERMINATION_LOG"; exit 3'),
    want: { exitCode: 3, message: undefined },
  },
  {
    name: "both outputs are in the log",
    container: sh("echo out; echo err >&2"),
    want: { exitCode: 0 },
    log: /^(out\nerr|err\nout)\n$/,
  },
  {
    name: "$(NAME) is replaced, $$(NAME) is not, and unknown names stay",
    log: /^5 \$\(N\) \$\(M\)\n$/,
    want: { exitCode: 0 },
    container: { command: ["printf", "%s %s %s\n"], args: ["$(N)", "$$(N)", "$(M)"], env: [{ name: "N", value: "5" }] },
  },
  {
    name: "fields of the pod are read",
    log: /^pod-\d+ tests shop\n$/,
    want: { exitCode: 0 },
    container: sh('echo "$A $B $C"', {
      env: [
        { name: "A", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "B", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
        { name: "C", valueFrom: { fieldRef: { fieldPath: "metadata.labels['app.example/name']" } } },
      ],
    }),
  },
  {
    name: "a working directory lies in its own folder",
    container: sh("pwd", { workingDir: "/../../data" }),
    want: { exitCode: 0 },
    log: /\/main\/root\/data\n$/,
  },
];

for (const { name, container, want, log } of endings) {
  t.test(name, async (t) => {
    const { run, until } = start(podOf(container));
    t.match(await until("terminated"), { kind: "terminated", ...want });
    if (log !== undefined) t.match(run.log("main"), log);
    run.forget();
  });
}

t.test("a command has the variables that it was given, and none of a shell's", async (t) => {
  const given = { "a.b": "it's", "c-d": "$HOME", IFS: "x", PWD: "/here", boot: "b", stat: "s", SHLVL: "7", E: "two\nlines" };
  const env = Object.entries(given).map(([name, value]) => ({ name, value }));
  const script = "process.stdout.write(JSON.stringify(process.env))";
  const { run, until } = start(podOf({ command: ["node", "-e", script], env }));
  t.match(await until("terminated"), { exitCode: 0 });
  const { PATH, HOME, HOSTNAME, LONGSHORE_TERMINATION_LOG, ...rest } = JSON.parse(run.log("main") ?? "") as NodeJS.ProcessEnv;
  t.ok(PATH && HOME && HOSTNAME && LONGSHORE_TERMINATION_LOG);
  t.same(rest, given);
  run.forget();
});

for (const [signal, code] of [
  ["INT", 130],
  ["QUIT", 131],
  ["TERM", 143],
  ["HUP", 129],
] as const)
  t.test(`a command dies of SIG${signal}, and the shell that started it says nothing of it`, async (t) => {
    const { run, until } = start(podOf(sh(`kill -${signal} $$$$; sleep 600`)));
    t.match(await until("terminated"), { exitCode: code });
    t.equal(run.log("main"), "");
    run.forget();
  });

t.test("a termination message has at most 4096 bytes", async (t) => {
  const { run, until } = start(podOf(sh("head -c 10000 /dev/zero | tr '\\0' x > /dev/termination-log")));
  const ended = await until("terminated");
  t.equal(ended.kind === "terminated" ? ended.message?.length : 0, 4_096);
  run.forget();
});

t.test("a log keeps its end and not more than its bound", async (t) => {
  const { run, until } = start(podOf(sh("i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done")));
  await until("terminated");
  const log = run.log("main") ?? "";
  t.ok(log.length <= 4_096, `${log.length} bytes`);
  t.match(log, /line-1999\n$/);
  run.forget();
});

t.test("a log that cannot be cut, as on a full disk, harms nothing, and no more than its bound is read", async (t) => {
  const lines = "i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done";
  const { run, until } = start(podOf(sh(`mkdir "\${LONGSHORE_TERMINATION_LOG%/*}/log.older.new"; ${lines}`)));
  t.match(await until("terminated"), { exitCode: 0 });
  const log = run.log("main") ?? "";
  t.ok(log.length <= 4_096, `${log.length} bytes`);
  t.match(log, /^line-\d+\n[\s\S]*line-1999\n$/);
  run.forget();
});

t.test("an exit that cannot be written yet, as on a full disk, is told once it is written", async (t) => {
  const pod = podOf(sh('mkdir "${LONGSHORE_TERMINATION_LOG%/*}/exit"; echo $$$$'));
  const { run, until } = start(pod);
  await until("running");
  const command = await new Promise<string | undefined>((resolve) => run.followLog("main", resolve));
  t.ok(await ends(Number(command)));
  await systemClock.sleep(300);
  rmdirSync(join(dataDir, "pods", folderOf(pod), "main", "exit"));
  t.match(await until("terminated"), { exitCode: 0, reason: "Completed" });
  run.forget();
});

t.test("a folder that cannot be made keeps the container waiting, and says why", async (t) => {
  const { run, until } = start(podOf(sh("exit 0", { workingDir: `/${"a".repeat(300)}` })));
  t.match(await until("CreateContainerError"), { message: /ENAMETOOLONG/ });
  run.stop(0);
  t.match(await until("terminated"), { reason: "ContainerStatusUnknown" });
  run.forget();
});

t.test("SIGTERM is heard within the grace", async (t) => {
  const { run, until } = start(podOf(sh("trap 'exit 9' TERM; echo ready; sleep 600 & wait")));
  await until("running");
  await said(run, "ready");
  run.stop(30);
  t.match(await until("terminated"), { exitCode: 9 });
  run.forget();
});

t.test("a program that ignores SIGTERM is killed", async (t) => {
  const { run, until } = start(podOf(sh("trap '' TERM; echo ready; while :; do sleep 0.1; done")));
  await until("running");
  await said(run, "ready");
  run.stop(1);
  run.stop(0);
  t.match(await until("terminated"), { exitCode: 137 });
  run.forget();
});

t.test("processes that the first process leaves behind end with it", async (t) => {
  const { run, until } = start(podOf(sh("sleep 600 & echo $!; exit 0")));
  await until("terminated");
  const pid = Number(run.log("main"));
  t.ok(await ends(pid), "gone, or only waiting to be reaped");
  run.forget();
});

t.test("init containers run one after the other, and a failed one keeps the rest from starting", async (t) => {
  const good = start(podOf(sh("echo main"), [sh("echo first"), sh("echo second")]));
  t.match(await good.until("terminated"), { exitCode: 0 });
  t.match(good.states[0], { kind: "waiting", reason: "PodInitializing" });
  good.run.forget();
  const bad = podOf(sh("echo main"), [sh("exit 4"), sh("echo second")]);
  const watched = start(bad, undefined, "init-0");
  t.match(await watched.until("terminated"), { exitCode: 4 });
  t.equal(watched.run.log("main"), undefined, "main never started");
  watched.run.forget();
});

t.test("the containers of a pod share its scratch folders, wherever their paths stand", async (t) => {
  const volumeMounts = [
    { name: "scratch-1", mountPath: "/podwork" },
    { name: "scratch-2", mountPath: "/podwork/deep/er" },
  ];
  const env = [{ name: "FILE", value: "/podwork/two" }];
  const fills = sh('echo one > /podwork/one; echo two > "$FILE"; echo deep > /podwork/deep/er/three; echo /podworkshop', {
    volumeMounts,
    env,
  });
  const reads = sh("cat one two deep/er/three; test ! -e /podwo''rk", { volumeMounts, workingDir: "/podwork" });
  const pod = podOf(reads, [fills]);
  const volumes = ["scratch-1", "scratch-2"].map((name) => ({ name, emptyDir: { sizeLimit: "1Mi" } }));
  const { run, until } = start({ ...pod, spec: { ...pod.spec, volumes } });
  t.match(await until("terminated"), { exitCode: 0 });
  t.equal(run.log("main"), "one\ntwo\ndeep\n");
  t.equal(run.log("init-0"), "/podworkshop\n", "a longer name is another path");
  run.forget();
});

t.test("nobody is told that a program ran that could not be started", async (t) => {
  const { run, until, states } = start(podOf({ ...sh("true"), command: ["no-such-program"] }));
  t.match(await until("terminated"), { reason: "StartError" });
  t.notOk(states.some(({ kind }) => kind === "running"));
  run.forget();
});

t.test("a registry under .invalid has nothing: ErrImagePull says why, and ImagePullBackOff repeats it", async (t) => {
  const { run, until } = start(podOf(sh("exit 0", { image: "registry.invalid/shop/export:1" })));
  t.match(await until("ErrImagePull"), { message: /registry.invalid\/shop\/export:1: not found/ });
  t.match(await until("ImagePullBackOff"), { message: /^Back-off pulling image .*: ErrImagePull: .*export:1: not found$/ });
  run.stop(0);
  t.match(await until("terminated"), { exitCode: 137, reason: "ContainerStatusUnknown", startedAtMs: undefined });
  run.forget();
});

t.test("a name that is no image name is told as such", async (t) => {
  const { run, until } = start(podOf(sh("exit 0", { image: "Shop/Export:1" })));
  t.match(await until("InvalidImageName"), {
    message: /invalid reference format: repository name \(Shop\/Export\) must be lowercase/,
  });
  run.forget();
});

t.test("a missing Secret keeps the container waiting until it is there", async (t) => {
  const env = [{ name: "P", valueFrom: { secretKeyRef: { name: "db", key: "password" } } }];
  let secret: object | undefined;
  const { run, until } = start(podOf(sh('test "$P" = hunter2', { env })), () => secret);
  t.match(await until("CreateContainerConfigError"), { message: 'secret "db" not found' });
  secret = { data: { password: Buffer.from("hunter2").toString("base64") } };
  t.match(await until("terminated"), { exitCode: 0 });
  run.forget();
});

t.test("a followed log gives the old text, the new text, and the end", async (t) => {
  const { run, until } = start(podOf(sh("echo one; sleep 0.2; echo two; printf three")));
  await until("running");
  const lines: string[] = [];
  await new Promise<void>((resolve) => {
    run.followLog("main", (line) => (line === undefined ? resolve() : lines.push(line)));
  });
  t.same(lines, ["one", "two", "three"]);
  run.forget();
});

t.test("stopping a throwaway kubelet ends every process and removes every folder", async (t) => {
  const own = startProcesses({ clock: systemClock, dataDir: join(dataDir, "own"), throwaway: true });
  const pod = podOf(sh("trap '' TERM; echo $$$$; while :; do sleep 0.1; done"));
  const { run, until } = start(pod, undefined, "main", own);
  await until("running");
  const pid = Number(await new Promise<string | undefined>((resolve) => run.followLog("main", resolve)));
  t.notOk(await isGone(pid));
  await own[Symbol.asyncDispose]();
  t.ok(await isGone(pid));
  t.notOk(existsSync(join(dataDir, "own", "pods", folderOf(pod))));
});

t.test(
  "pods that mount one claim share its files, also by a variable and as a working directory, until the claim is gone",
  async (t) => {
    const claim: Looking = (_, name) => (name === "shared" ? { metadata: { uid: "uid-of-the-claim" } } : undefined);
    const mounting = (container: Partial<Container>): PodObject => {
      const pod = podOf({ ...container, volumeMounts: [{ name: "data", mountPath: "/data" }] });
      return { ...pod, spec: { ...pod.spec, volumes: [{ name: "data", persistentVolumeClaim: { claimName: "shared" } }] } };
    };
    const writes = start(mounting(sh("echo one > /data/in; echo a/database")), claim);
    t.match(await writes.until("terminated"), { exitCode: 0 });
    const env = [{ name: "FROM", value: "/data/in" }];
    const reads = start(mounting(sh('cat "$FROM"; ls', { env, workingDir: "/data" })), claim);
    await reads.until("terminated");
    t.equal(reads.run.log("main"), "one\nin\n");
    const folder = join(dataDir, "volumes", "uid-of-the-claim");
    t.ok(existsSync(folder));
    for (const { run } of [writes, reads]) run.forget();
    processes.discard?.("uid-of-the-claim");
    for (let tries = 0; existsSync(folder) && tries < 500; tries++) await systemClock.sleep(10);
    t.notOk(existsSync(folder));
  },
);

t.test("a pod finds the files of a Secret, of a ConfigMap and of its own annotations, each where it is mounted", async (t) => {
  const objects: Readonly<Record<string, object>> = {
    "secrets/keys": { stringData: { token: "hunter2" }, data: { coded: Buffer.from("plain").toString("base64") } },
    "configmaps/large": { data: { content: "much" } },
  };
  const look: Looking = (resource, name) => objects[`${resource}/${name}`];
  const volumeMounts = [
    { name: "keys", mountPath: "/etc/keys", readOnly: true },
    { name: "large", mountPath: "/etc/large.txt", subPath: "content" },
    { name: "files", mountPath: "/etc/small.json", subPath: "0" },
  ];
  const env = [{ name: "SMALL", value: "/etc/small.json" }];
  const pod = podOf(sh('cat /etc/keys/token /etc/keys/coded /etc/large.txt "$SMALL"; ls etc', { env, volumeMounts }));
  const fieldRef = { fieldPath: "metadata.annotations['longshore.dev/file-0']" };
  const volumes = [
    { name: "keys", secret: { secretName: "keys" } },
    { name: "large", configMap: { name: "large" } },
    { name: "files", downwardAPI: { items: [{ path: "0", fieldRef }] } },
  ];
  const metadata = { ...pod.metadata, annotations: { "longshore.dev/file-0": '{"a":1}' } };
  const { run, until } = start({ ...pod, metadata, spec: { ...pod.spec, volumes } }, look);
  t.match(await until("terminated"), { exitCode: 0 });
  t.equal(run.log("main"), 'hunter2plainmuch{"a":1}keys\nlarge.txt\nsmall.json\n');
  run.forget();
});

t.test("a pod waits for a Secret or a key that is not there, and says which", async (t) => {
  const looks: readonly (readonly [Looking, RegExp])[] = [
    [() => undefined, /secret "keys" not found/],
    [() => ({ data: {} }), /non-existent key: token/],
  ];
  for (const [look, message] of looks) {
    const pod = podOf(sh("true", { volumeMounts: [{ name: "keys", mountPath: "/etc/keys" }] }));
    const volumes = [{ name: "keys", secret: { secretName: "keys", items: [{ key: "token", path: "token" }] } }];
    const { run, until } = start({ ...pod, spec: { ...pod.spec, volumes } }, look);
    t.match(await until("waiting"), { reason: "CreateContainerConfigError", message });
    run.forget();
  }
});
